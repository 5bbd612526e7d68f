//! Which Redis, and how it is used.

use std::fmt;
use std::time::Duration;

use redis::{ConnectionInfo, IntoConnectionInfo};

/// Default of [`RedisConfig::timeout`].
///
/// One lost packet is sent again after 200 ms, so that it does not cost a decision; and it is about what a caller of an
/// API waits before it looks broken.
const TIMEOUT: Duration = Duration::from_millis(300);

/// The longest timeout: an HTTP client has gone away by then.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// The longest prefix. It is stored with every counter.
const PREFIX_MAX: usize = 64;

/// Where the counters are.
#[derive(Clone, PartialEq, Eq)]
pub enum Servers {
    /// One Redis, or what stands in front of one: `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`, `rediss://` for TLS, or
    /// `redis+unix:///PATH`.
    One(String),
    /// A Redis Cluster: some of its nodes, from which the others are learned. Each as above, without a database.
    Cluster(Vec<String>),
}

impl fmt::Debug for Servers {
    // URLs hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_string())
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> = self
            .urls()
            .iter()
            .map(|url| without_password(url))
            .collect();
        f.write_str(&shown.join(", "))
    }
}

impl Servers {
    fn urls(&self) -> &[String] {
        match self {
            Self::One(url) => std::slice::from_ref(url),
            Self::Cluster(urls) => urls,
        }
    }
}

/// A Redis and how to use it. Holding one means that it was checked.
///
/// All nodes of a cluster must be given the same servers, prefix and secret: what differs counts apart.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    pub(crate) servers: Servers,
    pub(crate) infos: Vec<ConnectionInfo>,
    pub(crate) secret: Secret,
    pub(crate) timeout: Duration,
    pub(crate) start_without_redis: bool,
    pub(crate) prefix: String,
    pub(crate) authority: Option<Vec<u8>>,
}

/// The key of the hashes that name counters.
#[derive(Clone, Copy)]
pub(crate) struct Secret(pub(crate) [u8; 16]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl RedisConfig {
    /// A configuration with a timeout of 300 ms and the prefix `weir`, that does not start without Redis.
    ///
    /// A counter is called `PREFIX:{HASH}`, where the hash is that of [`quota::KeyHasher`] under `secret`: who reads
    /// Redis learns no key. The braces let Redis Cluster place all of a counter's data by the hash.
    ///
    /// # Errors
    ///
    /// [`RedisConfigError::Url`] for a URL that is none of Redis, [`RedisConfigError::NoServer`] for a Redis Cluster
    /// without any, and [`RedisConfigError::ClusterDatabase`].
    pub fn new(servers: Servers, secret: [u8; 16]) -> Result<Self, RedisConfigError> {
        let infos: Vec<_> = servers
            .urls()
            .iter()
            .map(|url| info(url))
            .collect::<Result<_, _>>()?;
        if infos.is_empty() {
            return Err(RedisConfigError::NoServer);
        }
        let in_cluster = matches!(servers, Servers::Cluster(_));
        if let Some(i) = infos
            .iter()
            .position(|info| info.redis_settings().db() != 0)
            && in_cluster
        {
            return Err(RedisConfigError::ClusterDatabase {
                given: without_password(&servers.urls()[i]),
            });
        }
        Ok(Self {
            servers,
            infos,
            secret: Secret(secret),
            timeout: TIMEOUT,
            start_without_redis: false,
            prefix: "weir".into(),
            authority: None,
        })
    }

    /// The same with another deadline, 1 ms to 30 s, by which every call has an answer or is given up.
    ///
    /// Longer rides out longer pauses of Redis and lets callers wait that long in each; a hit that is given up may have
    /// been counted.
    ///
    /// # Errors
    ///
    /// [`RedisConfigError::Timeout`] for a value outside of that.
    pub fn with_timeout(self, timeout: Duration) -> Result<Self, RedisConfigError> {
        if !(Duration::from_millis(1)..=TIMEOUT_MAX).contains(&timeout) {
            return Err(RedisConfigError::Timeout { given: timeout });
        }
        Ok(Self { timeout, ..self })
    }

    /// The same, but whether it starts while Redis cannot be used: limits then answer by their fail modes until it can.
    ///
    /// Without, a mistake in the configuration is found at start and not by the first hit.
    #[must_use]
    pub fn with_start_without_redis(self, start_without_redis: bool) -> Self {
        Self {
            start_without_redis,
            ..self
        }
    }

    /// The same with another beginning of the counters' names: for two clusters that share a Redis and a secret.
    ///
    /// # Errors
    ///
    /// [`RedisConfigError::Prefix`] unless it is 1 to 64 letters, digits, and `-`, `_`, `.` or `:`.
    pub fn with_prefix(self, prefix: &str) -> Result<Self, RedisConfigError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if !(1..=PREFIX_MAX).contains(&prefix.len()) || !prefix.chars().all(is_plain) {
            return Err(RedisConfigError::Prefix {
                given: prefix.into(),
            });
        }
        let prefix = prefix.into();
        Ok(Self { prefix, ..self })
    }

    /// The same, but certificates of `rediss://` servers are checked against these authorities, in PEM, and not against
    /// those of the operating system.
    ///
    /// # Errors
    ///
    /// [`RedisConfigError::Authority`] if there is no certificate in it.
    pub fn with_authority(self, pem: Vec<u8>) -> Result<Self, RedisConfigError> {
        use rustls::pki_types::{CertificateDer, pem::PemObject as _};
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        if !found.is_ok_and(|certificates| !certificates.is_empty()) {
            return Err(RedisConfigError::Authority);
        }
        Ok(Self {
            authority: Some(pem),
            ..self
        })
    }

    /// By when a call has an answer or is given up.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }
}

