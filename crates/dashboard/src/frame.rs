//! What is around every page.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use crate::api::Problem;
use crate::assets::{ICON, SCRIPT, STYLE};
use crate::form::Form;
use crate::respond::html;
use crate::visit::{Membership, Reader, Visit};

/// Where the browser keeps which theme its user has chosen.
pub(crate) const THEME: &str = "weir_theme";

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
    /// `light` or `dark`. `None`: as the system has it.
    pub(crate) theme: Option<&'static str>,
    /// The path of this page.
    pub(crate) path: String,
    /// What was wrong with what was posted.
    pub(crate) problem: Option<Problem>,
    /// What was posted, to be put right.
    pub(crate) form: Form,
}

impl Frame {
    /// Around a page for everybody.
    pub(crate) fn new(visit: &Visit, here: &'static str, title: &str) -> Self {
        let theme = match visit.cookie(THEME) {
            Some("light") => Some("light"),
            Some("dark") => Some("dark"),
            _ => None,
        };
        Self {
            title: title.to_owned(),
            here,
            reader: None,
            tenant: None,
            style: STYLE.path(),
            script: SCRIPT.path(),
            icon: ICON.path(),
            theme,
            path: visit.here().to_owned(),
            problem: None,
            form: Form::default(),
        }
    }

    /// Around a page of somebody who has logged in.
    pub(crate) fn of(
        visit: &Visit,
        reader: Reader,
        tenant: Option<Membership>,
        here: &'static str,
        title: &str,
    ) -> Self {
        Self {
            reader: Some(reader),
            tenant,
            ..Self::new(visit, here, title)
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

    /// What every form of a reader must bring.
    pub(crate) fn csrf(&self) -> &str {
        self.reader.as_ref().map_or("", |reader| &reader.csrf)
    }

    /// Whether the reader is the owner of the tenant, or one of these.
    pub(crate) fn is_one_of(&self, roles: &[&str]) -> bool {
        let role = self.tenant.as_ref().map(|tenant| tenant.role.as_str());
        role.is_some_and(|role| role == "owner" || roles.contains(&role))
    }

    /// Whether this was chosen in the form that was refused.
    pub(crate) fn chose(&self, field: &str, value: &str) -> bool {
        self.form.get(field) == value
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

    /// With which status the page is answered.
    fn status(&self) -> StatusCode {
        let refused = self.problem.as_ref().map(|problem| problem.status);
        let status = refused.and_then(|status| StatusCode::from_u16(status).ok());
        status.unwrap_or(StatusCode::OK)
    }
}

/// The page inside of this frame.
pub(crate) fn page(visit: &Visit, frame: &Frame, page: &impl Template) -> Response {
    visit.answer(html(frame.status(), page))
}
