//! Links that are for one person: each works once, so that nobody but who asked is to see it.

use serde_json::Value;

use super::{Outcome, plain};
use crate::api::Answer;

/// The link that `made` tells, by which somebody sets a password, alone on stdout, for scripts; all else on stderr.
pub(super) fn shown_once(answer: &Answer, made: &Value, email: &str) -> Outcome {
    shown(
        answer,
        made,
        &format!("a link for {email} to set a password"),
    )
}

/// The same of a link for the owner of a tenant that was made.
pub(super) fn of_owner(answer: &Answer, owner: &Value) -> Outcome {
    let email = plain(&owner["email"]);
    if !owner["id"].is_null() {
        return shown_once(answer, owner, &email);
    }
    let what = format!("{email} has a password already: a link to join as owner");
    shown(answer, owner, &what)
}

fn shown(answer: &Answer, made: &Value, what: &str) -> Outcome {
    let expires_at = plain(&made["expires_at"]);
    eprintln!("{what}: it works once, until {expires_at}");
    eprint!("{}", answer.not_confirmed());
    Outcome::success(format!("{}\n", plain(&made["url"])))
}
