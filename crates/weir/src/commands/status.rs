//! `weir status`: who belongs, who owns how much, how far replicas lag.

use serde_json::Value;

use super::table::table;
use super::{Outcome, plain};
use crate::api::{Api, ApiError};
use crate::cli::StatusArgs;

/// Shows what one node knows of its cluster.
///
/// # Errors
///
/// When the node cannot be asked or refuses.
pub(crate) fn status(args: &StatusArgs) -> Result<Outcome, ApiError> {
    let api = Api::new(&args.api)?;
    let answer = api.get("/v1/cluster")?;
    let cluster = api.expect(&answer, &[200])?;
    let text = if args.json {
        format!("{}\n", answer.body.trim_end())
    } else {
        told(&cluster)
    };
    Ok(Outcome::success(text))
}

fn told(cluster: &Value) -> String {
    let columns = ["name", "status", "incarnation", "shards", "http", "cluster"];
    let mut rows = vec![columns.map(str::to_uppercase).to_vec()];
    for member in cluster["members"].as_array().into_iter().flatten() {
        let mut row = columns.map(|column| plain(&member[column])).to_vec();
        if member["name"] == cluster["node"] {
            row.push("(asked)".to_owned());
        }
        rows.push(row);
    }
    let mut text = table(&rows);
    let mut fact = |name: &str, value: String| text.push_str(&format!("{name:<25}{value}\n"));
    fact("view", plain(&cluster["view"]));
    fact(
        "under-replicated shards",
        plain(&cluster["under_replicated_shards"]),
    );
    if let Some(millis) = cluster["replication_lag_ms"].as_f64() {
        fact("replication lag", format!("{millis} ms"));
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

    use super::told;

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
