//! `weir limits`: the limits of a running node.

use serde_json::{Value, json};

use super::table::table;
use super::{Outcome, plain};
use crate::api::{Answer, Api, segment};
use crate::cli::{LimitsCommand, SetArgs};

/// Lists, tells, makes, changes or removes limits.
///
/// # Errors
///
/// When the node cannot be asked, has no such limit, or does not change it.
pub(crate) fn limits(command: &LimitsCommand) -> anyhow::Result<Outcome> {
    match command {
        LimitsCommand::List { api, within, json } => {
            let (limits, raw) = Api::new(api)?
                .within(within.tenant.as_deref())
                .all("/v1/limits", "limits")?;
            Ok(Outcome::success(if *json { raw } else { told(&limits) }))
        }
        LimitsCommand::Get {
            name,
            api,
            within,
            json,
        } => {
            let api = Api::new(api)?.within(within.tenant.as_deref());
            let answer = api.get(&path(name))?;
            let limit = api.expect(&answer, &[200])?;
            Ok(shown(&answer, &limit, *json))
        }
        LimitsCommand::Set(args) => {
            let api = Api::new(&args.api)?.within(args.within.tenant.as_deref());
            let answer = api.put(&path(&args.name), &body(args))?;
            let limit = api.expect(&answer, &[200, 201])?;
            let mut outcome = shown(&answer, &limit, args.json);
            if !args.json {
                outcome.text.push_str(&answer.not_confirmed());
            }
            Ok(outcome)
        }
        LimitsCommand::Delete { name, api, within } => {
            let api = Api::new(api)?.within(within.tenant.as_deref());
            let answer = api.delete(&path(name))?;
            api.expect(&answer, &[204])?;
            let removed = format!("{name} is removed\n{}", answer.not_confirmed());
            Ok(Outcome::success(removed))
        }
    }
}

fn path(name: &str) -> String {
    format!("/v1/limits/{}", segment(name))
}

fn body(args: &SetArgs) -> Value {
    let mut body = json!({
        "algorithm": args.algorithm,
        "limit": args.limit,
    });
    if let Some(burst) = args.burst {
        body["burst"] = burst.into();
    }
    for (name, flag) in [("keep", args.keep), ("top_keys", args.top_keys)] {
        if let Some(flag) = flag {
            body[name] = flag.into();
        }
    }
    let texts = [
        ("per", &args.per),
        ("anchor", &args.anchor),
        ("zone", &args.zone),
        ("strategy", &args.strategy),
        ("on_failure", &args.on_failure),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            body[name] = text.as_str().into();
        }
    }
    body
}

fn shown(answer: &Answer, limit: &Value, as_json: bool) -> Outcome {
    Outcome::success(match as_json {
        true => answer.as_said(),
        false => told(limit),
    })
}

/// One limit, or `{"limits":[…]}` or an array of them.
fn told(limits: &Value) -> String {
    let one = [limits.clone()];
    let limits = limits["limits"]
        .as_array()
        .or(limits.as_array())
        .map_or(&one[..], Vec::as_slice);
    let columns = [
        "name",
        "algorithm",
        "limit",
        "per",
        "burst",
        "strategy",
        "on_failure",
        "keep",
    ];
    let mut rows = vec![columns.map(str::to_uppercase).to_vec()];
    let cell = |limit: &Value, column: &str| match column {
        "per" => per(limit),
        _ => plain(&limit[column]),
    };
    rows.extend(
        limits
            .iter()
            .map(|limit| columns.map(|column| cell(limit, column)).to_vec()),
    );
    table(&rows)
}

/// How long a limit's windows are: a span, or a unit of a zone's calendar.
pub(super) fn per(limit: &Value) -> String {
    match limit["zone"].as_str() {
        Some(zone) => format!("{} of {zone}", plain(&limit["anchor"])),
        None => plain(&limit["per"]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::told;

    #[test]
    fn limits_are_rows() {
        let page = json!({"name":"page","algorithm":"sliding_log","limit":1,"per":"10s","strategy":"owner","on_failure":"deny","keep":false});
        let expected = "NAME  ALGORITHM    LIMIT  PER  BURST  STRATEGY  ON_FAILURE  KEEP\npage  sliding_log  1      10s  -      owner     deny        false\n";
        assert_eq!(told(&page), expected);
        assert_eq!(told(&json!([page])), expected);
        assert_eq!(told(&json!({ "limits": [page] })), expected);
    }

    #[test]
    fn a_calendar_stands_where_the_period_does() {
        let quota = json!({"name":"quota","algorithm":"fixed_window","limit":9,"anchor":"month","zone":"Europe/Vienna","strategy":"owner","on_failure":"deny","keep":true});
        let expected = "NAME   ALGORITHM     LIMIT  PER                     BURST  STRATEGY  ON_FAILURE  KEEP\nquota  fixed_window  9      month of Europe/Vienna  -      owner     deny        true\n";
        assert_eq!(told(&quota), expected);
    }
}
