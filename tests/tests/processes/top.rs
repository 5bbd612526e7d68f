//! Which keys a limit denies most, by whichever nodes they came.

use std::collections::BTreeMap;

use e2e::{Cluster, Node, eventually};
use serde_json::{Value, json};

const CONFIG: &str = r#"
[cluster]
ack = "replicated"

[service]
public_url = "http://127.0.0.1:4000"
"#;

/// What a node should tell, of denials by key.
fn rows(denied: &BTreeMap<&str, u64>) -> Vec<(String, u64)> {
    let mut rows: Vec<_> = denied
        .iter()
        .map(|(key, denied)| ((*key).to_owned(), *denied))
        .collect();
    rows.sort_by_key(|(_, denied)| std::cmp::Reverse(*denied));
    rows
}

fn told(node: &Node, key: &str) -> (Vec<(String, u64)>, Value) {
    let answer = node.ask_by(key, "GET", "/v1/top?limit=login", None);
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.json();
    let keys = told["keys"].as_array().expect("keys").iter();
    let keys = keys.map(|of| {
        assert_eq!(of["error"], 0, "three keys are counted exactly: {told}");
        let key = of["key"].as_str().expect("a key").to_owned();
        (key, of["denied"].as_u64().expect("denied"))
    });
    (
        keys.collect(),
        json!([told["from"], told["of"], told["missing"]]),
    )
}

#[test]
fn what_each_node_denied_is_told_by_any_of_them() {
    let mut cluster = Cluster::service(CONFIG, &["oskar", "oskar2", "oskar3"], &[]);
    cluster.until_well();
    let (_, key) = cluster.tenant(
        "Acme",
        &["check", "limits.read", "limits.write", "usage.read"],
    );
    let limit = json!({ "algorithm": "fixed_window", "anchor": "first_hit", "limit": 2, "per": "1h", "top_keys": true });
    let made = cluster.nodes[0].ask_by(&key, "PUT", "/v1/limits/login", Some(limit.clone()));
    assert_eq!(
        (made.status, &made.json()["top_keys"]),
        (201, &json!(true)),
        "{made:?}"
    );
    let read = cluster.nodes[2].ask_by(&key, "GET", "/v1/limits/login", None);
    assert_eq!(read.json()["top_keys"], true, "{read:?}");

    let mut denied: [BTreeMap<&str, u64>; 3] = Default::default();
    for (of, times) in [("eve", 5), ("<ada>", 14), ("bob", 8)] {
        for number in (0..3).cycle().take(times) {
            let hit = json!({ "limit": "login", "key": of });
            let status = cluster.nodes[number]
                .ask_by(&key, "POST", "/v1/check", Some(hit))
                .status;
            assert!([200, 429].contains(&status), "{status}");
            *denied[number].entry(of).or_default() += u64::from(status == 429);
        }
    }
    let all = |of: &[BTreeMap<&'static str, u64>]| {
        let mut sums = BTreeMap::new();
        for (key, denied) in of.iter().flatten() {
            *sums.entry(*key).or_default() += denied;
        }
        rows(&sums)
    };
    let expected = [("<ada>", 12), ("bob", 6), ("eve", 3)];
    let expected = expected.map(|(key, denied)| (key.to_owned(), denied));
    assert_eq!(all(&denied), expected, "of each key two were allowed");
    for node in &cluster.nodes {
        eventually("all three tell", || {
            let told = told(node, &key);
            match told == (expected.to_vec(), json!([3, 3, []])) {
                true => Ok(()),
                false => Err(format!("{told:?}")),
            }
        });
    }

    // What a dead node alone had denied is missing, and it is said whose.
    let mut dead = cluster.take("oskar3");
    dead.kill();
    let living = all(&denied[..2]);
    eventually("who is missing is told", || {
        let told = told(&cluster.nodes[0], &key);
        match told == (living.clone(), json!([2, 3, ["oskar3"]])) {
            true => Ok(()),
            false => Err(format!("{told:?}, not {living:?}")),
        }
    });

    let mut silent = limit;
    silent["top_keys"] = false.into();
    let set = cluster.nodes[0].ask_by(&key, "PUT", "/v1/limits/login", Some(silent));
    assert_eq!(set.status, 200, "{set:?}");
    let refused = cluster.nodes[1].ask_by(&key, "GET", "/v1/top?limit=login", None);
    assert_eq!(
        (refused.status, &refused.json()["field"]),
        (400, &json!("limit"))
    );
}
