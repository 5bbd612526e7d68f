//! The command line: exit codes, one clear line each.

use std::net::TcpListener;
use std::process::Output;
use std::thread;

use e2e::{Client, Cluster, Node, Options, weir};

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
    assert_eq!(json["partition"], "available");
    // By owner: of each node, all that it owns.
    for member in json["members"].as_array().expect("members") {
        assert_eq!(
            member["under_replicated_shards"], member["shards"],
            "{json}"
        );
    }
    let by_owner = status
        .lines()
        .find(|line| line.starts_with("under-replicated shards  1024: "));
    let by_owner = by_owner.unwrap_or_else(|| panic!("{status}"));
    assert!(
        by_owner.contains("oskar ") && by_owner.contains(", oskar2 "),
        "{by_owner}"
    );
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

#[test]
fn an_operator_asks_about_a_key_and_lets_it_start_anew() {
    let cluster = Cluster::new().started(&["oskar", "oskar2"]);
    let url = format!("http://{}", cluster.nodes[0].http);
    let key = cluster.keys_of("oskar2", "user_home", 1).remove(0);
    let asked = |command: &str| run(&cluster, &[command, "user_home", &key, "--url", &url]);
    let explain = || {
        let output = asked("explain");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        text(&output.stdout)
    };
    let fresh = explain();
    for line in [
        "decided by               oskar2\n",
        "copies                   oskar\n",
        "left                     1 of 1\n",
        "a hit now                would be allowed; nothing is counted\n",
    ] {
        assert!(fresh.contains(line), "{line:?} in {fresh}");
    }
    assert_eq!(cluster.nodes[1].check("user_home", &key, 1).status, 200);
    let spent = explain();
    assert!(spent.contains("would be denied: 1 of user_home are spent, the next is back after"));
    let output = asked("reset");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(explain(), fresh);
    let json = ["explain", "user_home", &key, "--json", "--url", &url];
    let json: serde_json::Value =
        serde_json::from_slice(&run(&cluster, &json).stdout).expect("JSON");
    assert_eq!(json["owner"]["owner"], "oskar2");
    assert_eq!(json["decision"]["remaining"], 1);
    for command in ["explain", "reset"] {
        let output = run(&cluster, &[command, "nope", &key, "--url", &url]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(text(&output.stderr).lines().count(), 1, "{output:?}");
    }
}

#[test]
fn health_exits_by_readiness() {
    let cluster = Cluster::new().started(&["oskar"]);
    let exits_without_a_word = |http: &str, code| {
        let output = run(&cluster, &["health", "--url", &format!("http://{http}")]);
        let said = [output.stdout, output.stderr].concat();
        assert_eq!(
            (output.status.code(), text(&said)),
            (Some(code), String::new())
        );
    };
    exits_without_a_word(&cluster.nodes[0].http.to_string(), 0);
    // Alone where two are to be: it answers, and serves nobody yet.
    let config = "[cluster]\npartition = \"quorum\"\n";
    let path = cluster.home().join("quorum.toml");
    std::fs::write(&path, config).expect("writing a configuration");
    let path = path.display().to_string();
    let port = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("an address");
    let http = address.to_string();
    drop(port);
    let waiting = weir(cluster.home())
        .args(["node", "--name", "waits", "--cookie", "another"])
        .args(["--config", &path, "--expect", "2", "--http", &http])
        .args(["--join", "127.0.0.1:9"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .map(Killed)
        .expect("starting weir");
    e2e::eventually("it says that it joins", || {
        let client = Client::connect(address);
        let answer = client.and_then(|mut client| client.request("GET", "/ready", &[], None));
        let answer = answer.map_err(|error| error.to_string())?;
        match (answer.status, answer.json()["status"].as_str()) {
            (503, Some("joining")) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    exits_without_a_word(&http, 1);
    drop(waiting);
    exits_without_a_word(&http, 1);
}

/// A process that ends with its test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _status = self.0.wait();
    }
}

#[test]
fn a_configuration_is_looked_at_without_a_node() {
    let cluster = Cluster::new();
    let check = |config: &str| {
        let path = cluster.home().join("weir.toml");
        std::fs::write(&path, config).expect("writing a configuration");
        let path = path.display().to_string();
        let output = run(&cluster, &["config", "check", &path]);
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let limit = "[[limit]]\nname = \"a\"\nalgorithm = \"gcra\"\nlimit = 5\nper = \"1m\"\n";
    let (code, stdout, stderr) = check(limit);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.ends_with("weir.toml: well, with 1 limit and 0 routes\n"));
    let (code, stdout, stderr) = check(&format!("{limit}surprise = 1\n[node]\nname = \"\"\n"));
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert!(
        stderr.contains("surprise") && stderr.contains("name"),
        "{stderr}"
    );
    let output = run(&cluster, &["config", "check", "nowhere.toml"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(text(&output.stderr).lines().count(), 1, "{output:?}");
}

#[test]
fn shells_and_readers_of_manuals_are_told_of_every_command() {
    let cluster = Cluster::new();
    let help = text(&run(&cluster, &["--help"]).stdout);
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"status") && commands.len() > 10);
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&run(&cluster, &["completions", shell]).stdout);
        for command in &commands {
            assert!(script.contains(command), "{command} for {shell}");
        }
    }
    let syntax = std::process::Command::new("bash")
        .args(["-n", "/dev/stdin"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .and_then(|mut bash| {
            use std::io::Write as _;
            let script = run(&cluster, &["completions", "bash"]).stdout;
            bash.stdin.take().expect("is piped").write_all(&script)?;
            bash.wait()
        })
        .expect("bash reads it");
    assert!(syntax.success());
    let dir = cluster.home().join("man1");
    let output = run(&cluster, &["man", &dir.display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for command in commands.iter().filter(|command| **command != "help") {
        let page = dir.join(format!("weir-{command}.1"));
        let page = std::fs::read_to_string(&page).unwrap_or_else(|_| panic!("{page:?}"));
        assert!(page.contains(".TH"), "{command}");
    }
    assert!(!dir.join("weir-become.1").exists(), "it is not for people");
}

#[test]
fn status_is_shown_anew_until_nobody_reads() {
    use std::io::Read as _;

    let cluster = Cluster::new().started(&["oskar"]);
    let url = format!("http://{}", cluster.nodes[0].http);
    let mut watching = weir(cluster.home())
        .args(["status", "--watch", "--url", &url])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .map(Killed)
        .expect("starting weir");
    let mut shown = watching.0.stdout.take().expect("is piped");
    let mut seen = Vec::new();
    let screens = |seen: &[u8]| text(seen).matches("\x1b[H\x1b[2JNAME").count();
    while screens(&seen) < 2 {
        let mut more = [0; 4_096];
        let read = shown.read(&mut more).expect("it goes on");
        assert_ne!(read, 0, "{}", text(&seen));
        seen.extend(&more[..read]);
    }
    drop(shown);
    e2e::eventually("it ends when nobody reads", || {
        match watching.0.try_wait().expect("is a child") {
            Some(status) if status.success() => Ok(()),
            status => Err(format!("{status:?}")),
        }
    });
}
