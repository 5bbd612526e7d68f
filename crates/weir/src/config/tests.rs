//! One mistake, one fixture; and what is no mistake.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use clap::Parser as _;
use coordinator::{FailMode, Strategy};
use coordinator_redis::Servers;
use quota::{Algorithm, Anchor, Nanos};
use shard::Partition;

use super::cluster::Ack;
use super::node::{LogFormat, SecretSource, Seed};
use super::routes::{Answer, Identify};
use super::*;
use crate::cli::{Cli, Command};

/// Everything that a node can be told, as data.
#[derive(Default)]
struct Told<'a> {
    flags: &'a str,
    variables: &'a [(&'a str, &'a str)],
    file: &'a str,
}

impl Told<'_> {
    fn check(&self) -> Result<Config, Vec<String>> {
        let line = format!("weir node {}", self.flags);
        let Command::Node(args) = Cli::parse_from(line.split_whitespace()).command else {
            panic!("starts a node");
        };
        let variables: HashMap<&str, &str> = self.variables.iter().copied().collect();
        let around = Surroundings {
            variable: &|name| variables.get(name).map(ToString::to_string),
            host_name: "host".to_owned(),
            home: Some("/home/weir".into()),
        };
        let source = Source {
            name: "weir.toml",
            text: self.file,
        };
        Config::check(source, &args, &around).map_err(|problems| problems.lines())
    }
}

fn file(text: &str) -> Result<Config, Vec<String>> {
    Told {
        file: text,
        ..Told::default()
    }
    .check()
}

/// Checks that `text` is refused with exactly one problem, which begins with `place` and says `words`.
fn check_refused(text: &str, place: &str, words: &str) {
    let lines = file(text).expect_err(text);
    assert_eq!(lines.len(), 1, "{text}\n{lines:#?}");
    assert!(
        lines[0].starts_with(&format!("weir.toml:{place}: ")),
        "{text}\n{}\nexpected at {place}",
        lines[0]
    );
    assert!(
        lines[0].contains(words),
        "{text}\n{}\nexpected: {words}",
        lines[0]
    );
}

const LIMIT: &str = "[[limit]]\nname = \"a\"\nalgorithm = \"gcra\"\nlimit = 5\nper = \"1m\"\n";
const ROUTE: &str = "[[route]]\npath = \"/x\"\nlimit = \"a\"\nidentify = [{ peer = true }]\n";

#[test]
fn an_empty_file_has_the_defaults() {
    let config = file("").unwrap();
    assert_eq!(config.node.name, "host");
    assert_eq!(config.node.http, "127.0.0.1:4000".parse().unwrap());
    assert_eq!(config.node.cluster, "127.0.0.1:0".parse().unwrap());
    assert_eq!(config.node.advertise, config.node.cluster);
    assert_eq!(
        config.node.cookie,
        SecretSource::Default("/home/weir/.weir.cookie".into())
    );
    assert_eq!(
        (config.cluster.replicas, config.cluster.ack),
        (2, Ack::Fast)
    );
    assert_eq!(
        (config.cluster.max_lag.as_millis(), config.cluster.partition),
        (250, Partition::Available)
    );
    assert_eq!(config.cluster.max_keys, 20_000_000);
    assert!(config.limits.is_empty() && config.routes.is_empty());
}

#[test]
fn the_built_in_example_is_valid() {
    let config = file(EXAMPLE).unwrap();
    let limits: Vec<_> = config
        .limits
        .iter()
        .map(|named| {
            (
                &*named.name,
                named.limit.units(),
                named.limit.period().ceil_secs(),
                named.limit.algorithm(),
            )
        })
        .collect();
    assert_eq!(
        limits,
        [
            ("page", 1, 10, Algorithm::SlidingLog),
            ("user_home", 1, 60, Algorithm::SlidingLog),
            ("api", 10, 60, Algorithm::Gcra),
            ("client", 10, 60, Algorithm::SlidingLog),
        ]
    );
    let routes: Vec<_> = config
        .routes
        .iter()
        .map(|route| (route.path.as_str(), route.answer))
        .collect();
    assert_eq!(
        routes,
        [
            ("/", Answer::Page),
            ("/user_home", Answer::Greeting),
            ("/api/data", Answer::Json),
            ("/api/status", Answer::Peek),
        ]
    );
}

