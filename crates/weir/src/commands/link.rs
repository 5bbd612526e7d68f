//! Links by which people set a password: each works once, so that nobody but who asked is to see it.

use serde_json::Value;

use super::{Outcome, plain};
use crate::api::Answer;

/// The link that `made` tells alone on stdout, for scripts; all else on stderr. Nothing on stdout: there is none.
pub(super) fn shown_once(answer: &Answer, made: &Value, email: &str) -> Outcome {
    let Some(url) = made["url"].as_str() else {
        eprintln!("{email} has a password already: there is no link");
        eprint!("{}", answer.not_confirmed());
        return Outcome::success(String::new());
    };
    let expires_at = plain(&made["expires_at"]);
    eprintln!("a link for {email} to set a password: it works once, until {expires_at}");
    eprint!("{}", answer.not_confirmed());
    Outcome::success(format!("{url}\n"))
}
