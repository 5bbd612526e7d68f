//! The Redis protocol, as real clients speak it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use e2e::{Cluster, DEADLINE, Node, eventually};
use redis::Commands as _;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Nothing comes back while a test runs.
const LIMITS: &str = r#"
[[limit]]
name = "login"
algorithm = "gcra"
limit = 100
per = "1d"
"#;

const REDIS: &[&str] = &["--redis", "127.0.0.1:0"];

/// A cluster of nodes of these names that serve the Redis protocol, all settled.
fn started(names: &[&str], args: &[&str]) -> Cluster {
    let mut cluster = Cluster::with_config(LIMITS);
    for name in names {
        let args = [REDIS, args].concat();
        cluster
            .try_start(name, Cluster::COOKIE, &args)
            .expect("it becomes ready");
    }
    // One alone is settled, and tells nobody without a token that it is.
    if 1 < names.len() {
        cluster.settle();
    }
    cluster
}

fn redis_of(node: &Node) -> SocketAddr {
    node.redis.expect("it was told to serve the Redis protocol")
}

/// Runs a client, and gives what it printed.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; `cargo xtask test end-to-end` installs it")
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {stdout}{stderr}");
    stdout
}

/// What `redis-cli` prints for these words, in one line.
#[track_caller]
fn redis_cli(address: SocketAddr, words: &str) -> String {
    let mut command = Command::new("redis-cli");
    command.args([
        "-h",
        &address.ip().to_string(),
        "-p",
        &address.port().to_string(),
    ]);
    command.args(words.split(' '));
    run(&mut command).trim().replace('\n', " ")
}