#[test]
fn every_key_is_read() {
    let config = file(
        r#"
        [node]
        name = "oskar"
        cookie_file = "/c"
        http = "0.0.0.0:80"
        cluster = "0.0.0.0:4100"
        advertise = "10.0.0.1:4100"
        join = ["10.0.0.2:4100", "dns:weir.internal:4100"]
        zone = "vie-1"
        api_token_file = "/t"
        log = "json"
        [cluster]
        replicas = 1
        ack = "replicated"
        max_lag = "0s"
        partition = "quorum"
        trusted_proxies = ["10.0.0.0/8", "fd00::/8", "192.0.2.1"]
        max_keys = 1_000
        [[limit]]
        name = "w"
        algorithm = "fixed_window"
        limit = 7
        per = "2h"
        anchor = "first_hit"
        strategy = "owner"
        on_failure = "allow"
        [[limit]]
        name = "b"
        algorithm = "token_bucket"
        limit = 10
        burst = 20
        per = "500ms"
        [[route]]
        path = "/x"
        limit = "w"
        identify = [{ header = "X-Id" }, { query = "id" }, { cookie = "sid" }, { browser = true }, { peer = true }]
        "#,
    )
    .unwrap();
    let node = &config.node;
    assert_eq!(
        (node.name.as_str(), node.zone.as_deref(), node.log),
        ("oskar", Some("vie-1"), Some(LogFormat::Json))
    );
    assert_eq!(node.cookie, SecretSource::File("/c".into()));
    assert_eq!(node.api_token, Some(SecretSource::File("/t".into())));
    assert_eq!((node.http.port(), node.cluster.port()), (80, 4100));
    assert_eq!(node.advertise, "10.0.0.1:4100".parse().unwrap());
    let dns = Seed::Dns {
        name: "weir.internal".to_owned(),
        port: 4100,
    };
    assert_eq!(
        node.join,
        [Seed::Address("10.0.0.2:4100".parse().unwrap()), dns]
    );
    assert_eq!(
        (config.cluster.replicas, config.cluster.max_keys),
        (1, 1_000)
    );
    assert_eq!(
        (config.cluster.ack, config.cluster.partition),
        (Ack::Replicated, Partition::Quorum)
    );
    let prefixes: Vec<u8> = config
        .cluster
        .trusted_proxies
        .iter()
        .map(|network| network.prefix)
        .collect();
    assert_eq!(prefixes, [8, 8, 32]);
    let [w, b] = &config.limits[..] else {
        panic!("two limits")
    };
    assert_eq!(
        (w.limit.anchor(), w.on_failure),
        (Anchor::FirstHit, FailMode::Allow)
    );
    assert_eq!(
        (b.limit.burst(), b.limit.period(), b.on_failure),
        (20, Nanos::from_millis(500), FailMode::Deny)
    );
    assert_eq!(config.routes[0].identify.len(), 5);
    assert_eq!(
        config.routes[0].identify[0],
        Identify::Header("X-Id".to_owned())
    );
}

