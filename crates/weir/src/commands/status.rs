//! `weir status`: who belongs, who owns how much, how far replicas lag, and whether anything is wrong.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::table::table;
use super::{Facts, Outcome, plain};
use crate::api::{Api, ApiError};
use crate::cli::StatusArgs;

/// Shows what one node knows of its cluster. Exit 1 if anything is wrong: a member that is not alive, a shard without all
/// its copies, no majority where one is needed, nobody at the addresses to join by, files that differ, a node that is not
/// ready.
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
        answer.as_said()
    } else {
        let mut facts = told(&cluster);
        if !is_ready {
            facts.add("not ready", plain(&readiness["status"]));
        }
        facts.0
    };
    let exit = match is_ready && is_well(&cluster) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    };
    Ok(Outcome { text, exit })
}

/// Between two looks of `--watch`.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Clears the screen, and what had been scrolled off it stays.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Shows [`status`] anew every second, until somebody ends the process or nobody reads any more. That the node cannot be
/// asked is shown as well, and it is asked again.
pub(crate) fn watch(args: &StatusArgs) -> Outcome {
    let mut stdout = io::stdout();
    loop {
        let text = match status(args) {
            Ok(outcome) => outcome.text,
            Err(error) => format!("{error}\n"),
        };
        let shown = write!(stdout, "{CLEAR}{text}").and_then(|()| stdout.flush());
        if shown.is_err() {
            return Outcome::success(String::new());
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn is_well(cluster: &Value) -> bool {
    let members = cluster["members"].as_array();
    let mut members = members.into_iter().flatten();
    let is_healthy = |member: &Value| member["status"] == "alive" || member["status"] == "leaving";
    let lacks = ["no_quorum", "silent_seeds", "config_differs"];
    // Two nodes that are well have fewer copies than they are configured to have, and nothing that anybody should mend. A
    // node of the version before knows one number for both.
    let moving = cluster.get("unsettled_shards");
    let moving = moving.unwrap_or(&cluster["under_replicated_shards"]);
    members.all(is_healthy) && *moving == 0 && lacks.iter().all(|lack| cluster[lack].is_null())
}

fn told(cluster: &Value) -> Facts {
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
        if member["role"] == "asks" {
            row.push("(owns nothing, by its role)".to_owned());
        }
        row.extend(silent(member));
        rows.push(row);
    }
    let mut facts = Facts(table(&rows));
    let mut fact = |name: &str, value: String| facts.add(name, value);
    fact("view", plain(&cluster["view"]));
    fact("under-replicated shards", under_replicated(cluster));
    if let Some(unsettled) = cluster.get("unsettled_shards") {
        fact("unsettled shards", plain(unsettled));
    }
    if let Some(millis) = cluster["replication_lag_ms"].as_f64() {
        fact("replication lag", format!("{millis} ms"));
    }
    if cluster["partition"] == "quorum" && cluster["no_quorum"].is_null() {
        fact("quorum", "held".to_owned());
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
    if let Some(differs) = cluster["config_differs"].as_object() {
        let listed = |list: &str| {
            let list = differs.get(list).and_then(Value::as_array);
            list.into_iter().flatten()
        };
        let entries = listed("limits").chain(listed("entries"));
        let mut shown = 0;
        for differing in entries.take(DIFFERING_SHOWN) {
            shown += 1;
            fact("files differ", told_differently(differing));
        }
        let count = differs["count"].as_u64().unwrap_or_default();
        if shown < count {
            fact("files differ", format!("in {} more places", count - shown));
        }
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
    facts
}

/// `0`, or `1024: oskar 513, oskar2 511`. Shards without an owner are nobody's.
fn under_replicated(cluster: &Value) -> String {
    let all = plain(&cluster["under_replicated_shards"]);
    let members = cluster["members"].as_array().into_iter().flatten();
    let short = members.filter_map(|member| {
        let shards = member["under_replicated_shards"].as_u64();
        let shards = shards.filter(|&shards| shards != 0)?;
        Some(format!("{} {shards}", plain(&member["name"])))
    });
    let short: Vec<String> = short.collect();
    match short.is_empty() {
        true => all,
        false => format!("{all}: {}", short.join(", ")),
    }
}

/// Limits, routes, rules, plans and keys of `[cluster]` and `[service]` in which files differ that are shown.
const DIFFERING_SHOWN: usize = 10;

/// `login: gcra, limit 5, per 1m (oskar); not defined (oskar2)`, or `[cluster] replicas: 1 (oskar); not defined (oskar2)`.
fn told_differently(differing: &Value) -> String {
    let definitions = differing["definitions"].as_array().into_iter().flatten();
    let definitions = definitions.map(|definition| {
        let says = definition["says"].as_str().unwrap_or("not defined");
        format!("{says} ({})", names(&definition["nodes"]))
    });
    let definitions: Vec<String> = definitions.collect();
    let name = match differing["limit"].as_str() {
        Some(limit) => limit.to_owned(),
        None => format!(
            "{} {}",
            plain(&differing["section"]),
            plain(&differing["name"])
        ),
    };
    format!("{name}: {}", definitions.join("; "))
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
        let mut asks = member("app", "alive", 0);
        asks["role"] = json!("asks");
        let cluster = json!({
            "node":"oskar","view":"9f3c","under_replicated_shards":0,"replication_lag_ms":1.5,
            "members":[member("oskar", "alive", 1024), asks, member("oskar2", "dead", 0)],
        });
        let expected = "\
NAME    STATUS  INCARNATION  SHARDS  HTTP            CLUSTER
oskar   alive   1            1024    127.0.0.1:4000  127.0.0.1:5000  (asked)
app     alive   1            0       127.0.0.1:4000  127.0.0.1:5000  (owns nothing, by its role)
oskar2  dead    1            0       127.0.0.1:4000  127.0.0.1:5000
view                     9f3c
under-replicated shards  0
replication lag          1.5 ms
";
        assert_eq!(told(&cluster).0, expected);
    }

    #[test]
    fn what_is_wrong_is_told_and_decides_the_exit_code() {
        let member = |status: &str, silent: u32| json!({"name":"a","status":status,"incarnation":1,"shards":1,"http":"","cluster":"","silent_ms":silent});
        let cluster = |members: serde_json::Value, short: u32| json!({"node":"b","view":"9f3c","under_replicated_shards":short,"members":members});
        let well = cluster(json!([member("alive", 100), member("leaving", 0)]), 0);
        assert!(is_well(&well) && !told(&well).0.contains("silent"));
        assert!(!is_well(&cluster(json!([]), 3)));
        // Two nodes where three were asked for: nothing moves, and nobody is ill.
        let mut few = cluster(json!([member("alive", 100)]), 1_024);
        few["unsettled_shards"] = json!(0);
        assert!(is_well(&few));
        few["unsettled_shards"] = json!(3);
        assert!(!is_well(&few) && told(&few).0.contains("unsettled shards         3"));
        for status in ["suspect", "dead"] {
            let ill = cluster(json!([member(status, 2_500)]), 0);
            assert!(!is_well(&ill));
            assert!(
                told(&ill).0.contains("silent for 2.5 s"),
                "{}",
                told(&ill).0
            );
        }
        let mut majority = well.clone();
        majority["partition"] = json!("quorum");
        majority["under_replicated_shards"] = json!(3);
        majority["members"][0]["under_replicated_shards"] = json!(2);
        majority["members"][1]["under_replicated_shards"] = json!(1);
        let text = told(&majority).0;
        assert!(text.contains("quorum                   held\n"), "{text}");
        let line = "under-replicated shards  3: a 2, a 1\n";
        assert!(text.contains(line), "{text}");
        let mut minority = majority.clone();
        minority["no_quorum"] =
            json!({"lasts_ms":1_500.0,"needed":2,"missing":[{"name":"c","silent_ms":2_500.0}]});
        assert!(!is_well(&minority));
        let line = "quorum                   lost for 1.5 s: 2 are needed, no answer of c";
        assert!(told(&minority).0.contains(line), "{}", told(&minority).0);
        assert!(!told(&minority).0.contains("held"));
        let mut differs = well.clone();
        let says = |node: &str, says: Option<&str>| json!({"nodes":[node],"says":says});
        let limit = json!({"limit":"login","definitions":[says("a", Some("gcra, limit 5, per 1m")), says("b", None)]});
        let entry = json!({"section":"[cluster]","name":"replicas","definitions":[says("a", Some("1")), says("b", None)]});
        differs["config_differs"] =
            json!({"count":12,"lasts_ms":1.0,"limits":[limit],"entries":[entry]});
        assert!(!is_well(&differs));
        let lines = "files differ             login: gcra, limit 5, per 1m (a); not defined (b)\n\
                     files differ             [cluster] replicas: 1 (a); not defined (b)\n\
                     files differ             in 10 more places\n";
        assert!(told(&differs).0.contains(lines), "{}", told(&differs).0);
        let mut alone = well;
        alone["silent_seeds"] = json!({"addresses":["10.0.0.1:1"],"lasts_ms":7_000.0});
        assert!(!is_well(&alone));
        let line = "alone                    for 7.0 s: nobody answers at 10.0.0.1:1";
        assert!(told(&alone).0.contains(line), "{}", told(&alone).0);
    }

    #[test]
    fn the_group_of_raft_and_redis_are_told_where_they_count() {
        let cluster = json!({
            "node":"oskar","view":"9f3c","under_replicated_shards":0,"members":[],
            "raft":{"leader":"oskar","term":2,"voters":["oskar","oskar2","oskar3"],"learners":[]},
            "redis":{"breaker":"open","last_failure":"connection refused"},
        });
        let text = told(&cluster).0;
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
