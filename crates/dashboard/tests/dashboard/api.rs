//! An API of canned answers, and a browser without scripts.

use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, Mutex};

use accounts::SessionKeys;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_TYPE, COOKIE, LOCATION, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use dashboard::{Elsewhere, HasOperators, Settings, pages};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// What a front notes of where a request came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Peer(pub(crate) u8);

/// What another node has: `later.js`.
pub(crate) const OF_ANOTHER_VERSION: &[u8] = b"export {}\n";

/// What was asked of the API.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) peer: Option<Peer>,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }
}

#[derive(Default)]
struct Canned {
    answers: HashMap<(Method, String), (StatusCode, Value)>,
    asked: Vec<Asked>,
}

/// A browser at a service whose API has canned answers.
#[derive(Clone)]
pub(crate) struct Site {
    canned: Arc<Mutex<Canned>>,
    router: Router,
}

pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }

    pub(crate) fn leads_to(&self) -> &str {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.text);
        self.header(LOCATION.as_str())
    }

    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        assert!(self.text.contains(text), "no {text:?} in\n{}", self.text);
    }

    /// A cookie that it sets.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.headers.get_all(SET_COOKIE).into_iter();
        let mut pairs =
            cookies.filter_map(|cookie| cookie.to_str().ok()?.split(';').next()?.split_once('='));
        pairs
            .find(|(given, _)| *given == name)
            .map(|(_, value)| value.to_owned())
    }

    /// The value of a hidden field.
    pub(crate) fn hidden(&self, name: &str) -> String {
        let begin = format!("name=\"{name}\" value=\"");
        let (_, rest) = self
            .text
            .split_once(&begin)
            .unwrap_or_else(|| panic!("no {name}: {}", self.text));
        rest.split('"').next().unwrap_or_default().to_owned()
    }
}

async fn answer(State(canned): State<Arc<Mutex<Canned>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a body in memory");
    let path = head.uri.to_string();
    let asked = Asked {
        peer: head.extensions.get().copied(),
        method: head.method.clone(),
        path: path.clone(),
        headers: head.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let mut canned = canned.lock().expect("no test panics here");
    canned.asked.push(asked);
    let path = path.split('?').next().unwrap_or_default().to_owned();
    let known = canned.answers.get(&(head.method, path)).cloned();
    let none = json!({ "title": "Not found", "status": 404, "detail": "there is no such path" });
    let (status, json) = known.unwrap_or((StatusCode::NOT_FOUND, none));
    let mut response = (status, Bytes::from(json.to_string())).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let after = HeaderValue::from_static("5");
        response.headers_mut().insert(RETRY_AFTER, after);
    }
    if let Some(cookie) = json.get("set-cookie").and_then(Value::as_str) {
        let cookie = HeaderValue::from_str(cookie).expect("a cookie");
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with_signup("open")
    }

    pub(crate) fn with_signup(signup: &'static str) -> Self {
        Self::with(signup, HasOperators::new(|| true))
    }

    pub(crate) fn without_operators() -> Self {
        Self::with("closed", HasOperators::new(|| false))
    }

    fn with(signup: &'static str, has_operators: HasOperators) -> Self {
        let canned = Arc::<Mutex<Canned>>::default();
        // With a path of one parameter, as the API has them: that of a page is another one.
        let one = async |Path(_): Path<String>, canned, request| answer(canned, request).await;
        let api = Router::new()
            .route("/v1/api-keys/{id}", any(one))
            .fallback(answer)
            .with_state(Arc::clone(&canned));
        let settings = Settings {
            public_url: "https://weir.example.com".into(),
            keys: SessionKeys::derive(b"wojtyra").into(),
            signup,
            has_operators,
            biller: None,
            elsewhere: Elsewhere::new(|wanted| {
                let bytes = OF_ANOTHER_VERSION.to_vec();
                ready(wanted.path().ends_with("/later.js").then_some(bytes))
            }),
            introduce: |of_page, asked| {
                if let Some(peer) = of_page.get::<Peer>() {
                    asked.insert(*peer);
                }
            },
        };
        Self {
            canned,
            router: pages(api, settings),
        }
    }

    /// With somebody who has a role in the tenant `tn_1`.
    pub(crate) fn of(role: &str) -> Self {
        let site = Self::new();
        site.answers(
            Method::GET,
            "/v1/auth/session",
            200,
            json!({
                "user": { "id": "us_1", "email": "ada@example.com" },
                "tenants": [{ "id": "tn_1", "name": "Acme", "role": role }],
                "csrf": "a-token",
                "operator": role == "operator",
            }),
        );
        site
    }

    pub(crate) fn answers(&self, method: Method, path: &str, status: u16, json: Value) {
        let status = StatusCode::from_u16(status).expect("a status");
        let mut canned = self.canned.lock().expect("no test panics here");
        canned
            .answers
            .insert((method, path.to_owned()), (status, json));
    }

    /// All that was asked.
    pub(crate) fn all_asked(&self) -> Vec<Asked> {
        self.canned
            .lock()
            .expect("no test panics here")
            .asked
            .clone()
    }

    /// From now on.
    pub(crate) fn forget_asked(&self) {
        let mut canned = self.canned.lock().expect("no test panics here");
        canned.asked.clear();
    }

    /// What was asked last with this method.
    pub(crate) fn asked(&self, method: &Method) -> Option<Asked> {
        let canned = self.canned.lock().expect("no test panics here");
        canned
            .asked
            .iter()
            .rev()
            .find(|asked| asked.method == *method)
            .cloned()
    }

    async fn request(&self, request: axum::http::request::Builder, body: Body) -> Page {
        let mut request = request.body(body).expect("a request");
        request.extensions_mut().insert(Peer(7));
        let Ok(response) = self.router.clone().oneshot(request).await;
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a page in memory");
        Page {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).expect("text"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Page {
        self.get_with(path, "weir_theme=dark; session=s").await
    }

    pub(crate) async fn get_with(&self, path: &str, cookie: &str) -> Page {
        let request = Request::builder().uri(path).header(COOKIE, cookie);
        self.request(request, Body::empty()).await
    }

    /// Sends a form of a page of this service.
    pub(crate) async fn post(&self, path: &str, cookie: &str, form: &str) -> Page {
        self.post_from("same-origin", path, cookie, form).await
    }

    /// Sends a form of a page of this site, as browsers call it.
    pub(crate) async fn post_from(&self, site: &str, path: &str, cookie: &str, form: &str) -> Page {
        let request = Request::builder().method(Method::POST).uri(path);
        let request = request
            .header(COOKIE, cookie)
            .header("sec-fetch-site", site);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.request(request, Body::from(form.to_owned())).await
    }
}
