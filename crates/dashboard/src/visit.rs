//! One request for a page: who reads, what the form has brought, and what the API says to that.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_TYPE, COOKIE, Entry, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::App;
use crate::api::{Answer, Ask, Problem};
use crate::around::Jar;
use crate::form::{Form, segment};
use crate::frame::Looks;
use crate::respond::{Trouble, missing};

/// The page of whoever has logged in.
const ACCOUNT: &str = "/dashboard/account";

/// More than any form has.
const FORM_MAX: usize = 16 << 10;

/// One request for a page.
pub(crate) struct Visit {
    pub(crate) app: Arc<App>,
    head: Parts,
    /// Of a post its body, else the query.
    pub(crate) form: Form,
    /// What the browser is given: a session is signed again now and then.
    jar: Jar,
}

/// Who reads.
#[derive(Clone, Deserialize, Debug)]
pub(crate) struct Reader {
    pub(crate) user: User,
    pub(crate) tenants: Vec<Membership>,
    pub(crate) csrf: String,
    /// Runs the cluster.
    #[serde(default)]
    pub(crate) operator: bool,
    /// Somebody else has the address.
    #[serde(default)]
    pub(crate) email_conflict: bool,
}

#[derive(Clone, Deserialize, Debug)]
pub(crate) struct User {
    pub(crate) email: String,
}

/// A tenant of a reader, and what the reader is there.
#[derive(Clone, Deserialize, Debug)]
pub(crate) struct Membership {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) role: String,
}

/// What a reader is in a tenant in which he has no seat. No role of the API is called so.
const OPERATOR: &str = "operator";

impl Membership {
    /// Whether it is a look at a tenant in which the reader has no seat.
    pub(crate) fn is_visit(&self) -> bool {
        self.role == OPERATOR
    }
}

/// A tenant as the API tells it.
#[derive(Deserialize)]
struct Opened {
    id: String,
    name: String,
}

/// A cookie that a browser has brought.
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(COOKIE).into_iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    let pair = pairs.find(|(given, _)| *given == name);
    pair.map(|(_, value)| value)
}

impl FromRequest<Arc<App>> for Visit {
    type Rejection = Trouble;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Trouble> {
        let (head, body) = request.into_parts();
        let form = match head.method {
            Method::POST => {
                if !is_form(&head.headers) {
                    return Err(refused(
                        StatusCode::UNSUPPORTED_MEDIA_TYPE,
                        "a page takes forms",
                    ));
                }
                let body = to_bytes(body, FORM_MAX).await;
                let body = body.map_err(|_| {
                    refused(StatusCode::PAYLOAD_TOO_LARGE, "a form has at most 16 KiB")
                })?;
                Form::parse(&body)
            }
            _ => Form::parse(head.uri.query().unwrap_or_default().as_bytes()),
        };
        Ok(Self {
            app: Arc::clone(app),
            jar: head.extensions.get().cloned().unwrap_or_default(),
            head,
            form,
        })
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

fn refused(status: StatusCode, detail: &str) -> Trouble {
    let title = status.canonical_reason().unwrap_or("Refused");
    Problem::of_page(status, title, detail).into()
}

impl Visit {
    /// A cookie that the browser has brought.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        cookie(&self.head.headers, name)
    }

    /// How pages are to look.
    pub(crate) fn looks(&self) -> Looks {
        Looks::of(&self.head.headers)
    }

    /// Has the browser keep a cookie.
    pub(crate) fn set_cookie(&self, cookie: HeaderValue) {
        self.jar.put([cookie]);
    }

    /// Whether a browser says that the form is of a page of this service. One that says nothing is an old one, or none.
    pub(crate) fn is_of_own_page(&self) -> bool {
        let header = |name: &str| self.head.headers.get(name).map(HeaderValue::as_bytes);
        match (header("sec-fetch-site"), header("origin")) {
            (Some(site), _) => site == b"same-origin",
            (None, Some(origin)) => origin == self.app.settings.public_url.as_bytes(),
            (None, None) => true,
        }
    }

    /// Where to lead back to: to this page, if it has an address of its own.
    pub(crate) fn back(&self) -> &str {
        let here = self.head.uri.path_and_query();
        match (&self.head.method, here) {
            (&Method::GET, Some(here)) => here.as_str(),
            _ => "/dashboard",
        }
    }

    /// Where the API has the part of a list that the query of the page asks for, from the one `by` on.
    pub(crate) fn part(&self, path: &str, by: &str) -> String {
        match self.form.exactly(by) {
            "" => path.to_owned(),
            from => format!("{path}?{by}={}", segment(from)),
        }
    }

    /// What the API answers the reader, as it comes: for the script of a page.
    pub(crate) async fn passed_on(
        &self,
        tenant: Option<&str>,
        path: String,
    ) -> Result<Response, Trouble> {
        let ask = Ask {
            tenant,
            ..Ask::get(path)
        };
        let answer = self.app.api.open(&self.head, ask).await;
        let mut answer = answer.ok_or_else(missing)?;
        if let Entry::Occupied(cookies) = answer.headers_mut().entry(SET_COOKIE) {
            let (_, cookies) = cookies.remove_entry_mult();
            self.jar.put(cookies);
        }
        Ok(answer)
    }

    /// Asks the API as the reader.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Answer, Problem> {
        let mut answer = self.app.api.ask(&self.head, ask).await;
        self.jar.put(answer.cookies.drain(..));
        match answer.problem() {
            Some(problem) => Err(problem),
            None => Ok(answer),
        }
    }