/// Counts one hit over HTTP by a rule, and gives what remains.
fn remaining_by_rule(node: &Node, key: &str) -> u64 {
    let rule = r#"{"algorithm":"gcra","limit":100,"per":"86400s","burst":5}"#;
    let body = format!(r#"{{"rule":{rule},"key":"{key}"}}"#);
    let answer = node.ask("POST", "/v1/check", &[], Some(&body));
    answer.json()["remaining"].as_u64().expect("a decision")
}

#[test]
fn redis_cli_is_understood() {
    let cluster = started(&["oskar"], &[]);
    let node = &cluster.nodes[0];
    let cli = |words: &str| redis_cli(redis_of(node), words);
    assert_eq!(cli("PING"), "PONG");
    assert_eq!(cli("CL.THROTTLE ada 14 30 60"), "0 15 14 -1 2");
    assert_eq!(cli("-3 CL.THROTTLE ada 14 30 60 14"), "0 15 0 -1 30");
    assert_eq!(cli("THROTTLE ada 15 30 60 2").split(' ').next(), Some("0"));
    assert!(cli("WEIR.CHECK login ada 3").starts_with("1 100 97 -1 "));
    assert_eq!(cli("WEIR.RESET login ada"), "OK");
    assert_eq!(
        cli("GET ada"),
        "ERR unknown command 'GET'",
        "printed without its dash"
    );
    assert!(cli("WEIR.CHECK none ada").starts_with("UNKNOWNLIMIT "));
    assert!(cli("COMMAND DOCS weir.check").contains("Counts a hit by a limit that has a name"));
}

/// By a limit of the file and by a rule, through any node and either front: one count.
#[test]
fn a_hit_by_either_front_is_one_count() {
    let cluster = started(&["oskar", "oskar2"], &[]);
    for key in ["ada", "bob", "eve", "kim"] {
        for (round, node) in cluster.nodes.iter().enumerate() {
            let other = &cluster.nodes[1 - round];
            let counted = 20 * round as u64;
            let by_redis = redis_cli(redis_of(node), &format!("WEIR.CHECK login {key} 10"));
            let remaining = by_redis
                .split(' ')
                .nth(2)
                .and_then(|number| number.parse().ok());
            assert_eq!(remaining, Some(90 - counted), "{key}: {by_redis}");
            assert_eq!(other.check("login", key, 10).status, 200);
            assert_eq!(other.counted("login", key), 20 + counted, "{key}");
            let left = 4 - 2 * round as u64;
            let by_redis = redis_cli(redis_of(node), &format!("CL.THROTTLE {key} 4 100 86400"));
            assert!(
                by_redis.starts_with(&format!("0 5 {left} -1 ")),
                "{key}: {by_redis}"
            );
            assert_eq!(remaining_by_rule(other, key), left - 1, "{key}");
        }
    }
}

/// It begins with `HELLO 3`, and fails where that is not understood.
#[test]
fn redis_py_is_understood() {
    const SCRIPT: &str = r#"
import sys
import redis
port, token = int(sys.argv[1]), sys.argv[2]
for protocol in (2, 3, None):
    given = {} if protocol is None else {"protocol": protocol}
    client = redis.Redis(port=port, password=token, client_name="test", decode_responses=True, **given)
    assert client.ping() is True
    key = f"py{protocol}"
    assert client.execute_command("CL.THROTTLE", key, 14, 30, 60) == [0, 15, 14, -1, 2]
    pipe = client.pipeline(transaction=False)
    for _ in range(20):
        pipe.execute_command("WEIR.CHECK", "login", key, 6)
    told = pipe.execute()
    assert [one[0] for one in told] == [1] * 16 + [0] * 4, told
    assert [one[2] for one in told][:16] == list(range(94, 3, -6)), told
    try:
        client.execute_command("WEIR.CHECK", "none", key)
        raise SystemExit("an unknown limit is told")
    except redis.exceptions.ResponseError as error:
        assert "no limit has this name" in str(error), error
    assert client.client_getname() == "test"
    assert "redis_version" in client.info()
    client.close()
try:
    redis.Redis(port=port, password="wrong").ping()
    raise SystemExit("a wrong token is told")
except redis.exceptions.AuthenticationError:
    pass
try:
    redis.Redis(port=port).ping()
    raise SystemExit("no token is told")
except redis.exceptions.AuthenticationError:
    pass
print(redis.__version__)
"#;
    let cluster = started(&["oskar"], &["--api-token", "a token"]);
    let python = std::env::var_os("WEIR_PYTHON").expect(
        "WEIR_PYTHON names a Python that has redis-py 8; `cargo xtask test end-to-end` makes one",
    );
    let port = redis_of(&cluster.nodes[0]).port().to_string();
    let version = run(Command::new(python).args(["-c", SCRIPT, &port, "a token"]));
    assert!(version.starts_with("8."), "{version}");
}

#[test]
fn redis_rs_is_understood() {
    let cluster = started(&["oskar"], &["--api-token", "secret"]);
    let port = redis_of(&cluster.nodes[0]).port();
    for version in ["resp2", "resp3"] {
        let url = format!("redis://:secret@127.0.0.1:{port}/?protocol={version}");
        let client = redis::Client::open(url).expect("a URL");
        let mut connection = client.get_connection().expect("it connects");
        connection
            .set_read_timeout(Some(DEADLINE))
            .expect("a timeout");
        let _pong: String = redis::cmd("PING")
            .query(&mut connection)
            .expect("an answer");
        let mut pipeline = redis::pipe();
        for _hit in 0..6 {
            pipeline
                .cmd("CL.THROTTLE")
                .arg(version)
                .arg(4)
                .arg(100)
                .arg(86_400);
        }
        let told: Vec<[i64; 5]> = pipeline.query(&mut connection).expect("answers");
        let remaining: Vec<_> = told.iter().map(|told| (told[0], told[2])).collect();
        assert_eq!(remaining, [(0, 4), (0, 3), (0, 2), (0, 1), (0, 0), (1, 0)]);
        let error = connection
            .get::<_, String>("ada")
            .expect_err("there is no GET");
        assert!(error.to_string().contains("unknown command"), "{error}");
    }
}

/// A load generator asks as fast as it can, in pipelines, and every hit is counted once.
#[test]
fn redis_benchmark_is_counted_exactly() {
    let cluster = started(&["oskar"], &[]);
    let node = &cluster.nodes[0];
    let address = redis_of(node);
    let told = run(Command::new("redis-benchmark").args([
        "-h",
        &address.ip().to_string(),
        "-p",
        &address.port().to_string(),
        "-n",
        "20000",
        "-c",
        "20",
        "-P",
        "16",
        "-q",
        "THROTTLE",
        "bench",
        "1000000",
        "1000000",
        "31622400",
    ]));
    assert!(told.contains("requests per second"), "{told}");
    let left = redis_cli(address, "THROTTLE bench 1000000 1000000 31622400 0");
    assert!(left.starts_with("1 1000000 980000 "), "{left}");
}

#[test]
fn a_node_that_drains_answers_what_was_asked_and_closes() {
    let mut cluster = started(&["oskar", "oskar2"], &[]);
    let mut node = cluster.nodes.remove(0);
    let mut client = TcpStream::connect(redis_of(&node)).expect("it connects");
    client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    client.set_nodelay(true).expect("an option");
    let mut told = [0; 7];
    client.write_all(b"PING\r\n").expect("it is taken");
    client.read_exact(&mut told).expect("an answer");
    node.terminate();
    client
        .write_all(&b"WEIR.CHECK login ada\r\n".repeat(50))
        .expect("it is taken");
    let mut answers = String::new();
    client
        .read_to_string(&mut answers)
        .expect("it closes in order");
    assert_eq!(answers.matches("*6\r\n:1\r\n").count(), 50, "{answers}");
    assert!(node.ended().success());
    let survivor = &cluster.nodes[0];
    eventually("the survivor has all that was counted", || {
        match survivor.counted("login", "ada") {
            50 => Ok(()),
            counted => Err(format!("{counted} of 50")),
        }
    });
}

/// 5 000 idle connections and 500 that send a byte now and then cost little, and nobody else waits for them.
#[test]
fn a_crowd_of_idle_and_dripping_connections_is_cheap() {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).expect("raising the number of open files");
    let cluster = started(&["oskar"], &[]);
    let node = &cluster.nodes[0];
    let address = redis_of(node);
    let before = node.memory();
    let connect = || {
        let mut stream = TcpStream::connect(address).expect("it connects");
        stream.write_all(b"PING\r\n").expect("it is taken");
        let mut told = [0; 7];
        stream.read_exact(&mut told).expect("an answer");
        stream
    };
    let idle: Vec<_> = (0..5_000).map(|_| connect()).collect();
    let mut dripping: Vec<_> = (0..500).map(|_| connect()).collect();
    let command = format!("*2\r\n$4\r\nECHO\r\n$60000\r\n{}", "x".repeat(6_000));
    for stream in &mut dripping {
        stream.write_all(command.as_bytes()).expect("it is taken");
    }
    for byte in b"xxx" {
        for stream in &mut dripping {
            stream.write_all(&[*byte]).expect("it is taken");
        }
    }
    assert_eq!(redis_cli(address, "PING"), "PONG");
    let held = node.memory().saturating_sub(before) / 5_500;
    // Measured: some 4 KiB, and of a dripping one the 12 KiB that it may hold. Twice that, since the build has no
    // optimisation.
    assert!(held < 10 * 1024, "{held} bytes for each connection");
    drop(idle);
}
