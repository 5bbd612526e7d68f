//! One request for a page: who reads, what the form has brought, and what the API says to that.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_TYPE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::App;
use crate::api::{Answer, Ask, Problem};
use crate::form::Form;
use crate::respond::{Trouble, missing, see_other, with_policy};

/// More than any form has.
const FORM_MAX: usize = 16 << 10;

/// One request for a page.
pub(crate) struct Visit {
    pub(crate) app: Arc<App>,
    head: Parts,
    /// Of a post its body, else the query.
    pub(crate) form: Form,
    /// What the API gives the browser meanwhile: a session is signed again now and then.
    cookies: Mutex<Vec<HeaderValue>>,
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

impl Reader {
    /// The tenant of a page. One that the reader has no seat in is as if there were none.
    pub(crate) fn tenant(&self, id: &str) -> Result<Membership, Trouble> {
        let own = self.tenants.iter().find(|tenant| tenant.id == id);
        match own {
            Some(tenant) => Ok(tenant.clone()),
            None => Err(missing()),
        }
    }
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
            head,
            form,
            cookies: Mutex::default(),
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
        let lines = self.head.headers.get_all("cookie").into_iter();
        let pairs = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'));
        let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
        pairs
            .find(|(given, _)| *given == name)
            .map(|(_, value)| value)
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

    /// The page asked for, with its query.
    pub(crate) fn here(&self) -> &str {
        self.head
            .uri
            .path_and_query()
            .map_or("/dashboard", |it| it.as_str())
    }

    /// Asks the API as the reader.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Answer, Problem> {
        let mut answer = self.app.api.ask(&self.head, ask).await;
        let mut cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        // The last one of a name is the one that the browser keeps.
        cookies.append(&mut answer.cookies);
        drop(cookies);
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

    /// Who reads. Whoever has not logged in does so first.
    pub(crate) async fn reader(&self) -> Result<Reader, Trouble> {
        match self.told(Ask::get("/v1/auth/session")).await {
            Ok(reader) => Ok(reader),
            Err(problem) if problem.status == 401 => Err(Trouble::Login {
                next: match self.head.method {
                    Method::GET => self.here().to_owned(),
                    _ => "/dashboard".to_owned(),
                },
            }),
            Err(problem) => Err(problem.into()),
        }
    }

    /// The answer to the browser, with the cookies that came meanwhile.
    pub(crate) fn answer(&self, mut response: Response) -> Response {
        let mut cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        for cookie in cookies.drain(..) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        if self.app.settings.public_url.starts_with("https:") {
            let for_a_year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
            response
                .headers_mut()
                .insert("strict-transport-security", for_a_year);
        }
        with_policy(response)
    }

    /// Leads on to the page that shows what was done.
    pub(crate) fn see(&self, path: &str) -> Response {
        self.answer(see_other(path))
    }
}
