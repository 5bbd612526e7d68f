//! `partition = "quorum"`: a minority says so at once, a newcomer stops nobody, and one cluster is founded.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use e2e::{Cluster, Network, Node, Options, Starting, View, at_once, eventually, view, weir};
use serde_json::Value;

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];

const CONFIG: &str = r#"
[cluster]
partition = "quorum"
[[limit]]
name = "closed"
algorithm = "sliding_log"
limit = 200
per = "365d"
[[limit]]
name = "open"
algorithm = "sliding_log"
limit = 200
per = "365d"
on_failure = "allow"
"#;

/// What `weir status` says of a node, and its exit code.
fn status(cluster: &Cluster, node: &Node) -> (Option<i32>, String) {
    let url = format!("http://{}", node.http);
    let output = weir(cluster.home())
        .args(["status", "--url", &url])
        .output()
        .expect("starting weir");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text)
}

#[track_caller]
fn wait_until_ready(node: &Node) {
    eventually("the node is ready", || {
        let ready = node.get("/ready", &[]);
        (ready.status == 200)
            .then_some(())
            .ok_or_else(|| format!("{ready:?}"))
    });
}

/// The number that follows `before` in a line of a log.
#[track_caller]
fn number_after(line: &str, before: &str) -> u128 {
    let after = line
        .split_once(before)
        .unwrap_or_else(|| panic!("{before:?} in {line}"));
    let digits = after.1.split(|letter: char| !letter.is_ascii_digit());
    let number = digits.map(str::parse).next();
    number
        .and_then(Result::ok)
        .unwrap_or_else(|| panic!("a number after {before:?} in {line}"))
}

/// Both others, each silent for about a lease, a second: what was under way at the cut may have come a little later.
#[track_caller]
fn assert_names_who_is_missing(line: &str, since_cut: Duration) {
    assert!(line.contains("WARN"), "{line}");
    assert_eq!(number_after(line, "needed="), 2, "{line}");
    for name in ["oskar", "oskar2"] {
        let silent = number_after(line, &format!("{name} (silent for "));
        assert!(
            (700..=since_cut.as_millis() + 500).contains(&silent),
            "{line}"
        );
    }
    let lost = number_after(line, "lost_ms=");
    assert!(lost <= since_cut.as_millis(), "{line}");
}

/// Needs root, `ip` and `iptables`.
#[test]
fn a_minority_says_so_at_once_and_counts_nothing() {
    let network = Network::new(NAMES.len());
    let cluster = Cluster::with_config(CONFIG).started_on(&network, &NAMES);
    let minority = cluster.node("oskar3");
    let keys = |limit: &str| {
        let owners = ["oskar", "oskar3"];
        owners.map(|owner| cluster.keys_of(owner, limit, 1).remove(0))
    };
    let (closed, open) = (keys("closed"), keys("open"));
    network.cut_off(2);
    let cut_at = Instant::now();
    eventually("the minority says that it has no quorum", || {
        let ready = minority.get("/ready", &[]);
        let is_told = ready.status == 503 && ready.json()["status"] == "no-quorum";
        is_told.then_some(()).ok_or_else(|| format!("{ready:?}"))
    });
    let mut took = Vec::new();
    let mut answer_of = |limit: &str, key: &String| {
        let asked = Instant::now();
        let answer = minority.check(limit, key, 1);
        took.push(asked.elapsed());
        answer
    };
    for round in 0..10 {
        for key in &closed {
            let refused = answer_of("closed", key);
            assert_eq!(refused.status, 503, "{round}: {refused:?}");
            let told = refused.json();
            assert_eq!(told["type"], "/problems/no-decision", "{told}");
            assert_eq!(told["counted"], Value::Null, "{told}");
            assert!(told["detail"].to_string().contains("not counted"), "{told}");
        }
        for key in &open {
            let allowed = answer_of("open", key);
            let told = allowed.json();
            let by_fail_mode = (&told["allowed"], &told["by_fail_mode"]);
            assert_eq!(
                by_fail_mode,
                (&true.into(), &true.into()),
                "{round}: {told}"
            );
        }
    }
    // 50 ms each are promised; each took 3.5 s once.
    took.sort_unstable();
    assert!(took[took.len() / 2] < Duration::from_millis(50), "{took:?}");
    let all = took.iter().sum::<Duration>();
    assert!(all < Duration::from_secs(4), "40 hits took {all:?}");
    let (code, told) = status(&cluster, minority);
    assert_eq!(code, Some(1), "{told}");
    for word in ["quorum", "lost for", "oskar, oskar2"] {
        assert!(told.contains(word), "{word} in {told}");
    }
    let warned = eventually("it has said so once", || {
        let log = minority.log();
        let told = |line: &&str| line.contains("too few members answer");
        let lines: Vec<&str> = log.lines().filter(told).collect();
        match lines[..] {
            [line] => Ok(line.to_owned()),
            _ => Err(format!("{lines:?}")),
        }
    });
    assert_names_who_is_missing(&warned, cut_at.elapsed());
    network.heal(2);
    cluster.settle();
    wait_until_ready(minority);
    for (limit, keys) in [("closed", &closed), ("open", &open)] {
        for key in keys {
            assert_eq!(minority.counted(limit, key), 0, "{limit} {key}");
        }
    }
    eventually("all is well again", || match status(&cluster, minority) {
        (Some(0), _) => Ok(()),
        (_, told) => Err(told),
    });
}

