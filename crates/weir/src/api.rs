//! A running node, asked over HTTP.

mod credentials;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::RequestBuilder;
use ureq::tls::{Certificate, TlsConfig};
use ureq::typestate::WithBody;

use crate::cli::ApiArgs;
use crate::secret::SecretError;

/// How long a node may take. Longer than the 2 s within which another takes over a silent node's keys, so that an
/// answer given then still arrives.
const DEADLINE: Duration = Duration::from_secs(5);

/// The same where it asks others itself, several times, who may take ten seconds each.
const DEADLINE_BEHIND: Duration = Duration::from_secs(120);

/// A node's API.
pub(crate) struct Api {
    agent: ureq::Agent,
    url: String,
    token: Option<String>,
    tenant: Option<String>,
    /// How long the node may take.
    deadline: Duration,
}

/// An answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// Members that had not confirmed a change, between commas. `None`: all had.
    pub(crate) pending: Option<String>,
}

impl Answer {
    /// All of it as the node said it, on a line of its own. Empty: the node said nothing.
    pub(crate) fn as_said(&self) -> String {
        match self.body.trim_end() {
            "" => String::new(),
            body => format!("{body}\n"),
        }
    }

    /// What is told of nodes on which a change may not be in force.
    pub(crate) fn not_confirmed(&self) -> String {
        not_confirmed(self.pending.as_deref())
    }
}

/// The same of members with these names, between commas.
pub(crate) fn not_confirmed(names: Option<&str>) -> String {
    names.map_or_else(String::new, |names| {
        format!("not confirmed yet by {names}: in force there when it answers again\n")
    })
}

/// Why a node's answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("--url {0:?} is no address of a node; accepted: http://HOST:PORT or https://HOST:PORT")]
    Url(String),
    #[error(
        "no certificate can be checked for {0}: this machine trusts nobody, or SSL_CERT_FILE names a file without certificates"
    )]
    NoAuthorities(String),
    #[error("no node answers at {0}; is one running there? Another is named with --url")]
    Refused(String),
    #[error("{url} did not answer within {} s; whether a hit was counted, or anything changed, is not known", within.as_secs())]
    Silent { url: String, within: Duration },
    #[error("asking {url}")]
    Failed { url: String, source: ureq::Error },
    #[error("{url} answered something that no node says (status {status}); is it a node?")]
    Strange { url: String, status: u16 },
    #[error(
        "{0} is no loopback address and no https: others could read the token on its way; accepted: https://HOST:PORT, or \
         --insecure with it"
    )]
    Exposed(String),
    #[error("this user has no home folder with a cookie; name it with --cookie-file")]
    NoCookie,
    #[error("the cookie")]
    Cookie(#[from] SecretError),
    /// The node said why.
    #[error("{0}")]
    Problem(String),
}

impl Api {
    /// The API of the node that `args` name.
    ///
    /// # Errors
    ///
    /// [`ApiError::Url`] if there can be none; [`ApiError::Exposed`] where a token that the cookie gives could be read.
    pub(crate) fn new(args: &ApiArgs) -> Result<Self, ApiError> {
        let token = match &args.api_token {
            Some(token) => Some(token.clone()),
            None => credentials::given(args)?,
        };
        Self::with(args, token, DEADLINE)
    }

    /// The same for an operator, in this tenant if one is named: with the cookie that a node of this user finds, unless told
    /// otherwise.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and when there is no cookie.
    pub(crate) fn of_operator(args: &ApiArgs, tenant: Option<&str>) -> Result<Self, ApiError> {
        let token = match &args.api_token {
            Some(token) => token.clone(),
            None => match credentials::given(args)? {
                Some(token) => token,
                None => credentials::own()?,
            },
        };
        if !args.insecure && !credentials::is_safe(&args.url) {
            return Err(ApiError::Exposed(args.url.clone()));
        }
        Ok(Self::with(args, Some(token), DEADLINE)?.within(tenant))
    }

    /// The same for an operator who asks for what others are asked for behind the node.
    ///
    /// # Errors
    ///
    /// As [`of_operator`](Self::of_operator).
    pub(crate) fn of_patient_operator(args: &ApiArgs) -> Result<Self, ApiError> {
        let api = Self::of_operator(args, None)?;
        Self::with(args, api.token, DEADLINE_BEHIND)
    }

