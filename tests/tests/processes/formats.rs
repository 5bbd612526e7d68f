//! A node goes on from what an earlier version has kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use e2e::{Cluster, Options, weir};
use serde_json::json;

/// A data directory below `tests/data`, and what it was told when it was made.
struct Earlier {
    directory: &'static str,
    /// Seconds since the Unix epoch.
    made_at: u64,
    /// With the scopes `check`, `limits.write` and `usage.read`.
    api_key: &'static str,
    revoked: &'static str,
}

const EARLIER: [Earlier; 1] = [Earlier {
    directory: "format-1",
    made_at: 1_795_770_062,
    api_key: "weir_key_MDVSqfw49s22PCEohPmGdGxyWGigdD7pZwp1LuLoxyqI1yugP9",
    revoked: "weir_key_7UjCgsmxkyIz8as6gjwBCr68jBBFj3NZMBlCEcl6G76i4KAoPr",
}];

/// Every way to count that is kept.
const LIMITS: [&str; 4] = ["gcra", "fixed_window", "sliding_log", "sliding_counter"];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data")
}

/// Starts a node on a copy of the directory, one minute after that was made.
fn start(cluster: &mut Cluster, earlier: &Earlier) {
    let kept = cluster.home().join(earlier.directory);
    fs::create_dir(&kept).expect("a folder of the test's own");
    for file in fs::read_dir(data().join(earlier.directory)).expect("an earlier directory") {
        let file = file.expect("a file of it");
        fs::copy(file.path(), kept.join(file.file_name())).expect("copying");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a clock past 1970").as_secs();
    let node = cluster.starting(Options {
        args: vec!["--data-dir".to_owned(), kept.display().to_string()],
        clock: Some(format!(
            "{:+}",
            i128::from(earlier.made_at + 60) - i128::from(now)
        )),
        ..Options::new("oskar", "wojtyra")
    });
    let ready = node.ready();
    cluster
        .nodes
        .push(ready.unwrap_or_else(|(status, log)| panic!("{status}:\n{log}")));
}

/// What `weir check` says of three units more, of which seven are left.
fn check_as_operator(cluster: &Cluster, limit: &str) -> String {
    let url = format!("http://{}", cluster.nodes[0].http);
    let mut command = weir(cluster.home());
    command.args(["check", "--limit", limit, "--cost", "3", "ada"]);
    command.args(["--url", &url, "--cookie", "wojtyra"]);
    let output = command.output().expect("running weir");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_node_goes_on_from_what_each_earlier_version_has_kept() {
    let config = fs::read_to_string(data().join("weir.toml")).expect("the file of the node");
    for earlier in &EARLIER {
        let mut cluster = Cluster::with_config(&config);
        start(&mut cluster, earlier);
        let node = &cluster.nodes[0];
        for limit in LIMITS {
            let told = check_as_operator(&cluster, limit);
            assert!(told.starts_with("allowed: 4 of 10 left"), "{limit}: {told}");
        }
        let key = earlier.api_key;
        let used = node.ask_by(key, "GET", "/v1/usage", None).json();
        assert_eq!(used["today"]["requests"], 2, "{used}");
        let check = json!({ "limit": "daily", "key": "ada" });
        let answer = node.ask_by(key, "POST", "/v1/check", Some(check)).json();
        assert_eq!(answer["remaining"], 5, "{answer}");
        let answer = node
            .ask_by(key, "GET", "/api/check?key=user123", None)
            .json();
        assert_eq!(answer["remaining"], 8, "{answer}");
        let removed = json!({ "limit": "gone", "key": "ada" });
        let answer = node.ask_by(key, "POST", "/v1/check", Some(removed));
        assert_eq!(answer.status, 404, "{answer:?}");
        let answer = node.ask_by(earlier.revoked, "GET", "/api/check?key=user123", None);
        assert_eq!(answer.status, 401, "{answer:?}");
    }
}