#[test]
fn a_mistake_in_node_or_cluster_is_refused_at_its_place() {
    for (text, place, words) in [
        (
            "[nodes]",
            "1: nodes",
            "unknown key; accepted: node, cluster, limit, route",
        ),
        ("node = 1", "1: node", "found 1; accepted: a table"),
        (
            "[node]\nnam = \"a\"",
            "2: node.nam",
            "unknown key; accepted: name,",
        ),
        (
            "[node]\nname = \"a b\"",
            "2: node.name",
            "found \"a b\"; accepted: 1 to 64 letters",
        ),
        ("[node]\nname = \"\"", "2: node.name", "found \"\""),
        (
            "[node]\nname = 7",
            "2: node.name",
            "found 7; accepted: a string",
        ),
        (
            "[node]\ncookie = \"secret\"",
            "2: node.cookie",
            "unknown key",
        ),
        (
            "[node]\nhttp = \"localhost:4000\"",
            "2: node.http",
            "accepted: an IP address and a port",
        ),
        (
            "[node]\nhttp = \"127.0.0.1\"",
            "2: node.http",
            "found \"127.0.0.1\"",
        ),
        (
            "[node]\nhttp = \"0.0.0.0:4000\"",
            "2: node.http",
            "without a token",
        ),
        ("[node]\ncluster = \"x\"", "2: node.cluster", "found \"x\""),
        (
            "[node]\ncluster = \"0.0.0.0:1\"",
            "2: node.cluster",
            "cannot dial 0.0.0.0:1; accepted: --advertise",
        ),
        (
            "[node]\nadvertise = \"[::]:1\"",
            "2: node.advertise",
            "cannot dial [::]:1",
        ),
        (
            "[node]\njoin = \"a:1\"",
            "2: node.join",
            "accepted: an array of strings",
        ),
        (
            "[node]\njoin = [\"1.1.1.1:1\", \"a:1\"]",
            "2: node.join[1]",
            "found \"a:1\"; accepted: ADDR:PORT",
        ),
        (
            "[node]\njoin = [\"1.1.1.1:0\"]",
            "2: node.join[0]",
            "found \"1.1.1.1:0\"",
        ),
        (
            "[node]\njoin = [\"dns:weir\"]",
            "2: node.join[0]",
            "dns:NAME:PORT",
        ),
        ("[node]\nzone = \"a/b\"", "2: node.zone", "found \"a/b\""),
        (
            "[node]\nlog = \"yaml\"",
            "2: node.log",
            "found \"yaml\"; accepted: \"text\", \"json\"",
        ),
        (
            "[node]\ndata_dir = \"/d\"",
            "2: node.data_dir",
            "not in this version",
        ),
        (
            "[cluster]\nreplica = 2",
            "2: cluster.replica",
            "unknown key; accepted: replicas, ack,",
        ),
        (
            "[cluster]\nreplicas = 8",
            "2: cluster.replicas",
            "found 8; accepted: a whole number from 0 to 7",
        ),
        (
            "[cluster]\nreplicas = -1",
            "2: cluster.replicas",
            "found -1",
        ),
        (
            "[cluster]\nreplicas = 1.5",
            "2: cluster.replicas",
            "found 1.5",
        ),
        (
            "[cluster]\nack = \"slow\"",
            "2: cluster.ack",
            "accepted: \"fast\", \"replicated\"",
        ),
        (
            "[cluster]\nmax_lag = 250",
            "2: cluster.max_lag",
            "found 250; accepted: a string",
        ),
        (
            "[cluster]\nmax_lag = \"250\"",
            "2: cluster.max_lag",
            "ms, s, m, h or d",
        ),
        (
            "[cluster]\npartition = \"ap\"",
            "2: cluster.partition",
            "accepted: \"available\", \"quorum\"",
        ),
        (
            "[cluster]\ntrusted_proxies = [\"10.0.0.0/33\"]",
            "2: cluster.trusted_proxies[0]",
            "found \"10.0.0.0/33\"",
        ),
        ("[cluster]\nmax_keys = 0", "2: cluster.max_keys", "found 0"),
    ] {
        check_refused(text, place, words);
    }
}