    fn with(args: &ApiArgs, token: Option<String>, within: Duration) -> Result<Self, ApiError> {
        let url = args.url.trim_end_matches('/').to_owned();
        let (is_tls, host) = match url.strip_prefix("https://") {
            Some(host) => (true, host),
            None => (false, url.strip_prefix("http://").unwrap_or_default()),
        };
        let is_plain = !host.is_empty()
            && !host.contains(|char: char| "/?#@".contains(char) || char.is_whitespace());
        if !is_plain {
            return Err(ApiError::Url(args.url.clone()));
        }
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(within))
            .max_redirects(0)
            // Nodes are asked directly: a proxy for the web knows no 127.0.0.1 of ours.
            .proxy(None)
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
        if is_tls {
            let tls = tls().ok_or_else(|| ApiError::NoAuthorities(url.clone()))?;
            config = config.tls_config(tls);
        }
        Ok(Self {
            agent: config.build().into(),
            url,
            token,
            tenant: None,
            deadline: within,
        })
    }

    /// The same in this tenant, for an operator.
    pub(crate) fn within(self, tenant: Option<&str>) -> Self {
        Self {
            tenant: tenant.map(str::to_owned),
            ..self
        }
    }

    /// Every entry of a list, page by page; and as one answer of a node, under `name`.
    pub(crate) fn all(&self, path: &str, name: &str) -> Result<(Value, String), ApiError> {
        let mut entries = Vec::new();
        let mut query = "?count=1000".to_owned();
        loop {
            let answer = self.get(&format!("{path}{query}"))?;
            let mut page = self.expect(&answer, &[200])?;
            if let Some(more) = page[name].as_array_mut() {
                entries.append(more);
            }
            let Some(next) = page["next"].as_str() else {
                break;
            };
            query = format!("?count=1000&after={}", segment(next));
        }
        let raw = format!("{}\n", serde_json::json!({ name: entries }));
        Ok((entries.into(), raw))
    }

    /// Gets `path`.
    pub(crate) fn get(&self, path: &str) -> Result<Answer, ApiError> {
        let request = self.agent.get(self.at(path));
        self.answer(self.signed(request).call())
    }

    /// Deletes `path`.
    pub(crate) fn delete(&self, path: &str) -> Result<Answer, ApiError> {
        let request = self.agent.delete(self.at(path));
        self.answer(self.signed(request).call())
    }

    /// Posts `body` to `path`.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Answer, ApiError> {
        self.send(self.agent.post(self.at(path)), body)
    }

    /// Puts `body` at `path`.
    pub(crate) fn put(&self, path: &str, body: &Value) -> Result<Answer, ApiError> {
        self.send(self.agent.put(self.at(path)), body)
    }

    /// Changes what is at `path` by `body`.
    pub(crate) fn patch(&self, path: &str, body: &Value) -> Result<Answer, ApiError> {
        self.send(self.agent.patch(self.at(path)), body)
    }

    fn send(&self, request: RequestBuilder<WithBody>, body: &Value) -> Result<Answer, ApiError> {
        let request = request.header("Content-Type", "application/json");
        self.answer(self.signed(request).send(body.to_string()))
    }

    /// With whatever this proves itself with.
    fn signed<B>(&self, mut request: RequestBuilder<B>) -> RequestBuilder<B> {
        if let Some(bearer) = self.bearer() {
            request = request.header("Authorization", bearer);
        }
        if let Some(tenant) = &self.tenant {
            request = request.header("Weir-Tenant", tenant);
        }
        request
    }

    /// The answer as JSON, if its status is one of `expected`.
    ///
    /// # Errors
    ///
    /// What the node says is wrong, or that this is no answer of a node.
    pub(crate) fn expect(&self, answer: &Answer, expected: &[u16]) -> Result<Value, ApiError> {
        let strange = || ApiError::Strange {
            url: self.url.clone(),
            status: answer.status,
        };
        let body: Value = match answer.body.as_str() {
            "" => Value::Null,
            body => serde_json::from_str(body).map_err(|_| strange())?,
        };
        if expected.contains(&answer.status) {
            return Ok(body);
        }
        let title = body["title"].as_str().ok_or_else(strange)?;
        let accepted = body["accepted"].as_str();
        let mut message = match (body["field"].as_str(), &body["given"]) {
            // As what is wrong with a file: the detail says the same in a sentence.
            (Some(field), given) if !given.is_null() && accepted.is_some() => {
                format!("{title}: {field}: found {given}")
            }
            _ => match body["detail"].as_str() {
                Some(detail) => format!("{title}: {detail}"),
                None => title.to_owned(),
            },
        };
        if let Some(accepted) = accepted {
            message = format!("{message}; accepted: {accepted}");
        }
        if answer.status == 401 && self.token.is_none() {
            message = format!(
                "{message}; give the token with --api-token or WEIR_API_TOKEN, or the cluster's cookie with --cookie-file"
            );
        }
        Err(ApiError::Problem(message))
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn bearer(&self) -> Option<String> {
        self.token
            .as_ref()
            .map(|token| format!("Bearer {}", token.trim()))
    }

    fn answer(
        &self,
        result: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Answer, ApiError> {
        let read = result.and_then(|mut response| {
            let pending = response.headers().get("weir-pending");
            let pending = pending.and_then(|names| names.to_str().ok());
            Ok(Answer {
                pending: pending.map(str::to_owned),
                status: response.status().as_u16(),
                body: response.body_mut().read_to_string()?,
            })
        });
        let url = self.url.clone();
        read.map_err(|error| match error {
            ureq::Error::Timeout(_) => ApiError::Silent {
                url,
                within: self.deadline,
            },
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                ApiError::Refused(url)
            }
            ureq::Error::ConnectionFailed => ApiError::Refused(url),
            source => ApiError::Failed { url, source },
        })
    }
}

