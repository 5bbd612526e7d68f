//! `[redis]`: the server in which limits with `strategy = "redis"` are counted.

use std::path::PathBuf;
use std::time::Duration;

use coordinator_redis::Servers;

use super::problem::{Given, Problems};
use super::span;
use super::table::Table;

/// Where the shared counts are, and how long is waited for them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedisConfig {
    /// One server, or some of the nodes of a Redis Cluster. Checked by whoever connects.
    pub servers: Servers,
    /// A call takes no longer; then its hit is answered by the limit's `on_failure`.
    ///
    /// Default 300 ms: some hundred times what a server of the same data centre takes, and short enough that a client
    /// notices no more than a hesitation before the breaker opens.
    pub timeout: Duration,
    /// Certificates in PEM of whoever signs that of the server, besides those that everybody trusts.
    pub ca_file: Option<PathBuf>,
    /// Start although Redis is away. Default false: a typing error in the address should be seen at once.
    pub start_without_redis: bool,
}

const TIMEOUT_DEFAULT: Duration = Duration::from_millis(300);
/// Below the 3.5 s after which a hit is given up anyway.
const TIMEOUT_MAX: Duration = Duration::from_secs(3);
const URL_ACCEPTED: &str = "redis://[USER:PASSWORD@]HOST[:PORT][/DB], or rediss:// for TLS";

/// Takes the place of `url` and `urls`: an address may hold a password, which not everybody wants in a file. Several,
/// between commas, are nodes of a Redis Cluster.
pub const VARIABLE: &str = "WEIR_REDIS_URL";

/// Reads `[redis]`. `None` without the section and the variable, or (a problem) without an address.
pub(crate) fn read(
    table: Option<Table<'_>>,
    variable: Option<String>,
    problems: &mut Problems,
) -> Option<RedisConfig> {
    let Some(mut table) = table else {
        return Some(RedisConfig {
            servers: read_variable(&variable?, problems)?,
            timeout: TIMEOUT_DEFAULT,
            ca_file: None,
            start_without_redis: false,
        });
    };
    let servers = match variable {
        Some(variable) => {
            table.passed_over(&["url", "urls"]);
            read_variable(&variable, problems)
        }
        None => read_servers(&mut table, problems),
    };
    let timeout = table.string("timeout", problems).and_then(|given| {
        let accepted = format!("{}, from 1ms to 3s", span::ACCEPTED);
        problems.parse(&given, &accepted, |text| {
            let bounds = Duration::from_millis(1)..=TIMEOUT_MAX;
            span::parse(text).filter(|timeout| bounds.contains(timeout))
        })
    });
    let ca_file = table.string("ca_file", problems);
    let start_without_redis = table.boolean("start_without_redis", problems);
    table.finish(problems);
    Some(RedisConfig {
        servers: servers?,
        timeout: timeout.unwrap_or(TIMEOUT_DEFAULT),
        ca_file: ca_file.map(|given| PathBuf::from(given.value)),
        start_without_redis: start_without_redis.unwrap_or(false),
    })
}

fn read_variable(text: &str, problems: &mut Problems) -> Option<Servers> {
    let given = |url: &str| Given {
        value: url.trim().to_owned(),
        place: VARIABLE.to_owned(),
    };
    let urls: Vec<Option<String>> = text
        .split(',')
        .map(|url| read_url(&given(url), problems))
        .collect();
    let mut urls: Vec<String> = urls.into_iter().collect::<Option<_>>()?;
    Some(match urls.len() {
        1 => Servers::One(urls.remove(0)),
        _ => Servers::Cluster(urls),
    })
}

fn read_servers(table: &mut Table<'_>, problems: &mut Problems) -> Option<Servers> {
    let url = table.string("url", problems);
    let urls = table.strings("urls", problems);
    match (url, urls.is_empty()) {
        (Some(url), true) => read_url(&url, problems).map(Servers::One),
        (None, false) => {
            let read = urls.iter().map(|url| read_url(url, problems));
            let read: Vec<Option<String>> = read.collect();
            read.into_iter()
                .collect::<Option<_>>()
                .map(Servers::Cluster)
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
    let servers = Servers::One(given.value.clone());
    match coordinator_redis::RedisConfig::new(servers, [0; 16]) {
        Ok(_) => Some(given.value.clone()),
        Err(_) => {
            problems.add(&given.place, "found no address of a Redis", URL_ACCEPTED);
            None
        }
    }
}