#[test]
fn a_mistake_in_a_limit_is_refused_at_its_place() {
    for (from, to, place, words) in [
        ("name = \"a\"\n", "", "1: limit[0]", "no `name`"),
        ("\"a\"", "\"a a\"", "2: limit[0].name", "found \"a a\""),
        (
            "algorithm = \"gcra\"\n",
            "",
            "1: limit[0]",
            "no `algorithm`; accepted: gcra,",
        ),
        (
            "\"gcra\"",
            "\"leaky\"",
            "3: limit[0].algorithm",
            "found \"leaky\"; accepted: gcra, token_bucket",
        ),
        (
            "\"gcra\"",
            "\"concurrency\"",
            "3: limit[0].algorithm",
            "\"concurrency\" is not in this version",
        ),
        ("limit = 5\n", "", "1: limit[0]", "no `limit`"),
        (
            "= 5",
            "= 0",
            "4: limit[0].limit",
            "found 0; accepted: a whole number from 1",
        ),
        ("= 5", "= \"5\"", "4: limit[0].limit", "found \"5\""),
        (
            "= 5",
            "= 9_999_999_999",
            "4: limit[0].limit",
            "found 9_999_999_999",
        ),
        (
            "\"gcra\"\nlimit = 5",
            "\"sliding_log\"\nlimit = 10_001",
            "4: limit[0].limit",
            "accepted: 1 to 10000",
        ),
        ("per = \"1m\"\n", "", "1: limit[0]", "no `per`"),
        (
            "\"1m\"",
            "\"1 m\"",
            "5: limit[0].per",
            "found \"1 m\"; accepted: a whole number and ms",
        ),
        (
            "\"1m\"",
            "\"0s\"",
            "5: limit[0].per",
            "accepted: 1ms to 366d",
        ),
        (
            "\"1m\"",
            "\"367d\"",
            "5: limit[0].per",
            "accepted: 1ms to 366d",
        ),
        (
            "\"1m\"",
            "\"1m\"\nburst = 0",
            "6: limit[0].burst",
            "found 0",
        ),
        (
            "\"gcra\"\nlimit",
            "\"fixed_window\"\nburst = 2\nlimit",
            "4: limit[0].burst",
            "fixed_window has no burst",
        ),
        (
            "\"1m\"",
            "\"1m\"\nanchor = \"epoch\"",
            "6: limit[0].anchor",
            "gcra has no anchor",
        ),
        (
            "\"gcra\"",
            "\"fixed_window\"\nanchor = \"noon\"",
            "4: limit[0].anchor",
            "accepted: \"epoch\", \"first_hit\"",
        ),
        (
            "\"gcra\"",
            "\"fixed_window\"\ncalendar = \"month\"",
            "4: limit[0].calendar",
            "not in this version",
        ),
        (
            "\"1m\"",
            "\"1m\"\nstrategy = \"redis\"",
            "6: limit[0].strategy",
            "\"redis\" needs a section [redis]",
        ),
        (
            "\"1m\"",
            "\"1m\"\nstrategy = \"raft\"\non_failure = \"owner\"",
            "7: limit[0].on_failure",
            "\"owner\" is for limits with strategy = \"redis\"",
        ),
        (
            "\"1m\"",
            "\"1m\"\nstrategy = \"best\"",
            "6: limit[0].strategy",
            "found \"best\"; accepted: \"owner\", \"local\", \"redis\", \"raft\"",
        ),
        (
            "\"1m\"",
            "\"1m\"\non_failure = \"open\"",
            "6: limit[0].on_failure",
            "accepted: \"deny\", \"allow\", \"owner\"",
        ),
        (
            "\"1m\"",
            "\"1m\"\nwindow = \"1m\"",
            "6: limit[0].window",
            "unknown key; accepted: name, algorithm",
        ),
    ] {
        let text = LIMIT.replacen(from, to, 1);
        assert_ne!(text, LIMIT, "{from} is in the fixture");
        check_refused(&text, place, words);
    }
    check_refused(
        &format!("{LIMIT}{LIMIT}"),
        "7: limit[1].name",
        "this one is taken at weir.toml:2: limit[0].name",
    );
    check_refused("limit = [1]", "1: limit[0]", "found 1; accepted: a table");
}