    /// What the API tells.
    pub(crate) async fn told<T: DeserializeOwned>(&self, ask: Ask<'_>) -> Result<T, Problem> {
        let answer = self.ask(ask).await?;
        serde_json::from_slice(&answer.body).map_err(|_| {
            let title = "This node cannot show that";
            Problem::of_page(
                StatusCode::INTERNAL_SERVER_ERROR,
                title,
                "Another version may.",
            )
        })
    }

    /// What the API tells in a tenant.
    pub(crate) async fn told_in<T: DeserializeOwned>(
        &self,
        tenant: &str,
        path: &str,
    ) -> Result<T, Trouble> {
        let ask = Ask {
            tenant: Some(tenant),
            ..Ask::get(path)
        };
        Ok(self.told(ask).await?)
    }

    /// Changes something in a tenant, as a form of the reader asks for.
    pub(crate) async fn act(
        &self,
        tenant: Option<&str>,
        method: Method,
        path: impl Into<String>,
        body: Option<Value>,
    ) -> Result<Answer, Problem> {
        let csrf = self.form.get("csrf");
        let ask = Ask {
            method,
            tenant,
            csrf: Some(csrf),
            body,
            ..Ask::get(path)
        };
        self.ask(ask).await
    }

    /// Who reads. Whoever has not logged in does so first, and whoever is to choose another address does nothing else before.
    pub(crate) async fn reader(&self) -> Result<Reader, Trouble> {
        match self.told(Ask::get("/v1/auth/session")).await {
            Ok(Reader {
                email_conflict: true,
                ..
            }) if !self.head.uri.path().starts_with(ACCOUNT) => Err(Trouble::See(ACCOUNT)),
            Ok(reader) => Ok(reader),
            Err(problem) if problem.status == 401 => Err(Trouble::Login {
                next: self.back().to_owned(),
            }),
            Err(problem) => Err(problem.into()),
        }
    }

    /// Who reads a page of this tenant, and as what. One that the reader has no seat in is as if there were none, but for
    /// operators.
    pub(crate) async fn seat(&self, tenant: &str) -> Result<(Reader, Membership), Trouble> {
        let reader = self.reader().await?;
        let own = reader.tenants.iter().find(|own| own.id == tenant);
        let seat = match own.cloned() {
            Some(own) => own,
            None if reader.operator => self.opened(tenant).await?,
            None => return Err(missing()),
        };
        Ok((reader, seat))
    }

    /// A tenant that an operator opens: the API writes that into its audit.
    async fn opened(&self, tenant: &str) -> Result<Membership, Trouble> {
        let ask = Ask {
            tenant: Some(tenant),
            ..Ask::get("/v1/tenant")
        };
        match self.told::<Opened>(ask).await {
            // It may have named none, as with what no header can hold.
            Ok(Opened { id, name }) if id == tenant => Ok(Membership {
                id,
                name,
                role: OPERATOR.to_owned(),
            }),
            Ok(_) => Err(missing()),
            Err(problem) if [400, 404].contains(&problem.status) => Err(missing()),
            Err(problem) => Err(problem.into()),
        }
    }
}
