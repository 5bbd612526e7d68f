//! Files that are read again while nodes run, files that differ, and strategies that start with a limit. The last need
//! `redis-server`.

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use e2e::{Cluster, Node, Redis, Response, eventually, weir};
use rustix::process::Signal;
use serde_json::Value;

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];

/// So many an hour of `login`, on the path `/login` as well.
fn file(limit: u32) -> String {
    format!(
        "[[limit]]\nname = \"login\"\nalgorithm = \"sliding_log\"\nlimit = {limit}\nper = \"1h\"\n\
         [[route]]\npath = \"/login\"\nlimit = \"login\"\nidentify = [{{ header = \"X-User-Id\" }}]\n"
    )
}

/// A file of one node.
fn write(cluster: &Cluster, name: &str, text: &str) -> PathBuf {
    let path = cluster.home().join(format!("{name}.toml"));
    fs::write(&path, text).expect("writing a file");
    path
}

/// Starts nodes, each with a file of its own.
fn started(files: &[(&str, &str)]) -> Cluster {
    let mut cluster = Cluster::new();
    for (name, text) in files {
        let path = write(&cluster, name, text).display().to_string();
        let started = cluster.try_start(name, Cluster::COOKIE, &["--config", &path]);
        started.unwrap_or_else(|(status, log)| panic!("{name}: {status}:\n{log}"));
    }
    cluster.settle();
    cluster
}

