//! `weir limits`: the limits of a running node.

use serde_json::Value;

use super::table::table;
use super::{Outcome, plain};
use crate::api::{Api, segment};
use crate::cli::LimitsCommand;

/// Lists limits, or tells one. What changes limits is refused by name.
///
/// # Errors
///
/// When the node cannot be asked, has no such limit, or the command is of a later version.
pub(crate) fn limits(command: &LimitsCommand) -> anyhow::Result<Outcome> {
    let (args, json, path) = match command {
        LimitsCommand::List { api, json } => (api, json, "/v1/limits".to_owned()),
        LimitsCommand::Get { name, api, json } => {
            (api, json, format!("/v1/limits/{}", segment(name)))
        }
        LimitsCommand::Set { .. } => return Err(not_yet("set")),
        LimitsCommand::Delete { .. } => return Err(not_yet("delete")),
    };
    let api = Api::new(args)?;
    let answer = api.get(&path)?;
    let limits = api.expect(&answer, &[200])?;
    let text = if *json {
        format!("{}\n", answer.body.trim_end())
    } else {
        told(&limits)
    };
    Ok(Outcome::success(text))
}

fn not_yet(command: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "weir limits {command} is not in this version: define limits in the file, see weir node --help"
    )
}

/// One limit, or `{"limits":[…]}` or an array of them.
fn told(limits: &Value) -> String {
    let one = [limits.clone()];
    let limits = limits["limits"]
        .as_array()
        .or(limits.as_array())
        .map_or(&one[..], Vec::as_slice);
    let columns = ["name", "algorithm", "limit", "per", "burst", "on_failure"];
    let mut rows = vec![columns.map(str::to_uppercase).to_vec()];
    rows.extend(
        limits
            .iter()
            .map(|limit| columns.map(|column| plain(&limit[column])).to_vec()),
    );
    table(&rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::told;

    #[test]
    fn limits_are_rows() {
        let page = json!({"name":"page","algorithm":"sliding_log","limit":1,"per":"10s","on_failure":"deny"});
        let expected = "NAME  ALGORITHM    LIMIT  PER  BURST  ON_FAILURE\npage  sliding_log  1      10s  -      deny\n";
        assert_eq!(told(&page), expected);
        assert_eq!(told(&json!([page])), expected);
        assert_eq!(told(&json!({ "limits": [page] })), expected);
    }
}
