//! `weir status`: who belongs, who owns how much, how far replicas lag, and whether anything is wrong.

use std::process::ExitCode;

use serde_json::Value;

use super::table::table;
use super::{Outcome, plain};
use crate::api::{Api, ApiError};
use crate::cli::StatusArgs;

/// Shows what one node knows of its cluster. Exit 1 if anything is wrong: a member that is not alive, a shard without all
/// its copies, no majority where one is needed, nobody at the addresses to join by, a node that is not ready.
///
/// # Errors
///
/// When the node cannot be asked or refuses.
pub(crate) fn status(args: &StatusArgs) -> Result<Outcome, ApiError> {
    let api = Api::new(&args.api)?;
    let answer = api.get("/v1/cluster")?;
    let cluster = api.expect(&answer, &[200])?;
    let readiness = api.get("/ready")?;
    let readiness = api.expect(&readiness, &[200, 503])?;
    let is_ready = readiness["status"] == "ready";
    let text = if args.json {
        format!("{}\n", answer.body.trim_end())
    } else {
        let mut text = told(&cluster);
        if !is_ready {
            text.push_str(&format!(
                "{:<25}{}\n",
                "not ready",
                plain(&readiness["status"])
            ));
        }
        text
    };
    let exit = match is_ready && is_well(&cluster) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    };
    Ok(Outcome { text, exit })
}

fn is_well(cluster: &Value) -> bool {
    let members = cluster["members"].as_array();
    let mut members = members.into_iter().flatten();
    let is_healthy = |member: &Value| member["status"] == "alive" || member["status"] == "leaving";
    let lacks = ["no_quorum", "silent_seeds"];
    // Two nodes that are well have fewer copies than they are configured to have, and nothing that anybody should mend. A
    // node of the version before knows one number for both.
    let moving = cluster.get("unsettled_shards");
    let moving = moving.unwrap_or(&cluster["under_replicated_shards"]);
    members.all(is_healthy) && *moving == 0 && lacks.iter().all(|lack| cluster[lack].is_null())
}

fn told(cluster: &Value) -> String {
    let columns = ["name", "status", "incarnation", "shards", "http", "cluster"];
    // Half a second is five heartbeats.
    let silent = |member: &Value| {
        let millis = member["silent_ms"]
            .as_f64()
            .filter(|&millis| 500.0 <= millis);
        millis.map(|millis| format!("silent for {}", seconds(millis)))
    };
    let mut rows = vec![columns.map(str::to_uppercase).to_vec()];
    for member in cluster["members"].as_array().into_iter().flatten() {
        let mut row = columns.map(|column| plain(&member[column])).to_vec();
        if member["name"] == cluster["node"] {
            row.push("(asked)".to_owned());
        }
        row.extend(silent(member));
        rows.push(row);
    }
    let mut text = table(&rows);
    let mut fact = |name: &str, value: String| text.push_str(&format!("{name:<25}{value}\n"));
    fact("view", plain(&cluster["view"]));
    fact(
        "under-replicated shards",
        plain(&cluster["under_replicated_shards"]),
    );
    if let Some(unsettled) = cluster.get("unsettled_shards") {
        fact("unsettled shards", plain(unsettled));
    }
    if let Some(millis) = cluster["replication_lag_ms"].as_f64() {
        fact("replication lag", format!("{millis} ms"));
    }
    if let Some(lack) = cluster["no_quorum"].as_object() {
        let missing = lack["missing"].as_array().into_iter().flatten();
        let missing: Vec<String> = missing.map(|member| plain(&member["name"])).collect();
        let (lasts, needed) = (millis(&lack["lasts_ms"]), plain(&lack["needed"]));
        fact(
            "quorum",
            format!(
                "lost for {lasts}: {needed} are needed, no answer of {}",
                missing.join(", ")
            ),
        );
    }
    if let Some(seeds) = cluster["silent_seeds"].as_object() {
        let lasts = millis(&seeds["lasts_ms"]);
        let addresses = names(&seeds["addresses"]);
        fact(
            "alone",
            format!("for {lasts}: nobody answers at {addresses}"),
        );
    }
    if let Some(raft) = cluster["raft"].as_object() {
        fact("raft leader", plain(&raft["leader"]));
        fact("raft term", plain(&raft["term"]));
        fact("raft voters", names(&raft["voters"]));
        fact("raft learners", names(&raft["learners"]));
    }
    if let Some(redis) = cluster["redis"].as_object() {
        fact("redis breaker", plain(&redis["breaker"]));
        if let Some(failure) = redis["last_failure"].as_str() {
            fact("redis last failure", failure.to_owned());
        }
    }
    text
}

