//! The keys that the demo's clients hit, and the configuration they are limited by.

use std::sync::LazyLock;

/// What the three nodes are configured with.
pub(crate) const CONFIG: &str = include_str!("../../../../demo/replicated.toml");

/// A key, and how much of it there is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    /// Name of its limit in [`CONFIG`].
    pub(crate) limit_name: &'static str,
    /// Units that it has.
    pub(crate) limit: u64,
    /// Safe in a URL and in JSON.
    pub(crate) name: String,
}

/// Limit, units, and keys. Forty keys spread over three owners so that none is left without some.
const KINDS: [(&str, u64, usize); 3] = [
    ("orders", 100_000, 24),
    ("logins", 120, 8),
    ("signups", 20, 8),
];

/// Every key of the demo.
pub(crate) static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let keys = KINDS.iter().flat_map(|&(limit_name, limit, keys)| {
        (0..keys).map(move |number| Key {
            limit_name,
            limit,
            name: format!("user{number}"),
        })
    });
    keys.collect()
});

/// The key of the `number`th hit of a client that takes all in turn, with a start of its own.
///
/// 17 has no factor in common with forty keys, so that each has its turn and kinds are mixed.
pub(crate) fn in_turn(start: usize, number: usize) -> usize {
    (start + 17 * number) % KEYS.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::NodeArgs;
    use crate::config::{Config, Surroundings};
    use ::node::config::cluster::Ack;

    #[test]
    fn the_configuration_has_the_limits_of_the_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("demo.toml");
        std::fs::write(&path, CONFIG).unwrap();
        let args = NodeArgs {
            config: Some(path),
            cookie: Some("c".to_owned()),
            ..NodeArgs::default()
        };
        let around = Surroundings {
            variable: &|_| None,
            host_name: "host".to_owned(),
            home: None,
        };
        let config = Config::load(&args, &around).unwrap();
        assert_eq!(config.shared.cluster.ack, Ack::Replicated);
        for (name, units, _) in KINDS {
            let policy = config
                .shared
                .limits
                .iter()
                .find(|limit| &*limit.name == name);
            assert_eq!(u64::from(policy.unwrap().limit.burst()), units, "{name}");
        }
    }

    #[test]
    fn every_key_has_its_turn() {
        let mut hit: Vec<usize> = (0..KEYS.len()).map(|number| in_turn(3, number)).collect();
        hit.sort_unstable();
        assert_eq!(hit, (0..KEYS.len()).collect::<Vec<_>>());
    }
}