/// `weir ARGS`, asked of a node.
fn ask(cluster: &Cluster, node: &Node, args: &[&str]) -> Output {
    let url = format!("http://{}", node.http);
    let mut command = weir(cluster.home());
    let output = command.args(args).args(["--url", &url]).output();
    output.expect("the command runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `weir reload`, which is to succeed; what it prints.
#[track_caller]
fn reload(cluster: &Cluster, name: &str) -> String {
    let output = ask(cluster, cluster.node(name), &["reload"]);
    assert!(output.status.success(), "{output:?}");
    stdout(&output)
}

#[track_caller]
fn logged(node: &Node, text: &str) {
    eventually(&format!("{} logs {text}", node.name), || {
        let log = node.log();
        log.contains(text).then_some(()).ok_or(log)
    });
}

/// Asks in many ways until it is dropped.
struct Traffic<'s> {
    stop: &'s AtomicBool,
}

impl Drop for Traffic<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// SIGHUP ended a node at once; later it was ignored.
#[test]
fn a_file_is_read_again_under_load_and_no_request_fails() {
    let cluster = started(&[("oskar", &file(5)), ("oskar2", &file(5))]);
    for _ in 0..3 {
        assert_eq!(cluster.nodes[0].check("login", "ada", 1).status, 200);
    }
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for (number, node) in cluster.nodes.iter().enumerate() {
            let (stop, asked) = (&stop, &asked);
            scope.spawn(move || {
                let mut client = node.client();
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let key = format!("{number}-{round}");
                    let answers = [
                        client.check("login", &key, 1),
                        client.request("GET", "/login", &[("X-User-Id", &key)], None),
                    ];
                    for answer in answers {
                        let answer = answer.expect("an answer");
                        assert_eq!(answer.status, 200, "{answer:?}");
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let _traffic = Traffic { stop: &stop };
        for round in 0..10 {
            let limit = if round % 2 == 0 { 10 } else { 5 };
            for name in ["oskar", "oskar2"] {
                write(&cluster, name, &file(limit));
            }
            let before = asked.load(Ordering::Relaxed);
            cluster.node("oskar").signal(Signal::HUP);
            eventually("the limit is the file's", || {
                let limits = cluster.node("oskar").get("/v1/limits/login", &[]);
                let told = limits.json()["limit"].as_u64();
                (told == Some(limit.into()))
                    .then_some(())
                    .ok_or(limits.body)
            });
            let told = reload(&cluster, "oskar2");
            let expected = format!("limit login: limit {} → {limit}\n", 15 - limit);
            assert_eq!(told, expected);
            eventually("hits are answered meanwhile", || {
                let now = asked.load(Ordering::Relaxed);
                (before + 50 < now).then_some(()).ok_or(now.to_string())
            });
        }
    });
    // What was counted stays counted, in units: 3 of 5, then of 10.
    for name in ["oskar", "oskar2"] {
        write(&cluster, name, &file(10));
        reload(&cluster, name);
        assert_eq!(cluster.node(name).counted("login", "ada"), 3);
        assert_eq!(reload(&cluster, name), "nothing has changed\n");
    }
    let added = file(10)
        + "[[route]]\npath = \"/added\"\nlimit = \"login\"\nidentify = [{ peer = true }]\n";
    assert_eq!(cluster.node("oskar").get("/added", &[]).status, 404);
    write(&cluster, "oskar", &added);
    assert_eq!(reload(&cluster, "oskar"), "route /added: added\n");
    assert_eq!(cluster.node("oskar").get("/added", &[]).status, 200);
    logged(cluster.node("oskar"), "route /added: added");
}

#[test]
fn a_file_that_cannot_be_taken_changes_nothing_and_says_why() {
    let cluster = started(&[("oskar", &file(5))]);
    let node = &cluster.nodes[0];
    let limit = || node.get("/v1/limits/login", &[]).json()["limit"].clone();
    let refused = |text: &str, problems: &[&str]| {
        write(&cluster, "oskar", text);
        let output = ask(&cluster, node, &["reload"]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        for problem in problems {
            assert!(stderr(&output).contains(problem), "{output:?}");
            logged(node, problem);
        }
        assert_eq!(limit(), 5);
        assert_eq!(node.check("login", "ada", 0).status, 200);
    };
    // All that is wrong, each with its line.
    let wrong = file(9).replace("sliding_log", "magic") + "unknown = 1\n";
    refused(
        &wrong,
        &["oskar.toml:3:", "oskar.toml:10:", "magic", "unknown"],
    );
    refused("[[limit", &["oskar.toml:1:"]);
    // What only a restart changes, with a change that could be made beside it.
    let restart = "[node]\nzone = \"north\"\n[cluster]\nreplicas = 1\n";
    refused(
        &(restart.to_owned() + &file(9)),
        &["node.zone", "cluster.replicas"],
    );
    fs::remove_file(cluster.home().join("oskar.toml")).expect("removing a file");
    let output = ask(&cluster, node, &["reload"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stderr(&output).contains("oskar.toml"), "{output:?}");
    assert_eq!(limit(), 5);
    // And when it is good again, it is taken.
    write(&cluster, "oskar", &file(6));
    assert_eq!(reload(&cluster, "oskar"), "limit login: limit 5 → 6\n");
}

#[test]
fn a_node_without_a_file_says_so_and_lives_on() {
    let cluster = Cluster::new().started(&["oskar"]);
    let node = &cluster.nodes[0];
    let output = ask(&cluster, node, &["reload"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stderr(&output).contains("without a file"), "{output:?}");
    node.signal(Signal::HUP);
    logged(node, "SIGHUP");
    assert_eq!(node.check("user_home", "ada", 1).status, 200);
}

#[test]
fn a_limit_of_the_file_has_precedence_over_one_made_at_run_time() {
    let cluster = started(&[("oskar", &file(5))]);
    let node = &cluster.nodes[0];
    let limit = r#"{"algorithm":"sliding_log","limit":3,"per":"1h"}"#;
    let put = |name: &str| {
        node.ask("PUT", &format!("/v1/limits/{name}"), &[], Some(limit))
            .status
    };
    assert_eq!((put("made"), put("login")), (201, 409));
    assert_eq!(node.check("made", "ada", 2).status, 200);
    let more = file(5).replace("login", "made") + &file(5);
    write(&cluster, "oskar", &more);
    let told = reload(&cluster, "oskar");
    assert!(
        told.contains("limit made: added") && told.contains("at run time"),
        "{told}"
    );
    assert_eq!(node.counted("made", "ada"), 2);
    assert_eq!(node.check("made", "ada", 0).json()["limit"], 5);
    assert_eq!(put("made"), 409);
    write(&cluster, "oskar", &file(5));
    let told = reload(&cluster, "oskar");
    assert!(told.contains("limit made: removed; the one made"), "{told}");
    assert_eq!(node.check("made", "ada", 0).json()["limit"], 3);
    assert_eq!((node.counted("made", "ada"), put("made")), (2, 200));
}

/// In how much the files of all nodes differ, and what `weir status` exits with.
#[track_caller]
fn all_say(cluster: &Cluster, expected: &str, exit: i32) {
    for node in &cluster.nodes {
        eventually("it is told in how much files differ", || {
            let metrics = node.get("/metrics", &[]).body;
            let line = metrics
                .lines()
                .find_map(|line| line.strip_prefix("weir_config_differs "));
            let count = line.ok_or(metrics.clone())?;
            (count == expected).then_some(()).ok_or(count.to_owned())
        });
        let output = ask(cluster, node, &["status"]);
        assert_eq!(output.status.code(), Some(exit), "{output:?}");
    }
}

/// Routes, rules and `[cluster]` were not compared: a path that one node protects and another serves to everybody.
#[test]
fn routes_and_settings_that_differ_are_found_out_as_limits_are() {
    let with = |settings: &str, by: &str| {
        let route = format!(
            "[[route]]\npath = \"/page\"\nlimit = \"login\"\nidentify = [{{ {by} = true }}]\n"
        );
        format!("[cluster]\n{settings}\n{}{route}", file(5))
    };
    let one = with("max_keys = 1000", "peer");
    let cluster = started(&[("oskar", &one), ("oskar2", &with("", "browser"))]);
    all_say(&cluster, "2", 1);
    for node in &cluster.nodes {
        let status = stdout(&ask(&cluster, node, &["status"]));
        for line in [
            "[[route]] /page: limit login, by peer (oskar); limit login, by browser (oskar2)",
            "[cluster] max_keys: 1000 (oskar); not defined (oskar2)",
        ] {
            assert!(status.contains(line), "{status}");
        }
        logged(node, "files of members differ in routes");
        let json = stdout(&ask(&cluster, node, &["status", "--json"]));
        let json: Value = serde_json::from_str(&json).expect("JSON");
        let entries = &json["config_differs"]["entries"];
        assert_eq!(entries[0]["section"], "[[route]]", "{json}");
        assert_eq!(entries[1]["name"], "max_keys", "{json}");
        assert_eq!(json["config_differs"]["limits"], Value::Array(Vec::new()));
    }
    write(&cluster, "oskar2", &one);
    reload(&cluster, "oskar2");
    all_say(&cluster, "0", 0);
    for node in &cluster.nodes {
        logged(
            node,
            "say the same of routes, rules, plans, [cluster] and [service] again",
        );
        let told = node
            .log()
            .matches("files of members differ in routes")
            .count();
        assert_eq!(told, 1);
    }
}

/// Two nodes with limits of 5 and 10 worked side by side without a word.
#[test]
fn files_that_differ_are_found_out_until_they_agree() {
    let cluster = started(&[("oskar", &file(5)), ("oskar2", &file(10))]);
    all_say(&cluster, "1", 1);
    for node in &cluster.nodes {
        let status = stdout(&ask(&cluster, node, &["status"]));
        let five = "sliding_log, limit 5, per 1h (oskar)";
        let ten = "sliding_log, limit 10, per 1h (oskar2)";
        let line = format!("login: {five}; {ten}");
        assert!(status.contains(&line), "{status}");
        logged(node, "files of members define limits differently");
        let json = stdout(&ask(&cluster, node, &["status", "--json"]));
        let json: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["config_differs"]["limits"][0]["limit"], "login");
    }
    write(&cluster, "oskar2", &file(5));
    reload(&cluster, "oskar2");
    all_say(&cluster, "0", 0);
    for node in &cluster.nodes {
        logged(node, "define the same limits again");
        assert_eq!(node.log().matches("define limits differently").count(), 1);
    }
}

/// Sets a limit of so many a year at run time.
fn set(cluster: &Cluster, node: &Node, strategy: &str, limit: &str) -> Output {
    let args = [
        "limits",
        "set",
        strategy,
        "--algorithm",
        "sliding_log",
        "--per",
        "365d",
    ];
    let rest = ["--limit", limit, "--strategy", strategy];
    ask(cluster, node, &[&args[..], &rest].concat())
}

/// Waits until a hit is decided, and says how.
#[track_caller]
fn decided(node: &Node, limit: &str, key: &str) -> Response {
    eventually("a hit is decided", || {
        let answer = node.check(limit, key, 1);
        (answer.status != 503)
            .then_some(answer.clone())
            .ok_or(answer.body)
    })
}

#[test]
fn the_first_limit_of_redis_made_at_run_time_connects_every_node() {
    let redis = Redis::start(&[]);
    let with_redis = file(5) + &format!("[redis]\nurl = \"{}\"\n", redis.url());
    let mut cluster = started(&[("oskar", &with_redis), ("oskar2", &with_redis)]);
    assert_eq!(redis.cli(&["keys", "*"]), "");
    let told = set(&cluster, &cluster.nodes[0], "redis", "3");
    assert!(told.status.success(), "{told:?}");
    let statuses = [0, 1, 0, 1].map(|node| decided(&cluster.nodes[node], "redis", "ada").status);
    assert_eq!(statuses, [200, 200, 200, 429]);
    assert_ne!(redis.cli(&["keys", "*"]), "", "Redis counts");
    let breaker = |node: &Node| node.get("/v1/cluster", &[]).json()["redis"]["breaker"].clone();
    for node in &cluster.nodes {
        assert_eq!(breaker(node), "closed");
    }
    // A node that comes later starts it for the limits that the others tell it of, asked or not.
    let path = write(&cluster, "oskar3", &with_redis).display().to_string();
    let started = cluster.try_start("oskar3", Cluster::COOKIE, &["--config", &path]);
    started.unwrap_or_else(|(status, log)| panic!("{status}:\n{log}"));
    assert_eq!(breaker(cluster.node("oskar3")), "closed");
    assert_eq!(decided(cluster.node("oskar3"), "redis", "ada").status, 429);
}

#[test]
fn a_limit_of_redis_is_refused_where_no_redis_is_told_of_and_fails_by_its_mode() {
    let redis = Redis::start(&[]);
    let with_redis = file(5) + &format!("[redis]\nurl = \"{}\"\n", redis.url());
    let cluster = started(&[("oskar", &with_redis), ("oskar2", &file(5))]);
    let refused = set(&cluster, &cluster.nodes[1], "redis", "3");
    assert!(
        !refused.status.success() && stderr(&refused).contains("[redis]"),
        "{refused:?}"
    );
    let told = set(&cluster, &cluster.nodes[0], "redis", "3");
    assert!(told.status.success(), "{told:?}");
    assert_eq!(decided(&cluster.nodes[0], "redis", "ada").status, 200);
    // The other node cannot count by it, says so, and answers by the fail mode.
    let answer = cluster.nodes[1].check("redis", "ada", 1);
    assert_eq!(answer.status, 503, "{answer:?}");
    logged(&cluster.nodes[1], "has no section [redis]");
    // Until its file says where Redis is.
    write(&cluster, "oskar2", &with_redis);
    assert_eq!(reload(&cluster, "oskar2"), "[redis]: changed\n");
    assert_eq!(decided(&cluster.nodes[1], "redis", "ada").status, 200);
}

#[test]
fn the_first_limit_of_raft_made_at_run_time_forms_a_group_of_all_nodes() {
    let mut cluster = Cluster::with_config(&file(5)).started(&NAMES);
    let told = set(&cluster, &cluster.nodes[0], "raft", "4");
    assert!(told.status.success(), "{told:?}");
    // No balancer leaves the nodes while the group forms.
    for node in &cluster.nodes {
        assert_eq!(node.get("/ready", &[]).status, 200);
    }
    let voters = |node: &Node| {
        let cluster = node.get("/v1/cluster", &[]).json();
        cluster["raft"]["voters"].as_array().map_or(0, Vec::len)
    };
    let all_vote = |cluster: &Cluster| {
        for node in &cluster.nodes {
            eventually("all nodes vote", || {
                let voters = voters(node);
                (voters == 3).then_some(()).ok_or(voters.to_string())
            });
        }
    };
    all_vote(&cluster);
    let hit = |cluster: &Cluster, node: usize| decided(&cluster.nodes[node], "raft", "ada").status;
    assert_eq!([0, 1, 2].map(|node| hit(&cluster, node)), [200; 3]);
    // One that starts again learns of the limit, and votes before it is ready.
    let mut last = cluster.take("oskar3");
    last.terminate();
    last.ended();
    cluster.start("oskar3");
    all_vote(&cluster);
    assert_eq!([2, 1, 2].map(|node| hit(&cluster, node)), [200, 429, 429]);
}