fn millis(value: &Value) -> String {
    value.as_f64().map_or_else(|| plain(value), seconds)
}

/// Milliseconds as a person reads them.
fn seconds(millis: f64) -> String {
    format!("{:.1} s", millis / 1_000.0)
}

/// A list of names in one line; a dash for nobody.
fn names(list: &Value) -> String {
    let names: Vec<String> = list.as_array().into_iter().flatten().map(plain).collect();
    match names.as_slice() {
        [] => "-".to_owned(),
        names => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{is_well, told};

    #[test]
    fn members_are_rows_and_the_one_asked_is_marked() {
        let member = |name: &str, status: &str, shards: u32| json!({"name":name,"status":status,"incarnation":1,"shards":shards,"http":"127.0.0.1:4000","cluster":"127.0.0.1:5000"});
        let cluster = json!({
            "node":"oskar","view":"9f3c","under_replicated_shards":0,"replication_lag_ms":1.5,
            "members":[member("oskar", "alive", 1024), member("oskar2", "dead", 0)],
        });
        let expected = "\
NAME    STATUS  INCARNATION  SHARDS  HTTP            CLUSTER
oskar   alive   1            1024    127.0.0.1:4000  127.0.0.1:5000  (asked)
oskar2  dead    1            0       127.0.0.1:4000  127.0.0.1:5000
view                     9f3c
under-replicated shards  0
replication lag          1.5 ms
";
        assert_eq!(told(&cluster), expected);
    }

    #[test]
    fn what_is_wrong_is_told_and_decides_the_exit_code() {
        let member = |status: &str, silent: u32| json!({"name":"a","status":status,"incarnation":1,"shards":1,"http":"","cluster":"","silent_ms":silent});
        let cluster = |members: serde_json::Value, short: u32| json!({"node":"b","view":"9f3c","under_replicated_shards":short,"members":members});
        let well = cluster(json!([member("alive", 100), member("leaving", 0)]), 0);
        assert!(is_well(&well) && !told(&well).contains("silent"));
        assert!(!is_well(&cluster(json!([]), 3)));
        // Two nodes where three were asked for: nothing moves, and nobody is ill.
        let mut few = cluster(json!([member("alive", 100)]), 1_024);
        few["unsettled_shards"] = json!(0);
        assert!(is_well(&few));
        few["unsettled_shards"] = json!(3);
        assert!(!is_well(&few) && told(&few).contains("unsettled shards         3"));
        for status in ["suspect", "dead"] {
            let ill = cluster(json!([member(status, 2_500)]), 0);
            assert!(!is_well(&ill));
            assert!(told(&ill).contains("silent for 2.5 s"), "{}", told(&ill));
        }
        let mut minority = well.clone();
        minority["no_quorum"] =
            json!({"lasts_ms":1_500.0,"needed":2,"missing":[{"name":"c","silent_ms":2_500.0}]});
        assert!(!is_well(&minority));
        let line = "quorum                   lost for 1.5 s: 2 are needed, no answer of c";
        assert!(told(&minority).contains(line), "{}", told(&minority));
        let mut alone = well;
        alone["silent_seeds"] = json!({"addresses":["10.0.0.1:1"],"lasts_ms":7_000.0});
        assert!(!is_well(&alone));
        let line = "alone                    for 7.0 s: nobody answers at 10.0.0.1:1";
        assert!(told(&alone).contains(line), "{}", told(&alone));
    }

    #[test]
    fn the_group_of_raft_and_redis_are_told_where_they_count() {
        let cluster = json!({
            "node":"oskar","view":"9f3c","under_replicated_shards":0,"members":[],
            "raft":{"leader":"oskar","term":2,"voters":["oskar","oskar2","oskar3"],"learners":[]},
            "redis":{"breaker":"open","last_failure":"connection refused"},
        });
        let text = told(&cluster);
        let facts: Vec<&str> = text.lines().skip(3).collect();
        let expected = [
            "raft leader              oskar",
            "raft term                2",
            "raft voters              oskar, oskar2, oskar3",
            "raft learners            -",
            "redis breaker            open",
            "redis last failure       connection refused",
        ];
        assert_eq!(facts, expected);
    }
}
