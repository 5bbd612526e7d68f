//! What is around every page.

use askama::Template;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::api::Problem;
use crate::assets::{ICON, LIVE, PLOT, PLOT_STYLE, SCRIPT, STYLE};
use crate::form::Form;
use crate::respond::html;
use crate::visit::{Membership, Reader, Visit, cookie};

/// Where the browser keeps which theme its user has chosen, and whether keys go to pages.
pub(crate) const THEME: &str = "weir_theme";
pub(crate) const KEYS: &str = "weir_keys";

/// How a reader has chosen that pages look and behave.
#[derive(Clone, Copy)]
pub(crate) struct Looks {
    /// `light` or `dark`. `None`: as the system has it.
    pub(crate) theme: Option<&'static str>,
    /// Whether keys of the keyboard go to pages.
    pub(crate) has_keys: bool,
}

impl Looks {
    /// As the cookies of a request say.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let theme = cookie(headers, THEME);
        Self {
            theme: ["light", "dark"]
                .into_iter()
                .find(|known| theme == Some(known)),
            has_keys: cookie(headers, KEYS) != Some("off"),
        }
    }
}

/// What is around every page: the way to the others, and what is to be told.
pub(crate) struct Frame {
    pub(crate) title: String,
    /// Which of the ways is the one taken.
    pub(crate) here: &'static str,
    pub(crate) reader: Option<Reader>,
    pub(crate) tenant: Option<Membership>,
    pub(crate) style: String,
    pub(crate) script: String,
    pub(crate) icon: String,
    pub(crate) looks: Looks,
    /// Where this page is, to be led back to.
    pub(crate) path: String,
    /// What was wrong with what was posted.
    pub(crate) problem: Option<Problem>,
    /// What was posted, to be put right.
    pub(crate) form: Form,
}

impl Frame {
    /// Around something that is nobody's page.
    pub(crate) fn bare(looks: Looks, title: &str) -> Self {
        Self {
            title: title.to_owned(),
            here: "",
            reader: None,
            tenant: None,
            style: STYLE.path(),
            script: SCRIPT.path(),
            icon: ICON.path(),
            looks,
            path: "/dashboard".to_owned(),
            problem: None,
            form: Form::default(),
        }
    }

    /// Around a page for everybody.
    pub(crate) fn new(visit: &Visit, here: &'static str, title: &str) -> Self {
        Self {
            here,
            path: visit.back().to_owned(),
            ..Self::bare(visit.looks(), title)
        }
    }

    /// Around a page of somebody who has logged in.
    pub(crate) fn of(visit: &Visit, reader: Reader, here: &'static str, title: &str) -> Self {
        Self {
            reader: Some(reader),
            ..Self::new(visit, here, title)
        }
    }

    /// Around a page of a tenant.
    pub(crate) fn in_tenant(
        visit: &Visit,
        (reader, seat): (Reader, Membership),
        here: &'static str,
        title: &str,
    ) -> Self {
        Self {
            tenant: Some(seat),
            ..Self::of(visit, reader, here, title)
        }
    }

    /// The same, after something was posted that was refused.
    pub(crate) fn after(mut self, visit: &Visit, problem: Option<Problem>) -> Self {
        if problem.is_some() {
            self.form = visit.form.clone();
        }
        self.problem = problem;
        self
    }

    /// Where the script for numbers that move is, what draws charts, and its style.
    pub(crate) fn moving(&self) -> [String; 3] {
        [&LIVE, &PLOT, &PLOT_STYLE].map(|asset| asset.path())
    }

    /// What every form of a reader must bring.
    pub(crate) fn csrf(&self) -> &str {
        self.reader.as_ref().map_or("", |reader| &reader.csrf)
    }

    /// Whether the reader is an owner of the tenant, or one of these, or an operator, who may do what owners may.
    fn is_one_of(&self, roles: &[&str]) -> bool {
        self.tenant.as_ref().is_some_and(|tenant| {
            let role = &*tenant.role;
            tenant.is_visit() || role == "owner" || roles.contains(&role)
        })
    }

    /// Whether the reader looks at a tenant in which he has no seat.
    pub(crate) fn is_visit(&self) -> bool {
        self.tenant.as_ref().is_some_and(Membership::is_visit)
    }

    /// Whether the reader may change limits and API keys, and look up keys.
    pub(crate) fn may_change(&self) -> bool {
        self.is_one_of(&["admin", "developer"])
    }

    /// Whether the reader may change the team, and see who has changed what.
    pub(crate) fn may_manage(&self) -> bool {
        self.is_one_of(&["admin"])
    }

    /// Whether the reader may buy a plan, and see what was bought.
    pub(crate) fn may_pay(&self) -> bool {
        self.is_one_of(&[])
    }

    /// What a field shows: what was typed in the form that was refused, else what is stored.
    pub(crate) fn typed(&self, field: &str, stored: impl ToString) -> String {
        match self.form.all(field) {
            [] => stored.to_string(),
            _ => self.form.get(field).to_owned(),
        }
    }

    /// Whether that is this choice.
    pub(crate) fn chose(&self, field: &str, stored: impl ToString, choice: impl ToString) -> bool {
        self.typed(field, stored) == choice.to_string()
    }

    /// What is wrong with a field of the form.
    pub(crate) fn wrong(&self, field: &str) -> Option<String> {
        let problem = self.problem.as_ref()?;
        let of_field = problem.field.as_deref()?;
        // A list names its place: `scopes[0]`.
        let of_field = of_field.split('[').next().unwrap_or_default();
        (of_field == field).then(|| problem.sentence())
    }

    /// What is wrong that is with none of these fields, which have spaces between them.
    pub(crate) fn wrong_but_for(&self, fields: &str) -> Option<String> {
        let problem = self.problem.as_ref()?;
        let is_told = fields
            .split_whitespace()
            .any(|field| self.wrong(field).is_some());
        (!is_told).then(|| problem.sentence())
    }
}

/// The page inside of this frame.
pub(crate) fn page(frame: &Frame, page: &impl Template) -> Response {
    html(frame.problem.as_ref(), page)
}