fn info(url: &str) -> Result<ConnectionInfo, RedisConfigError> {
    url.into_connection_info()
        .ok()
        .filter(|_| !url.ends_with("#insecure"))
        .ok_or_else(|| RedisConfigError::Url {
            given: without_password(url),
        })
}

/// The URL as it may be shown: all that stands before the host is left out.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        (None, Some((_, host))) => format!("***@{host}"),
        _ => url.into(),
    }
}

/// Why a configuration cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RedisConfigError {
    /// Not the URL of a Redis.
    #[error(
        "redis url is {given:?}, accepted: redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss://… for TLS"
    )]
    Url {
        /// The URL, without its password.
        given: String,
    },
    /// A Redis Cluster of which no node is named.
    #[error("redis urls is empty, accepted: the urls of one or more nodes of a Redis Cluster")]
    NoServer,
    /// A database of a Redis Cluster, which has but one.
    #[error("redis url is {given:?}, accepted in urls: no database, a Redis Cluster has but one")]
    ClusterDatabase {
        /// The URL, without its password.
        given: String,
    },
    /// A timeout too short or too long.
    #[error("redis timeout is {given:?}, accepted: 1ms to 30s")]
    Timeout {
        /// The timeout asked for.
        given: Duration,
    },
    /// A prefix that could be mistaken for something else in a key's name.
    #[error("redis prefix is {given:?}, accepted: 1 to 64 letters, digits, and any of -_.:")]
    Prefix {
        /// The prefix asked for.
        given: String,
    },
    /// No certificate of an authority.
    #[error("redis authority holds no certificate, accepted: one or more in PEM")]
    Authority,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(url: &str) -> Result<RedisConfig, RedisConfigError> {
        RedisConfig::new(Servers::One(url.into()), [7; 16])
    }

    fn cluster(urls: &[&str]) -> Result<RedisConfig, RedisConfigError> {
        let urls = urls.iter().map(|&url| url.into()).collect();
        RedisConfig::new(Servers::Cluster(urls), [7; 16])
    }

    #[test]
    fn a_url_names_a_redis() {
        for url in [
            "redis://localhost",
            "redis://10.0.0.1:6380/3",
            "redis://:secret@redis.internal:6379",
            "rediss://weir:secret@redis.internal",
            "redis+unix:///run/redis.sock",
        ] {
            assert!(one(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "localhost:6379",
            "http://localhost:6379",
            "redis://",
            "redis://localhost/tenth",
            "rediss://localhost/#insecure",
        ] {
            assert!(one(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_cluster_has_nodes_and_one_database() {
        assert!(cluster(&["redis://a", "redis://b:7000"]).is_ok());
        assert_eq!(cluster(&[]).unwrap_err(), RedisConfigError::NoServer);
        let error = cluster(&["redis://a", "redis://:pw@b/1"]).unwrap_err();
        assert!(matches!(error, RedisConfigError::ClusterDatabase { .. }));
    }

    #[test]
    fn no_password_is_shown() {
        let shown = [
            format!("{}", one("http://weir:hunter2@localhost").unwrap_err()),
            format!("{}", cluster(&["redis://:hunter2@b/1"]).unwrap_err()),
            format!("{:?}", one("redis://weir:hunter2@localhost").unwrap()),
            format!("{}", one("redis://weir:hunter2@localhost").unwrap().servers),
        ];
        for text in shown {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let config = || one("redis://localhost").unwrap();
        assert!(config().with_timeout(Duration::ZERO).is_err());
        assert!(config().with_timeout(Duration::from_secs(31)).is_err());
        assert!(config().with_prefix("").is_err());
        assert!(config().with_prefix("a{b}").is_err());
        assert!(config().with_prefix("weir:eu-1").is_ok());
        assert!(config().with_authority(b"none".to_vec()).is_err());
    }
}
