//! `weir explain`: everything about one key.

use serde_json::{Value, json};

use super::check::seconds;
use super::{Facts, Outcome, plain};
use crate::api::{Api, ApiError, segment};
use crate::cli::ExplainArgs;

/// The problem of a hit that nobody can decide, and whose limit fails closed.
const NO_DECISION: &str = "/problems/no-decision";

/// Tells the limit, who owns the key and who has copies, what is left of it, and what a hit would be answered now and why.
/// Nothing is counted.
///
/// # Errors
///
/// When there is no such limit, or the node cannot be asked.
pub(crate) fn explain(args: &ExplainArgs) -> Result<Outcome, ApiError> {
    let api = Api::new(&args.of.api)?;
    let (name, key) = (&args.of.limit, &args.of.key);
    let limit = api.get(&format!("/v1/limits/{}", segment(name)))?;
    let limit = api.expect(&limit, &[200])?;
    // Keys of the other strategies have no owner.
    let owner = match limit["strategy"] == "owner" {
        true => {
            let query = format!("limit={}&key={}", segment(name), segment(key));
            let answer = api.get(&format!("/v1/owner?{query}"))?;
            // Nobody, for a moment: that is what is to be told, and no failure.
            match answer.status {
                503 => Value::Null,
                _ => api.expect(&answer, &[200])?,
            }
        }
        false => Value::Null,
    };
    let peek = json!({ "limit": name, "key": key, "cost": 0 });
    let answer = api.post("/v1/check", &peek)?;
    let decision = api.expect(&answer, &[200, 429, 503])?;
    // That nobody can decide is to be told as well, beside who would; other problems are of the question or of this node.
    if decision.get("allowed").is_none() && decision["type"] != NO_DECISION {
        return Err(ApiError::Problem(plain(&decision["title"])));
    }
    let text = match args.json {
        true => {
            let all = json!({ "key": key, "limit": limit, "owner": owner, "decision": decision });
            format!("{all}\n")
        }
        false => told(key, &limit, &owner, &decision),
    };
    Ok(Outcome::success(text))
}

fn told(key: &str, limit: &Value, owner: &Value, decision: &Value) -> String {
    let mut facts = Facts::default();
    facts.add("key", key);
    let burst = match limit["burst"].as_u64() {
        Some(burst) => format!(", {burst} at once"),
        None => String::new(),
    };
    let of = |name: &str| plain(&limit[name]);
    facts.add(
        "limit",
        format!(
            "{}: {} per {}{burst}, {}",
            of("name"),
            of("limit"),
            super::limits::per(limit),
            of("algorithm")
        ),
    );
    facts.add("decided by", decider(limit, owner));
    if let Some(replicas) = owner["replicas"].as_array() {
        let names: Vec<String> = replicas.iter().map(plain).collect();
        let names = match names.as_slice() {
            [] => "nowhere else".to_owned(),
            names => names.join(", "),
        };
        facts.add("copies", names);
        facts.add(
            "shard",
            format!("{}, term {}", plain(&owner["shard"]), plain(&owner["term"])),
        );
    }
    if let Some(left) = decision["remaining"].as_u64() {
        let most = most(limit, decision);
        let counted = most.saturating_sub(left);
        facts.add("counted", format!("{counted} of {most}"));
        facts.add("left", format!("{left} of {most}"));
    }
    facts.add("a hit now", verdict(limit, decision));
    facts.0
}

/// Who would decide a hit that comes now.
fn decider(limit: &Value, owner: &Value) -> String {
    match limit["strategy"].as_str() {
        Some("owner") => match owner["owner"].as_str() {
            Some(owner) => owner.to_owned(),
            None => format!(
                "nobody yet: answered by on_failure = {}",
                limit["on_failure"]
            ),
        },
        Some("local") => "each node by itself, which tells the others".to_owned(),
        Some("redis") => "Redis".to_owned(),
        Some("raft") => "the leader of the Raft group".to_owned(),
        _ => plain(&limit["strategy"]),
    }
}

/// How many pass at once when nothing is counted.
fn most(limit: &Value, decision: &Value) -> u64 {
    let burst = limit["burst"].as_u64();
    let most = burst.or_else(|| decision["limit"].as_u64());
    most.unwrap_or_default()
}

fn verdict(limit: &Value, decision: &Value) -> String {
    if decision.get("allowed").is_none() {
        return format!(
            "no decision can be had: refused, by on_failure = {}",
            limit["on_failure"]
        );
    }
    let after = |field: &str| decision[field].as_u64().map(seconds);
    if decision["allowed"] == true {
        return match after("reset_after_ms") {
            Some(span) if span != "0.0 s" => {
                format!("would be allowed; all is back after {span} without one")
            }
            _ => "would be allowed; nothing is counted".to_owned(),
        };
    }
    let spent = format!(
        "would be denied: {} of {} are spent",
        most(limit, decision),
        plain(&limit["name"])
    );
    match after("retry_after_ms") {
        Some(span) => format!("{spent}, the next is back after {span}"),
        None => spent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(strategy: &str) -> Value {
        json!({"name":"api","algorithm":"gcra","limit":100,"per":"1m","burst":20,"strategy":strategy,"on_failure":"deny"})
    }

    #[test]
    fn a_key_is_told_in_lines() {
        let owner = json!({"shard":17,"term":3,"owner":"oskar","replicas":["oskar2","oskar3"]});
        let decision = json!({"allowed":false,"limit":20,"remaining":0,"retry_after_ms":600,"reset_after_ms":12_000});
        let expected = "\
key                      u1
limit                    api: 100 per 1m, 20 at once, gcra
decided by               oskar
copies                   oskar2, oskar3
shard                    17, term 3
counted                  20 of 20
left                     0 of 20
a hit now                would be denied: 20 of api are spent, the next is back after 0.6 s
";
        assert_eq!(told("u1", &limit("owner"), &owner, &decision), expected);
    }

    #[test]
    fn a_key_without_owner_and_one_that_needs_none_are_told() {
        let fresh = json!({"allowed":true,"limit":20,"remaining":20,"retry_after_ms":null,"reset_after_ms":0});
        let text = told("u1", &limit("owner"), &Value::Null, &fresh);
        let nobody = "decided by               nobody yet: answered by on_failure = \"deny\"\n";
        assert!(text.contains(nobody), "{text}");
        assert!(
            text.ends_with("would be allowed; nothing is counted\n"),
            "{text}"
        );
        // As a node answers that has lost its quorum.
        let nobody =
            json!({"type":"/problems/no-decision","title":"No decision could be had","status":503});
        let owner = json!({"shard":17,"term":3,"owner":"oskar","replicas":["oskar2"]});
        let text = told("u1", &limit("owner"), &owner, &nobody);
        let lines = "\
decided by               oskar
copies                   oskar2
shard                    17, term 3
a hit now                no decision can be had: refused, by on_failure = \"deny\"
";
        assert!(text.ends_with(lines), "{text}");
        let used = json!({"allowed":true,"limit":20,"remaining":19,"retry_after_ms":null,"reset_after_ms":601});
        let text = told("u1", &limit("redis"), &Value::Null, &used);
        assert!(text.contains("decided by               Redis\n"), "{text}");
        assert!(!text.contains("copies"), "{text}");
        assert!(
            text.ends_with("all is back after 0.7 s without one\n"),
            "{text}"
        );
    }
}