#[test]
fn a_mistake_in_a_route_is_refused_at_its_place() {
    for (from, to, place, words) in [
        ("path = \"/x\"\n", "", "6: route[0]", "no `path`"),
        ("\"/x\"", "\"x\"", "7: route[0].path", "begins with /"),
        (
            "\"/x\"",
            "\"/v1/check\"",
            "7: route[0].path",
            "not one of the API's own",
        ),
        ("\"/x\"", "\"/x?y\"", "7: route[0].path", "found \"/x?y\""),
        ("limit = \"a\"\nid", "id", "6: route[0]", "no `limit`"),
        (
            "limit = \"a\"\nid",
            "limit = \"b\"\nid",
            "8: route[0].limit",
            "found \"b\"; accepted: the name of a limit: a",
        ),
        (
            "identify = [{ peer = true }]\n",
            "",
            "6: route[0]",
            "no `identify`",
        ),
        (
            "[{ peer = true }]",
            "[]",
            "9: route[0].identify",
            "found []",
        ),
        (
            "[{ peer = true }]",
            "\"peer\"",
            "9: route[0].identify",
            "accepted: an array of tables",
        ),
        (
            "peer = true",
            "",
            "9: route[0].identify[0]",
            "0 keys; accepted: one key",
        ),
        (
            "peer = true",
            "peer = false",
            "9: route[0].identify[0].peer",
            "found false; accepted: true",
        ),
        (
            "peer = true",
            "peer = true, browser = true",
            "9: route[0].identify[0]",
            "2 keys; accepted: one key",
        ),
        (
            "peer = true",
            "ip = true",
            "9: route[0].identify[0].ip",
            "unknown key; accepted: header, query, cookie",
        ),
        (
            "peer = true",
            "header = \"X Id\"",
            "9: route[0].identify[0].header",
            "the name of a header",
        ),
        (
            "peer = true",
            "query = \"\"",
            "9: route[0].identify[0].query",
            "the name of a query parameter",
        ),
        (
            "}]",
            "}]\nanswer = \"hi\"",
            "10: route[0].answer",
            "accepted: \"page\", \"greeting\"",
        ),
        (
            "}]",
            "}]\nupstream = \"http://x\"",
            "10: route[0].upstream",
            "not in this version",
        ),
    ] {
        let route = ROUTE.replacen(from, to, 1);
        assert_ne!(route, ROUTE, "{from} is in the fixture");
        check_refused(&format!("{LIMIT}{route}"), place, words);
    }
    check_refused(
        &format!("{LIMIT}{ROUTE}{ROUTE}"),
        "11: route[1].path",
        "an earlier route has this one",
    );
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    check_refused("[cluster]\nreplicas = = 2", "2", "not TOML");
    assert_eq!(
        file("a = = 1\nb = ?\n[c").unwrap_err().len(),
        3,
        "one a line"
    );
    check_refused(
        "[cluster]\nack = \"fast\"\nack = \"fast\"",
        "3",
        "duplicate key",
    );
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = "[cluster]\nreplicas = 9\nmode = 1\n[[limit]]\nname = \"a\"\nalgorithm = \"gcra\"\nlimit = 0\nper = \"x\"\n\
                [[route]]\npath = \"/x\"\nlimit = \"a\"\nidentify = [{ peer = true }]\n";
    let told = Told {
        flags: "--http nowhere --cluster nowhere --log x",
        file: text,
        ..Told::default()
    };
    let lines = told.check().unwrap_err();
    assert_eq!(lines.len(), 7, "{lines:#?}");
    assert!(
        !lines.iter().any(|line| line.contains("route")),
        "a route is not blamed for its limit: {lines:#?}"
    );
}

#[test]
fn one_bad_value_of_a_limit_does_not_hide_another() {
    let text = "[[limit]]\nname = \"a\"\nalgorithm = \"sliding_log\"\nlimit = 10_001\nper = \"367d\"\nburst = 2\n\
                anchor = \"epoch\"\n";
    let lines = file(text).unwrap_err();
    let places: Vec<_> = lines
        .iter()
        .map(|line| line.split(": ").nth(1).unwrap())
        .collect();
    assert_eq!(
        places,
        [
            "limit[0].limit",
            "limit[0].per",
            "limit[0].burst",
            "limit[0].anchor"
        ]
    );
}

#[test]
fn a_flag_wins_over_its_variable_and_that_over_the_file() {
    let name = |flags, variables, file| {
        Told {
            flags,
            variables,
            file,
        }
        .check()
        .unwrap()
        .node
        .name
    };
    let file = "[node]\nname = \"file\"";
    assert_eq!(
        name("--name flag", &[("WEIR_NAME", "variable")], file),
        "flag"
    );
    assert_eq!(name("", &[("WEIR_NAME", "variable")], file), "variable");
    assert_eq!(name("", &[], file), "file");

    let join = |flags, variables, file| {
        Told {
            flags,
            variables,
            file,
        }
        .check()
        .unwrap()
        .node
        .join
        .len()
    };
    let file = "[node]\njoin = [\"1.1.1.1:1\"]";
    assert_eq!(
        join(
            "--join 1.1.1.1:1 --join 1.1.1.1:2 --join 1.1.1.1:3",
            &[("WEIR_JOIN", "1.1.1.1:1")],
            file
        ),
        3
    );
    assert_eq!(join("", &[("WEIR_JOIN", "1.1.1.1:1, 1.1.1.1:2")], file), 2);
    assert_eq!(join("", &[], file), 1);
}

