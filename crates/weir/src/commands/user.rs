//! `weir user`: who may come in.

use serde_json::json;

use super::{Outcome, link};
use crate::api::{Answer, Api};
use crate::cli::{PersonArgs, UserCommand};

/// Makes a link for a person, ends their sessions, keeps them out or lets them in again.
///
/// # Errors
///
/// When the node cannot be asked, knows nobody of that address, or does not change it.
pub(crate) fn user(command: &UserCommand) -> anyhow::Result<Outcome> {
    match command {
        UserCommand::ResetLink(args) => {
            let (api, answer) = asked(args, "reset-link")?;
            let made = api.expect(&answer, &[201])?;
            Ok(match args.operator.json {
                true => Outcome::success(answer.as_said()),
                false => link::shown_once(&answer, &made, &args.email),
            })
        }
        UserCommand::EndSessions(args) => done(args, "end-sessions", "is logged in nowhere"),
        UserCommand::Disable(args) => done(args, "disable", "is disabled"),
        UserCommand::Enable(args) => done(args, "enable", "is enabled"),
    }
}

fn asked(args: &PersonArgs, what: &str) -> anyhow::Result<(Api, Answer)> {
    let api = Api::of_operator(&args.operator.api, None)?;
    let answer = api.post(
        &format!("/v1/users/{what}"),
        &json!({ "email": args.email }),
    )?;
    Ok((api, answer))
}

fn done(args: &PersonArgs, what: &str, is_so: &str) -> anyhow::Result<Outcome> {
    let (api, answer) = asked(args, what)?;
    api.expect(&answer, &[204])?;
    let told = format!("{} {is_so}", args.email);
    Ok(Outcome::done(&answer, &told, args.operator.json))
}
