//! What Stripe answers when it does not do what it was asked.

use serde_json::{Value, json};

/// A refusal, in the words of Stripe.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    kind: &'static str,
    code: Option<&'static str>,
    message: String,
    param: Option<String>,
}

impl Problem {
    /// 400: the request cannot be carried out, whatever is asked before it.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            kind: "invalid_request_error",
            code: None,
            message: message.into(),
            param: None,
        }
    }

    /// 400, with the name that Stripe has for it and the parameter that it is about.
    pub(crate) fn parameter(code: &'static str, param: &str, message: impl Into<String>) -> Self {
        Self {
            code: Some(code),
            param: Some(param.to_owned()),
            ..Self::invalid(message)
        }
    }

    pub(crate) fn unknown_parameter(param: &str) -> Self {
        let message = format!("Received unknown parameter: {param}");
        Self::parameter("parameter_unknown", param, message)
    }

    pub(crate) fn missing_parameter(param: &str) -> Self {
        let message = format!("Missing required param: {param}.");
        Self::parameter("parameter_missing", param, message)
    }

    /// An object of this kind is not there: 404 where the path names it, as `param` `id`, else 400.
    pub(crate) fn no_such(kind: &str, id: &str, param: &str) -> Self {
        let status = if param == "id" { 404 } else { 400 };
        let message = format!("No such {kind}: '{id}'");
        Self {
            status,
            ..Self::parameter("resource_missing", param, message)
        }
    }

    pub(crate) fn no_such_route(method: &str, path: &str) -> Self {
        let message = format!("Unrecognized request URL ({method}: {path}).");
        Self {
            status: 404,
            ..Self::invalid(message)
        }
    }

    pub(crate) fn unauthorized(message: &str) -> Self {
        Self {
            status: 401,
            ..Self::invalid(message)
        }
    }

    pub(crate) fn other_body(key: &str) -> Self {
        let message = format!(
            "Keys for idempotent requests can only be used with the same parameters they were first used with. Try \
             using a key other than '{key}' if you meant to execute a different request."
        );
        Self {
            kind: "idempotency_error",
            ..Self::invalid(message)
        }
    }

    pub(crate) fn declined() -> Self {
        Self {
            status: 402,
            kind: "card_error",
            code: Some("card_declined"),
            ..Self::invalid("Your card was declined.")
        }
    }

    /// What a test has told the fake to answer.
    pub(crate) fn of_status(status: u16) -> Self {
        let (kind, code, message) = match status {
            409 => (
                "invalid_request_error",
                Some("lock_timeout"),
                "This object cannot be accessed right now because another API request is accessing it.",
            ),
            429 => (
                "invalid_request_error",
                Some("rate_limit"),
                "Request rate limit exceeded.",
            ),
            500.. => ("api_error", None, "An unknown error occurred."),
            _ => (
                "invalid_request_error",
                None,
                "The request was unacceptable.",
            ),
        };
        Self {
            status,
            kind,
            code,
            message: message.into(),
            param: None,
        }
    }

    pub(crate) fn body(&self) -> Value {
        let mut error = json!({ "type": self.kind, "message": self.message });
        if let Some(code) = self.code {
            error["code"] = code.into();
        }
        if let Some(param) = &self.param {
            error["param"] = param.as_str().into();
        }
        json!({ "error": error })
    }
}
