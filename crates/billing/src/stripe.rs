//! One call of Stripe's API: who asks, how often it is tried, and what went wrong.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use metrics::counter;
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use crate::form::Form;
use crate::objects::Refused;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pauses before a call is tried again; up to half as much is added, so that nodes that failed together do not come together.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Bytes of an answer: a page of a hundred invoices has some 500 KiB.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

const SHOULD_RETRY: HeaderName = HeaderName::from_static("stripe-should-retry");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const STRIPE_VERSION: HeaderName = HeaderName::from_static("stripe-version");

/// What an account of Stripe is reached by, such as `sk_test_4eC39H`. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(Arc<str>);

/// No secret key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a key of Stripe that begins with sk_test_, sk_live_, rk_test_ or rk_live_")]
pub struct NoSecretKey;

impl SecretKey {
    /// The key that stands in a text of one line.
    ///
    /// # Errors
    ///
    /// [`NoSecretKey`]
    pub fn parse(text: &str) -> Result<Self, NoSecretKey> {
        let key = text.trim();
        let rest = key.strip_prefix("sk_").or_else(|| key.strip_prefix("rk_"));
        let rest = rest.ok_or(NoSecretKey)?;
        let rest = rest
            .strip_prefix("test_")
            .or_else(|| rest.strip_prefix("live_"));
        let is_one = rest.is_some_and(|rest| {
            (1..=255).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_graphic())
        });
        is_one.then(|| Self(key.into())).ok_or(NoSecretKey)
    }

    /// Whether it moves real money.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0[3..].starts_with("live_")
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.is_live() { "live" } else { "test" };
        write!(f, "SecretKey({mode})")
    }
}

/// Stripe, as one account sees it. Cheap to clone.
#[derive(Clone)]
pub struct Stripe {
    key: SecretKey,
    bearer: HeaderValue,
    /// Without a slash at the end.
    url: Arc<str>,
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl fmt::Debug for Stripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stripe")
            .field("key", &self.key)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum StripeError {
    /// It did not answer, however often it was asked, or that it cannot now. What was asked may have been done.
    #[error("Stripe is away: {0}")]
    Away(String),
    /// It answered that it will not do that.
    #[error("Stripe refuses: {message} ({status})")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// A stable name of the reason, such as `resource_missing`; empty where Stripe gives none.
        code: String,
        /// What a person reads.
        message: String,
    },
    /// It answered something else than its version says.
    #[error("Stripe's answer is not that of its version: {0}")]
    Unreadable(String),
}

