//! What a file says, and what it means.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use clap::Parser as _;
use coordinator::{FailMode, Strategy};
use coordinator_redis::Servers;
use quota::{Algorithm, Anchor, Calendar, CalendarUnit, Limit, Nanos};
use shard::Partition;

use super::node::{LogFormat, SecretSource, Seed};
use super::*;
use crate::cli::{Cli, Command};
use ::node::config::cluster::Ack;
use ::node::config::memory::MemoryMax;
use ::node::config::routes::{Answer, Identify};

mod grpc;
mod layers;
mod mistakes;
mod reference;
mod strategies;

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
    assert_eq!(config.node.redis, None);
    assert_eq!(config.node.cluster, "127.0.0.1:0".parse().unwrap());
    assert_eq!(config.node.advertise, config.node.cluster);
    assert_eq!(
        config.node.cookie,
        SecretSource::Default("/home/weir/.weir.cookie".into())
    );
    assert_eq!(
        (config.shared.cluster.replicas, config.shared.cluster.ack),
        (2, Ack::Fast)
    );
    assert_eq!(
        (
            config.shared.cluster.max_lag.as_millis(),
            config.shared.cluster.partition
        ),
        (250, Partition::Available)
    );
    assert_eq!(config.shared.cluster.forget_after.as_secs(), 3_600);
    assert_eq!(config.shared.cluster.max_keys, 20_000_000);
    assert_eq!(config.shared.cluster.max_memory, MemoryMax::Percent(25));
    assert!(config.shared.limits.is_empty() && config.shared.routes.is_empty());
}

#[test]
fn the_built_in_example_is_valid() {
    let config = file(EXAMPLE).unwrap();
    let limits: Vec<_> = config
        .shared
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
        .shared
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
        redis = "0.0.0.0:6379"
        metrics = "0.0.0.0:9100"
        cluster = "0.0.0.0:4100"
        advertise = "10.0.0.1:4100"
        join = ["10.0.0.2:4100", "dns:weir.internal:4100"]
        zone = "vie-1"
        drain_wait = "5s"
        api_token_file = "/t"
        log = "json"
        [cluster]
        replicas = 1
        ack = "replicated"
        max_lag = "0s"
        partition = "quorum"
        forget_after = "10m"
        trusted_proxies = ["10.0.0.0/8", "fd00::/8", "192.0.2.1"]
        max_keys = 1_000
        max_memory = "512MiB"
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
        [[limit]]
        name = "m"
        algorithm = "fixed_window"
        limit = 3
        anchor = "month"
        zone = "Europe/Vienna"
        strategy = "local"
        [[limit]]
        name = "d"
        algorithm = "fixed_window"
        limit = 3
        anchor = "day"
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
    assert_eq!(node.drain_wait.as_secs(), 5);
    assert_eq!(node.cookie, SecretSource::File("/c".into()));
    assert_eq!(node.api_token, Some(SecretSource::File("/t".into())));
    assert_eq!((node.http.port(), node.cluster.port()), (80, 4100));
    assert_eq!(node.redis, Some("0.0.0.0:6379".parse().unwrap()));
    assert_eq!(node.metrics, Some("0.0.0.0:9100".parse().unwrap()));
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
        (
            config.shared.cluster.replicas,
            config.shared.cluster.max_keys
        ),
        (1, 1_000)
    );
    assert_eq!(
        config.shared.cluster.max_memory,
        MemoryMax::Bytes(512 << 20)
    );
    assert_eq!(
        (config.shared.cluster.ack, config.shared.cluster.partition),
        (Ack::Replicated, Partition::Quorum)
    );
    let prefixes: Vec<u8> = config
        .shared
        .cluster
        .trusted_proxies
        .iter()
        .map(|network| network.prefix)
        .collect();
    assert_eq!(prefixes, [8, 8, 32]);
    let [w, b, m, d] = &config.shared.limits[..] else {
        panic!("four limits")
    };
    let of_calendar = |unit, zone: &str| {
        let zone = zone.parse().unwrap();
        Limit::of_calendar(3, Calendar { unit, zone }).unwrap()
    };
    assert_eq!(m.limit, of_calendar(CalendarUnit::Month, "Europe/Vienna"));
    assert_eq!(d.limit, of_calendar(CalendarUnit::Day, "UTC"));
    assert_eq!(
        (w.limit.anchor(), w.on_failure),
        (Anchor::FirstHit, FailMode::Allow)
    );
    assert_eq!(
        (b.limit.burst(), b.limit.period(), b.on_failure),
        (20, Nanos::from_millis(500), FailMode::Deny)
    );
    assert_eq!(config.shared.routes[0].identify.len(), 5);
    assert_eq!(
        config.shared.routes[0].identify[0],
        Identify::Header("X-Id".to_owned())
    );
}