#[test]
fn port_moves_only_the_default() {
    let http = |flags, variables| {
        Told {
            flags,
            variables,
            file: "",
        }
        .check()
        .map(|config| config.node.http.to_string())
    };
    assert_eq!(http("", &[("PORT", "4001")]).unwrap(), "127.0.0.1:4001");
    assert_eq!(
        http("--http 127.0.0.2:5000", &[("PORT", "4001")]).unwrap(),
        "127.0.0.2:5000"
    );
    assert_eq!(
        http("", &[("PORT", "4001"), ("WEIR_HTTP", "[::1]:5000")]).unwrap(),
        "[::1]:5000"
    );
    let refused = http("", &[("PORT", "http")]).unwrap_err();
    assert_eq!(
        refused,
        ["PORT: found \"http\"; accepted: a port, 0 to 65535"]
    );
}

#[test]
fn http_beyond_loopback_wants_a_token_or_insistence() {
    let open = |flags, variables| {
        Told {
            flags,
            variables,
            file: "",
        }
        .check()
        .map(|_| ())
    };
    assert!(
        open("--http 0.0.0.0:80", &[]).unwrap_err()[0]
            .starts_with("--http: 0.0.0.0:80 is open to other machines")
    );
    assert!(open("", &[("WEIR_HTTP", "10.0.0.1:80")]).unwrap_err()[0].starts_with("WEIR_HTTP: "));
    assert!(open("--http [::1]:80", &[]).is_ok());
    assert!(open("--http 0.0.0.0:80 --insecure", &[]).is_ok());
    assert!(open("--http 0.0.0.0:80", &[("WEIR_INSECURE", "1")]).is_ok());
    assert!(open("--http 0.0.0.0:80 --api-token t", &[]).is_ok());
    assert!(open("--http 0.0.0.0:80", &[("WEIR_API_TOKEN_FILE", "/t")]).is_ok());
    assert!(open("", &[("WEIR_INSECURE", "maybe")]).is_err());
}

#[test]
fn the_cookie_comes_from_one_place() {
    let cookie = |flags, variables| {
        let told = Told {
            flags,
            variables,
            file: "[node]\ncookie_file = \"/file\"",
        };
        told.check().map(|config| config.node.cookie)
    };
    let secret = |text| SecretSource::Given(crate::secret::Secret::new(text).unwrap());
    assert_eq!(cookie("", &[]).unwrap(), SecretSource::File("/file".into()));
    assert_eq!(cookie("", &[("WEIR_COOKIE", "v")]).unwrap(), secret("v"));
    assert_eq!(
        cookie("--cookie f", &[("WEIR_COOKIE_FILE", "/v")]).unwrap(),
        secret("f")
    );
    assert_eq!(
        cookie("--cookie-file /f", &[("WEIR_COOKIE", "v")]).unwrap(),
        SecretSource::File("/f".into())
    );
    let both = cookie("--cookie f --cookie-file /f", &[]).unwrap_err();
    assert_eq!(
        both,
        ["--cookie: given together with --cookie-file; accepted: one of them"]
    );
    assert_eq!(cookie("", &[("WEIR_COOKIE", " ")]).unwrap_err().len(), 1);
}

#[test]
fn a_data_dir_is_refused_wherever_it_is_given() {
    for (flags, variables) in [
        ("--data-dir /d", &[][..]),
        ("", &[("WEIR_DATA_DIR", "/d")][..]),
    ] {
        let lines = Told {
            flags,
            variables,
            file: "",
        }
        .check()
        .unwrap_err();
        assert!(lines[0].contains("not in this version"), "{lines:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weir.toml");
    let around = Surroundings {
        variable: &|_| None,
        host_name: "host".to_owned(),
        home: None,
    };
    let args = NodeArgs {
        config: Some(path.clone()),
        cookie: Some("c".to_owned()),
        ..NodeArgs::default()
    };
    let error = Config::load(&args, &around).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("reading the configuration {}", path.display())
    );

    fs::write(&path, "[node]\nname = \"from-file\"").unwrap();
    assert_eq!(Config::load(&args, &around).unwrap().node.name, "from-file");
}

/// A limit that is counted in Redis, and the section that follows.
fn redis_file(section: &str) -> String {
    format!("{LIMIT}strategy = \"redis\"\n{section}")
}

