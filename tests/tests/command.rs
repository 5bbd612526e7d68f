//! The command line: exit codes, one clear line each.

use std::net::TcpListener;
use std::process::Output;
use std::thread;

use e2e::{Cluster, Node, Options, weir};

#[track_caller]
fn run(cluster: &Cluster, args: &[&str]) -> Output {
    weir(cluster.home())
        .args(args)
        .output()
        .expect("starting weir")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_check_exits_with_its_answer() {
    let cluster = Cluster::new().started(&["oskar", "oskar2"]);
    let urls: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| format!("http://{}", node.http))
        .collect();
    let check = |url: &str, key: &str, limit: &str| {
        let output = run(&cluster, &["check", key, "--limit", limit, "--url", url]);
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (code, stdout, _) = check(&urls[0], "u1", "user_home");
    assert_eq!(
        (code, stdout.starts_with("allowed")),
        (Some(0), true),
        "{stdout}"
    );
    let (code, stdout, _) = check(&urls[1], "u1", "user_home");
    assert_eq!(
        (code, stdout.starts_with("denied")),
        (Some(1), true),
        "{stdout}"
    );
    let (code, stdout, stderr) = check(&urls[1], "u1", "nope");
    assert_eq!(
        (code, stdout.as_str(), stderr.lines().count()),
        (Some(2), "", 1),
        "{stderr}"
    );
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", nobody.local_addr().expect("an address"));
    drop(nobody);
    let (code, stdout, stderr) = check(&address, "u1", "user_home");
    assert_eq!(
        (code, stdout.as_str(), stderr.lines().count()),
        (Some(2), "", 1),
        "{stderr}"
    );
}

#[test]
fn status_shows_every_member() {
    let cluster = Cluster::new().started(&["oskar", "oskar2"]);
    let url = format!("http://{}", cluster.nodes[1].http);
    let status = run(&cluster, &["status", "--url", &url]);
    assert!(status.status.success());
    let status = text(&status.stdout);
    for node in &cluster.nodes {
        let row = status
            .lines()
            .find(|line| line.split_whitespace().next() == Some(&node.name));
        let row = row.unwrap_or_else(|| panic!("{status}"));
        for told in ["alive", &node.http.to_string(), &node.cluster.to_string()] {
            assert!(row.contains(told), "{told} in {row}");
        }
    }
    let json = run(&cluster, &["status", "--json", "--url", &url]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["node"], "oskar2");
    assert_eq!(json["members"].as_array().map(Vec::len), Some(2));
    // Two nodes hold two copies of each shard where three are configured, and nothing moves.
    assert_eq!(json["under_replicated_shards"], 1_024);
    assert_eq!(json["unsettled_shards"], 0);
}

#[test]
fn a_name_that_is_taken_is_refused_while_its_holder_answers() {
    let mut cluster = Cluster::new().started(&["oskar", "oskar2"]);
    let refused = cluster.try_start("oskar2", Cluster::COOKIE, &[]);
    let (status, log) = refused.expect_err("the name is taken");
    assert!(!status.success());
    let told = log.lines().find(|line| line.starts_with("weir: "));
    assert!(told.is_some_and(|line| line.contains("oskar2")), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    cluster.settle();
    assert_eq!(cluster.nodes[1].check("user_home", "u1", 1).status, 200);
}

/// They waited for each other to go, and after five seconds ran both, each for itself.
#[test]
fn of_two_nodes_started_at_once_under_one_name_one_runs() {
    let cluster = Cluster::new();
    let options = Options::new("oskar", Cluster::COOKIE);
    let start = || Node::start(cluster.home(), &options);
    let started = thread::scope(|scope| {
        let twins = [scope.spawn(start), scope.spawn(start)];
        twins.map(|twin| twin.join().expect("neither start panics"))
    });
    let refused: Vec<_> = started
        .iter()
        .filter_map(|twin| twin.as_ref().err())
        .collect();
    let [(status, log)] = refused[..] else {
        panic!("{} of two were refused", refused.len());
    };
    assert!(!status.success());
    assert!(log.contains("a node named oskar is already"), "{log}");
}

#[test]
fn a_port_in_use_is_told_in_one_line() {
    let cluster = Cluster::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for flag in ["--http", "--cluster"] {
        let mut args = vec![
            "node", "--name", "oskar", "--cookie", "wojtyra", flag, &address,
        ];
        if flag == "--cluster" {
            args.extend(["--http", "127.0.0.1:0"]);
        }
        let output = run(&cluster, &args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{flag}: {stderr}");
        assert!(
            stderr.lines().count() == 1 && stderr.contains(&address),
            "{flag}: {stderr}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn every_problem_of_a_configuration_is_told_at_once() {
    let cluster = Cluster::new();
    let path = cluster.home().join("bad.toml");
    let config = "[cluster]\nreplicas = 99\nsurprise = 1\n[[limit]]\nname = \"a\"\nalgorithm = \"gcra\"\nlimit = 0\nper = \"soon\"\n";
    std::fs::write(&path, config).expect("writing a configuration");
    let path = path.display().to_string();
    let output = run(
        &cluster,
        &["node", "--config", &path, "--http", "127.0.0.1:0"],
    );
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    for problem in ["replicas", "surprise", "limit", "soon"] {
        assert!(stderr.contains(problem), "{problem} in {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}