impl StripeError {
    /// Whether there is nothing of the name that was asked for.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "resource_missing")
    }

    /// What a metric calls it.
    const fn name(&self) -> &'static str {
        match self {
            Self::Away(_) => "away",
            Self::Refused { .. } => "refused",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

/// What is asked.
pub(crate) struct Call {
    /// What a metric calls it.
    pub(crate) name: &'static str,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) form: Form,
    /// Under which name Stripe does it once.
    pub(crate) key: Option<String>,
}

/// What one try came to.
enum Tried {
    Answer(StatusCode, HeaderMap, Bytes),
    Lost(String),
}

impl Stripe {
    /// Stripe at `url`, such as `https://api.stripe.com`, without a slash at the end. Nobody is asked yet.
    #[must_use]
    pub fn new(key: SecretKey, url: &str) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls())
            .https_or_http()
            .enable_http1()
            .build();
        let http = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_timer(TokioTimer::new())
            .build(connector);
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.0))
            .expect("a key is of visible characters");
        bearer.set_sensitive(true);
        Self {
            key,
            bearer,
            url: url.into(),
            http,
        }
    }

    /// Whether it moves real money.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.key.is_live()
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        name: &'static str,
        path: impl Into<String>,
        form: Form,
    ) -> Result<T, StripeError> {
        let call = Call {
            name,
            method: Method::GET,
            path: path.into(),
            form,
            key: None,
        };
        self.call(&call).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        name: &'static str,
        path: impl Into<String>,
        form: Form,
        key: Option<&str>,
    ) -> Result<T, StripeError> {
        // A call without a name of its own may be tried again as well, under one that lasts as long as it does.
        let key = key.map_or_else(random_name, str::to_owned);
        let call = Call {
            name,
            method: Method::POST,
            path: path.into(),
            form,
            key: Some(key),
        };
        self.call(&call).await
    }

    async fn call<T: DeserializeOwned>(&self, call: &Call) -> Result<T, StripeError> {
        let answer = self.answered(call).await.and_then(|bytes| {
            let unreadable = |error: serde_json::Error| StripeError::Unreadable(error.to_string());
            serde_json::from_slice(&bytes).map_err(unreadable)
        });
        let result = answer.as_ref().map_or_else(StripeError::name, |_| "done");
        counter!("weir_stripe_calls_total", "call" => call.name, "result" => result).increment(1);
        answer
    }

    async fn answered(&self, call: &Call) -> Result<Bytes, StripeError> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let (why, error) = match self.once(call).await {
                Tried::Answer(status, _, body) if status.is_success() => return Ok(body),
                Tried::Answer(status, headers, body) => {
                    let refused = refused(status, &body);
                    let why = refused.to_string();
                    let is_away =
                        status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                    let error = match is_away {
                        true => StripeError::Away(why.clone()),
                        false => refused,
                    };
                    if !may_retry(status, &headers) {
                        return Err(error);
                    }
                    (why, error)
                }
                Tried::Lost(why) => (why.clone(), StripeError::Away(why)),
            };
            let Some(pause) = pauses.next() else {
                return Err(error);
            };
            tracing::debug!(call = call.name, %why, "asking Stripe again");
            sleep(jittered(pause)).await;
        }
    }

    async fn once(&self, call: &Call) -> Tried {
        let request = match self.request(call) {
            Ok(request) => request,
            Err(error) => return Tried::Lost(error.to_string()),
        };
        let asked = async {
            let response = self.http.request(request).await;
            let response = response.map_err(|error| why(&error))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await;
            let body = body.map_err(|error| why(&*error))?;
            Ok((parts, body.to_bytes()))
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok((parts, body))) => Tried::Answer(parts.status, parts.headers, body),
            Ok(Err(why)) => Tried::Lost(why),
            Err(_) => Tried::Lost(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, http::Error> {
        let is_get = call.method == Method::GET;
        let form = call.form.encoded();
        let url = match is_get && !form.is_empty() {
            true => format!("{}{}?{form}", self.url, call.path),
            false => format!("{}{}", self.url, call.path),
        };
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(url)
            .header(AUTHORIZATION, &self.bearer)
            .header(STRIPE_VERSION, crate::VERSION);
        if let Some(key) = &call.key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        if is_get {
            return request.body(Full::default());
        }
        request
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form))
    }
}

/// Whom it is trusted to be Stripe: whoever the system trusts. Where that cannot be read it is nobody, and each call says so.
fn tls() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let errors = found.errors;
        tracing::warn!(
            ?errors,
            "the system trusts no certificate: Stripe cannot be asked by https"
        );
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn may_retry(status: StatusCode, headers: &HeaderMap) -> bool {
    match headers.get(SHOULD_RETRY).map(HeaderValue::as_bytes) {
        Some(b"true") => true,
        Some(b"false") => false,
        _ => {
            let passes = [StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS];
            passes.contains(&status) || status.is_server_error()
        }
    }
}

fn refused(status: StatusCode, body: &[u8]) -> StripeError {
    let Refused { error } = serde_json::from_slice(body).unwrap_or_default();
    StripeError::Refused {
        status: status.as_u16(),
        code: error.code.or(error.kind).unwrap_or_default(),
        message: error.message.unwrap_or_else(|| "no reason given".into()),
    }
}

/// All of it: what hyper tells first is that something went wrong.
fn why(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts = vec![error.to_string()];
    let mut inner = error.source();
    while let Some(error) = inner {
        texts.push(error.to_string());
        inner = error.source();
    }
    texts.join(": ")
}

fn random_name() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    format!("weir-{}", hex::encode(bytes))
}

fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    getrandom::fill(&mut byte).expect("the operating system has random bytes");
    pause + pause * u32::from(byte[0]) / 512
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_key_is_one_of_stripes_and_is_not_shown() {
        for (text, is_live) in [
            ("sk_test_4eC39H\n", Some(false)),
            ("rk_live_1", Some(true)),
            ("sk_live_é", None),
            ("sk_test_", None),
            ("pk_test_1", None),
            ("whsec_1", None),
            ("", None),
        ] {
            let key = SecretKey::parse(text);
            assert_eq!(key.as_ref().ok().map(SecretKey::is_live), is_live, "{text}");
            assert!(!format!("{key:?}").contains("4eC39H"));
        }
        let stripe = Stripe::new(SecretKey::parse("sk_test_4eC39H").unwrap(), "http://a");
        assert!(!format!("{stripe:?}").contains("4eC39H"));
    }

    /// Answers each connection with the next of these, and tells what it was asked. An empty answer is a connection that breaks.
    async fn answering(answers: Vec<String>) -> (Stripe, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut heard = Vec::new();
                let ends = |heard: &[u8]| {
                    let text = String::from_utf8_lossy(heard);
                    text.ends_with("a=1") || (text.starts_with("GET") && text.ends_with("\r\n\r\n"))
                };
                while !ends(&heard) {
                    assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0);
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
                asked.push(String::from_utf8(heard).unwrap());
            }
            asked
        });
        let key = SecretKey::parse("sk_test_1").unwrap();
        (Stripe::new(key, &url), asked)
    }

    fn answer(status: u16, headers: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "HTTP/1.1 {status} OK\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        )
    }

    async fn post(stripe: &Stripe) -> Result<serde_json::Value, StripeError> {
        let form = Form::new().with("a", 1);
        stripe.post("test", "/v1/test", form, Some("a name")).await
    }

    #[tokio::test]
    async fn a_call_is_repeated_under_its_name_until_it_is_answered() {
        let answers = vec![
            String::new(),
            answer(500, "", "{}"),
            answer(429, "", "no JSON"),
            answer(200, "", r#"{"id":"x"}"#),
        ];
        let (stripe, asked) = answering(answers).await;
        assert_eq!(post(&stripe).await.unwrap()["id"], "x");
        let asked = asked.await.unwrap();
        assert_eq!(asked.len(), 4);
        for request in asked {
            assert!(
                request.starts_with("POST /v1/test HTTP/1.1\r\n"),
                "{request}"
            );
            for header in [
                "authorization: Bearer sk_test_1",
                "stripe-version: 2026-10-28.endive",
                "idempotency-key: a name",
                "content-type: application/x-www-form-urlencoded",
            ] {
                assert!(
                    request.contains(&format!("\r\n{header}\r\n")),
                    "{header}: {request}"
                );
            }
        }
    }

    #[tokio::test]
    async fn what_is_refused_is_not_repeated_unless_stripe_says_so() {
        let body = r#"{"error":{"type":"invalid_request_error","code":"resource_missing","message":"No such price"}}"#;
        let (stripe, asked) = answering(vec![answer(404, "", body)]).await;
        let error = post(&stripe).await.unwrap_err();
        assert!(error.is_missing());
        assert_eq!(error.to_string(), "Stripe refuses: No such price (404)");
        assert_eq!(asked.await.unwrap().len(), 1);

        let told = [
            answer(400, "stripe-should-retry: true\r\n", "{}"),
            answer(500, "stripe-should-retry: false\r\n", "{}"),
            answer(200, "", "{}"),
        ];
        let (stripe, asked) = answering(told.to_vec()).await;
        let error = post(&stripe).await.unwrap_err();
        assert!(matches!(error, StripeError::Away(_)), "{error}");
        assert!(!asked.is_finished(), "it waits for a third");
        asked.abort();
    }

    #[tokio::test]
    async fn who_is_away_is_asked_four_times() {
        let (stripe, asked) = answering(vec![answer(503, "", "{}"); 4]).await;
        let asked_for = stripe.get::<serde_json::Value>("test", "/v1/a", Form::new());
        assert!(matches!(asked_for.await, Err(StripeError::Away(_))));
        let asked = asked.await.unwrap();
        assert!(
            asked
                .iter()
                .all(|asked| asked.starts_with("GET /v1/a HTTP")),
            "{asked:?}"
        );
        assert!(asked.iter().all(|asked| !asked.contains("idempotency-key")));
    }

    #[tokio::test]
    async fn what_nobody_can_read_is_told_as_that() {
        let (stripe, _) = answering(vec![answer(200, "", "<html>")]).await;
        let error = post(&stripe).await.unwrap_err();
        assert!(matches!(error, StripeError::Unreadable(_)), "{error}");
    }
}
