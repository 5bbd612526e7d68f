//! `weir reload`: a node reads its file again.

use serde_json::Value;

use super::Outcome;
use crate::api::Api;
use crate::cli::ReloadArgs;

/// Why the node goes on as before, each thing in a line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotReloaded(String);

/// Has a node read its file again, and tells what that has changed.
///
/// # Errors
///
/// [`NotReloaded`], or that the node cannot be asked.
pub(crate) fn reload(args: &ReloadArgs) -> anyhow::Result<Outcome> {
    let api = Api::new(&args.api)?;
    let answer = api.post("/v1/reload", &Value::Null)?;
    if answer.status == 409 {
        return Err(NotReloaded(refused(&api.expect(&answer, &[409])?)).into());
    }
    let reloaded = api.expect(&answer, &[200])?;
    Ok(Outcome::success(match args.json {
        true => answer.as_said(),
        false => told(&reloaded),
    }))
}

fn told(reloaded: &Value) -> String {
    match lines(&reloaded["changes"]).as_slice() {
        [] => "nothing has changed\n".to_owned(),
        lines => lines.iter().map(|line| format!("{line}\n")).collect(),
    }
}

fn refused(problem: &Value) -> String {
    let detail = problem["detail"].as_str().unwrap_or_default();
    let mut text = format!("weir: {detail}");
    for line in lines(&problem["problems"]) {
        text.push_str(&format!("\n{line}"));
    }
    text
}

fn lines(list: &Value) -> Vec<&str> {
    let lines = list.as_array().into_iter().flatten();
    lines.filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{refused, told};

    #[test]
    fn what_has_changed_is_told_in_lines() {
        let reloaded = json!({"changes": ["limit a: limit 5 → 10", "route /x: added"]});
        assert_eq!(told(&reloaded), "limit a: limit 5 → 10\nroute /x: added\n");
        assert_eq!(told(&json!({"changes": []})), "nothing has changed\n");
    }

    #[test]
    fn each_problem_has_a_line_of_its_own() {
        let problem = json!({"detail": "the file cannot be taken; nothing was changed", "problems": ["f:1: a", "f:2: b"]});
        assert_eq!(
            refused(&problem),
            "weir: the file cannot be taken; nothing was changed\nf:1: a\nf:2: b"
        );
        assert_eq!(
            refused(&json!({"detail": "there is no file"})),
            "weir: there is no file"
        );
    }
}