#[test]
fn each_limit_names_its_strategy() {
    let text = redis_file(
        r#"
        on_failure = "owner"
        [[limit]]
        name = "b"
        algorithm = "sliding_log"
        limit = 1
        per = "1s"
        strategy = "raft"
        [[limit]]
        name = "c"
        algorithm = "leaky_bucket"
        limit = 1
        per = "1s"
        strategy = "local"
        [redis]
        url = "redis://:secret@10.0.0.9:6379/1"
        timeout = "100ms"
        start_without_redis = true
        [raft]
        data_dir = "/var/lib/weir"
        "#,
    );
    let config = file(&text).unwrap();
    let strategies: Vec<_> = config.limits.iter().map(|limit| limit.strategy).collect();
    assert_eq!(
        strategies,
        [Strategy::Redis, Strategy::Raft, Strategy::Local]
    );
    assert_eq!(config.limits[0].on_failure, FailMode::Owner);
    let redis = config.redis.unwrap();
    assert_eq!(
        redis.servers,
        Servers::One("redis://:secret@10.0.0.9:6379/1".into())
    );
    assert_eq!(
        (redis.timeout, redis.start_without_redis),
        (Duration::from_millis(100), true)
    );
    assert_eq!(config.raft.data_dir, Some("/var/lib/weir".into()));

    let text = redis_file("[redis]\nurls = [\"redis://a\", \"rediss://b:1\"]");
    let redis = file(&text).unwrap().redis.unwrap();
    assert_eq!(
        redis.servers,
        Servers::Cluster(vec!["redis://a".into(), "rediss://b:1".into()])
    );
    assert_eq!(
        (redis.timeout, redis.start_without_redis),
        (Duration::from_millis(300), false)
    );
}

#[test]
fn a_mistake_about_redis_is_refused_at_its_place_and_without_its_password() {
    for (section, place, words) in [
        ("[redis]\n", "7: redis", "found neither url nor urls"),
        (
            "[redis]\nurl = \"http://u:secret@h\"",
            "8: redis.url",
            "found no address of a Redis; accepted: redis://",
        ),
        (
            "[redis]\nurl = \"redis://a\"\nurls = [\"redis://b\"]",
            "8: redis.url",
            "found both url and urls",
        ),
        (
            "[redis]\nurl = \"redis://a\"\ntimeout = \"0s\"",
            "9: redis.timeout",
            "from 1ms to 3s",
        ),
        (
            "[redis]\nurl = \"redis://a\"\nstart_without_redis = \"yes\"",
            "9: redis.start_without_redis",
            "accepted: true or false",
        ),
        (
            "[redis]\nurl = \"redis://a\"\nhost = \"b\"",
            "9: redis.host",
            "unknown key; accepted: url, urls, timeout, ca_file, start_without_redis",
        ),
        (
            "[redis]\nurl = \"redis://a\"\n[raft]\ndata_dir = \"\"",
            "10: raft.data_dir",
            "accepted: a directory",
        ),
    ] {
        let text = redis_file(section);
        check_refused(&text, place, words);
        let lines = file(&text).unwrap_err();
        assert!(!lines.concat().contains("secret"), "{lines:?}");
    }
}

#[test]
fn a_variable_says_where_redis_is() {
    let told = |file: &str, url: &str| {
        let variables = [("WEIR_REDIS_URL", url)];
        let told = Told {
            variables: &variables,
            file,
            ..Told::default()
        };
        told.check()
    };
    let file = redis_file("[redis]\nurl = \"redis://a\"\ntimeout = \"1s\"");
    let redis = told(&file, "redis://b").unwrap().redis.unwrap();
    assert_eq!(redis.servers, Servers::One("redis://b".into()));
    assert_eq!(redis.timeout, Duration::from_secs(1));
    let redis = told(&redis_file(""), "redis://b, redis://c").unwrap();
    assert_eq!(
        redis.redis.unwrap().servers,
        Servers::Cluster(vec!["redis://b".into(), "redis://c".into()])
    );
    let lines = told(&file, "http://:secret@b").unwrap_err();
    assert!(lines[0].starts_with("WEIR_REDIS_URL: "), "{lines:?}");
    assert!(!lines.concat().contains("secret"), "{lines:?}");
}
