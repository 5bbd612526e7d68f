//! What every answer to a browser has, whatever came of the request: the cookies that the API has set meanwhile, and the headers
//! that keep a browser from doing more with a page than to show it.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::App;
use crate::api::Problem;
use crate::frame::Looks;
use crate::respond::trouble;

/// What a page may load and do: nothing of anybody else, but for being led to where a plan is paid.
pub(crate) fn policy(biller: Option<&str>) -> HeaderValue {
    let policy = |biller: &str| {
        format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self' https://checkout.stripe.com https://billing.stripe.com{biller}; frame-ancestors 'none'; \
             base-uri 'none'; object-src 'none'; require-trusted-types-for 'script'"
        )
    };
    let biller = biller.map_or_else(String::new, |biller| format!(" {biller}"));
    // An address that no header can hold is none that a form could lead to.
    HeaderValue::try_from(policy(&biller))
        .unwrap_or_else(|_| HeaderValue::try_from(policy("")).expect("it is of visible characters"))
}

const HEADERS: [(HeaderName, &str); 4] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// The cookies that are set while one request is answered. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Jar(Arc<Mutex<Vec<HeaderValue>>>);

impl Jar {
    pub(crate) fn put(&self, cookies: impl IntoIterator<Item = HeaderValue>) {
        let mut jar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jar.extend(cookies);
    }

    /// Sets them: of several of one name the last, which is the one that a browser keeps.
    fn empty_into(&self, headers: &mut HeaderMap) {
        let mut jar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cookies = std::mem::take(&mut *jar);
        let name = |cookie: &HeaderValue| {
            let bytes = cookie.as_bytes();
            let end = bytes.iter().position(|byte| *byte == b'=');
            bytes[..end.unwrap_or(bytes.len())].to_vec()
        };
        let names: Vec<_> = cookies.iter().map(name).collect();
        for (place, cookie) in cookies.into_iter().enumerate() {
            if !names[place + 1..].contains(&names[place]) {
                headers.append(SET_COOKIE, cookie);
            }
        }
    }
}

/// Puts it around an answer. What is wrong is shown on a page that looks as the reader has chosen.
pub(crate) async fn around(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let jar = Jar::default();
    let looks = Looks::of(request.headers());
    request.extensions_mut().insert(jar.clone());
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = trouble(&problem, looks);
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_SECURITY_POLICY, app.policy.clone());
    if app.is_https() {
        let for_a_year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        headers.insert(STRICT_TRANSPORT_SECURITY, for_a_year);
    }
    let is_of_now = HeaderValue::from_static("no-store");
    headers.entry(CACHE_CONTROL).or_insert(is_of_now);
    jar.empty_into(headers);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_cookies_of_a_name_the_last_is_set() {
        let jar = Jar::default();
        let cookies = ["a=1; Path=/", "b=2", "a=3; Path=/"];
        jar.put(cookies.map(HeaderValue::from_static));
        let mut headers = HeaderMap::new();
        jar.empty_into(&mut headers);
        let set: Vec<_> = headers.get_all(SET_COOKIE).into_iter().collect();
        assert_eq!(set, ["b=2", "a=3; Path=/"]);
    }
}