/// How a node behind TLS is asked: whoever stands before it is known by an authority that this machine trusts. `None`: it
/// trusts none.
fn tls() -> Option<TlsConfig> {
    let trusted = rustls_native_certs::load_native_certs().certs;
    if trusted.is_empty() {
        return None;
    }
    let trusted = trusted
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned());
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let tls = TlsConfig::builder()
        .root_certs(trusted.collect::<Vec<_>>().into())
        .unversioned_rustls_crypto_provider(Arc::new(provider));
    Some(tls.build())
}

/// `text` as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(url: &str) -> Result<Api, ApiError> {
        Api::new(&ApiArgs {
            url: url.to_owned(),
            api_token: None,
            cookie_file: None,
            cookie: None,
            insecure: false,
        })
    }

    #[test]
    fn only_the_address_of_a_node_is_a_url() {
        for url in [
            "http://127.0.0.1:4000",
            "http://127.0.0.1:4000/",
            "http://[::1]:4000",
            "http://weir",
        ] {
            assert!(api(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "127.0.0.1:4000",
            "https://",
            "ftp://weir",
            "http://",
            "http://weir/v1",
            "http://a b",
            "http://u@weir",
        ] {
            assert!(matches!(api(url), Err(ApiError::Url(_))), "{url}");
        }
        // Whom this machine trusts is its own affair.
        let told = api("https://weir:4000").err();
        assert!(matches!(told, None | Some(ApiError::NoAuthorities(_))));
    }

    #[test]
    fn a_problem_is_told_in_one_line() {
        for (body, told) in [
            (
                r#"{"title":"unknown limit","detail":"no limit \"x\"","accepted":"api, page"}"#,
                "unknown limit: no limit \"x\"; accepted: api, page",
            ),
            (
                r#"{"title":"not valid","detail":"zone must be a zone","field":"zone","given":"Mars","accepted":"a zone"}"#,
                "not valid: zone: found \"Mars\"; accepted: a zone",
            ),
            (
                r#"{"title":"not valid","detail":"no `key`","field":"key","accepted":"a key"}"#,
                "not valid: no `key`; accepted: a key",
            ),
        ] {
            let answer = Answer {
                status: 404,
                body: body.to_owned(),
                pending: None,
            };
            let error = api("http://weir").unwrap().expect(&answer, &[200]);
            assert_eq!(error.unwrap_err().to_string(), told);
        }
    }

    #[test]
    fn an_answer_that_no_node_gives_is_told_as_such() {
        for body in ["<html>", "", "{}", "[1]"] {
            let answer = Answer {
                status: 502,
                body: body.to_owned(),
                pending: None,
            };
            let error = api("http://weir")
                .unwrap()
                .expect(&answer, &[200])
                .unwrap_err();
            assert!(
                matches!(error, ApiError::Strange { status: 502, .. }),
                "{body}"
            );
        }
    }

    #[test]
    fn a_segment_holds_any_text() {
        assert_eq!(segment("a.b-c_d~9"), "a.b-c_d~9");
        assert_eq!(segment("a/b?ü"), "a%2Fb%3F%C3%BC");
    }
}