/// The three were stopped by the fourth until the dead one was back or forgotten.
#[test]
fn a_fourth_node_beside_a_dead_one_stops_nobody_and_counts_in_the_end() {
    let mut cluster = Cluster::with_config(CONFIG).started(&NAMES);
    cluster.take("oskar3").kill();
    cluster.settle();
    let fourth = cluster.starting(Options::new("oskar4", Cluster::COOKIE));
    let fourth = thread::scope(|scope| {
        let joining = scope.spawn(|| fourth.ready());
        let mut hits = 0;
        while !joining.is_finished() {
            for node in &cluster.nodes {
                let answer = node.check("closed", &format!("key-{hits}"), 1);
                assert_eq!(
                    answer.status, 200,
                    "hit {hits} by {}: {answer:?}",
                    node.name
                );
                hits += 1;
            }
        }
        joining.join().expect("no panic").expect("it joins")
    });
    cluster.nodes.push(fourth);
    cluster.settle();
    // Of three that count it is one: with another loss it makes the majority.
    let forgotten = cluster.nodes[0].ask("DELETE", "/v1/members/oskar3", &[], None);
    assert_eq!(forgotten.status, 204, "{forgotten:?}");
    cluster.take("oskar2").kill();
    cluster.settle();
    for node in &cluster.nodes {
        let answer = node.check("closed", "another", 1);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// A free port, which nobody has before whoever it is given to.
fn port() -> String {
    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    held.local_addr().expect("an address").to_string()
}

fn says_that_nobody_answers(node: &Starting, address: &str) {
    eventually("it says that nobody answers", || {
        let log = node.log();
        let told = |line: &str| line.contains("nobody answers") && line.contains(address);
        log.lines().any(told).then_some(()).ok_or(log)
    });
}

/// Homes of their own: they do not find each other through the host.
fn apart(cluster: &Cluster, name: &str, args: &[&str]) -> Starting {
    let mut options = Options::new(name, Cluster::COOKIE);
    options.args = args.iter().map(ToString::to_string).collect();
    cluster.starting(options)
}

/// A node of three, killed and started again where its seed was silent, founded a cluster and admitted a whole limit more.
#[test]
fn a_node_that_was_to_join_waits_for_its_cluster_and_founds_none() {
    let seed = port();
    let silent = TcpListener::bind(&seed).expect("free a moment ago");
    let clusters = [Cluster::with_config(CONFIG), Cluster::with_config(CONFIG)];
    let joiner = apart(&clusters[0], "joiner", &["--join", &seed]);
    says_that_nobody_answers(&joiner, &seed);
    assert!(joiner.is_pending());
    drop(silent);
    let first = apart(&clusters[1], "first", &["--cluster", &seed]);
    let first = first.ready().expect("it founds a cluster");
    let joiner = joiner.ready().expect("it meets the first");
    // The first may be met before it has said that it is ready.
    assert_eq!(joiner.members, 2);
    eventually("both are of one cluster", || {
        let views = [&first, &joiner].map(view);
        let living = |view: &View| view.members.len() == 2 && view.digest == views[0].digest;
        views
            .iter()
            .all(living)
            .then_some(())
            .ok_or_else(|| format!("{views:#?}"))
    });
}

#[test]
fn those_that_are_expected_found_one_cluster() {
    let ports = [port(), port(), port()];
    let clusters = [(); 3].map(|()| Cluster::with_config(CONFIG));
    let start = |place: usize| {
        let mut args = vec!["--expect", "3", "--cluster", &ports[place]];
        for port in &ports {
            args.extend(["--join", port]);
        }
        apart(&clusters[place], NAMES[place], &args)
    };
    let nodes = [start(0), start(1), start(2)];
    let nodes = nodes.map(|node| node.ready().expect("they found a cluster"));
    let nodes: Vec<&Node> = nodes.iter().collect();
    assert_eq!(at_once(&nodes, 16, "closed", "shared"), 200);
    for node in nodes {
        assert_eq!(node.counted("closed", "shared"), 200);
    }
}

/// Two such nodes both said that they were well, and admitted a limit each.
#[test]
fn a_node_that_goes_on_alone_where_it_may_says_so_and_looks_on() {
    let seed = port();
    let config = CONFIG.replace("quorum", "available");
    let mut clusters = [Cluster::with_config(&config), Cluster::with_config(&config)];
    let joiner = apart(&clusters[0], "joiner", &["--join", &seed]);
    says_that_nobody_answers(&joiner, &seed);
    let joiner = joiner.ready().expect("it goes on alone");
    assert_eq!(joiner.members, 1);
    let (code, told) = status(&clusters[0], &joiner);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("alone") && told.contains(&seed), "{told}");
    // It has looked for more than five seconds by then, and said so once: next it does after half a minute.
    thread::sleep(Duration::from_millis(1_500));
    let said = joiner
        .log()
        .matches("nobody answers at the addresses")
        .count();
    assert_eq!(said, 1, "{}", joiner.log());
    let first = apart(&clusters[1], "first", &["--cluster", &seed]);
    clusters[0].nodes.push(joiner);
    clusters[0]
        .nodes
        .push(first.ready().expect("it founds a cluster"));
    clusters[0].settle();
    let joiner = clusters[0].node("joiner");
    eventually("all is well", || match status(&clusters[0], joiner) {
        (Some(0), told) if !told.contains("alone") => Ok(()),
        (_, told) => Err(told),
    });
}
