//! `[redis]`: the server in which limits with `strategy = "redis"` are counted.

use std::time::Duration;

use coordinator::{Policy, Strategy};

use super::problem::{Given, Problems};
use super::span;
use super::table::Table;

/// Where the shared counts are, and how long is waited for them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RedisConfig {
    /// One server, or some of the nodes of a Redis Cluster. Checked by whoever connects.
    pub(crate) servers: RedisServers,
    /// A call takes no longer; then its hit is answered by the limit's `on_failure`.
    ///
    /// Default 300 ms: some hundred times what a server of the same data centre takes, and short enough that a client
    /// notices no more than a hesitation before the breaker opens.
    pub(crate) timeout: Duration,
    /// Start although Redis is away. Default false: a typing error in the address should be seen at once.
    pub(crate) start_without_redis: bool,
}

/// How many servers there are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum RedisServers {
    /// `url`.
    One(String),
    /// `urls`: a Redis Cluster, found through any of its nodes.
    Cluster(Vec<String>),
}

const TIMEOUT_DEFAULT: Duration = Duration::from_millis(300);
/// Below the 3.5 s after which a hit is given up anyway.
const TIMEOUT_MAX: Duration = Duration::from_secs(3);
const URL_ACCEPTED: &str = "redis://[USER:PASSWORD@]HOST[:PORT][/DB], or rediss:// for TLS";

/// Reads `[redis]`. `None` without the section, or (a problem) without an address.
pub(super) fn read(table: Option<Table<'_>>, problems: &mut Problems) -> Option<RedisConfig> {
    let mut table = table?;
    let servers = read_servers(&mut table, problems);
    let timeout = table.string("timeout", problems).and_then(|given| {
        let accepted = format!("{}, from 1ms to 3s", span::ACCEPTED);
        problems.parse(&given, &accepted, |text| {
            let bounds = Duration::from_millis(1)..=TIMEOUT_MAX;
            span::parse(text).filter(|timeout| bounds.contains(timeout))
        })
    });
    let start_without_redis = table.boolean("start_without_redis", problems);
    table.finish(problems);
    Some(RedisConfig {
        servers: servers?,
        timeout: timeout.unwrap_or(TIMEOUT_DEFAULT),
        start_without_redis: start_without_redis.unwrap_or(false),
    })
}

fn read_servers(table: &mut Table<'_>, problems: &mut Problems) -> Option<RedisServers> {
    let url = table.string("url", problems);
    let urls = table.strings("urls", problems);
    match (url, urls.is_empty()) {
        (Some(url), true) => read_url(&url, problems).map(RedisServers::One),
        (None, false) => {
            let read = urls.iter().map(|url| read_url(url, problems));
            let read: Vec<Option<String>> = read.collect();
            read.into_iter()
                .collect::<Option<_>>()
                .map(RedisServers::Cluster)
        }
        (Some(url), false) => {
            let accepted = "url for one server, or urls for a Redis Cluster";
            problems.add(&url.place, "found both url and urls", accepted);
            None
        }
        (None, true) => {
            problems.add(&table.place(), "found neither url nor urls", URL_ACCEPTED);
            None
        }
    }
}

/// A URL may hold a password, so what is wrong with one is told without it.
fn read_url(given: &Given<String>, problems: &mut Problems) -> Option<String> {
    let schemes = ["redis://", "rediss://"];
    let rest = schemes
        .iter()
        .find_map(|scheme| given.value.strip_prefix(scheme));
    if rest.is_none_or(str::is_empty) {
        problems.add(&given.place, "found no address of a Redis", URL_ACCEPTED);
        return None;
    }
    Some(given.value.clone())
}

/// Notes the limits that are counted in a Redis of which nothing is known.
pub(super) fn check_needed(limits: &[Policy], has_redis: bool, problems: &mut Problems) {
    let counted = limits.iter().filter(|p| p.strategy == Strategy::Redis);
    for policy in counted.filter(|_| !has_redis) {
        let place = format!("limit {:?}", &*policy.name);
        problems.add(&place, "strategy \"redis\" without a section [redis]", URL_ACCEPTED);
    }
}
