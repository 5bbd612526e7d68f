//! What is told of the most denied keys.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

/// What a limit has decided of one key that it denies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopKey {
    /// As clients gave it.
    pub key: Arc<str>,
    /// Hits that were allowed, at least: as long as it stood in the table.
    pub allowed: u64,
    /// Hits that were denied, at most.
    pub denied: u64,
    /// By how many `denied` may be too large.
    pub error: u64,
}

/// The most denied keys of a limit.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TopKeys {
    /// The most denied first.
    pub keys: Vec<TopKey>,
    /// How often any other key was denied, at most.
    pub rest: u64,
}

/// What is known of one key by those who tell of it.
#[derive(Default)]
struct Sum {
    allowed: u64,
    denied: u64,
    error: u64,
    /// The [`rest`](TopKeys::rest) of those who tell of it.
    rest: u64,
}

impl TopKeys {
    /// What several tell, of slots or of nodes, as one.
    #[must_use]
    pub fn together(told: impl IntoIterator<Item = Self>) -> Self {
        let mut sums: HashMap<Arc<str>, Sum> = HashMap::new();
        let mut rest = 0_u64;
        for told in told {
            rest = rest.saturating_add(told.rest);
            for TopKey {
                key,
                allowed,
                denied,
                error,
            } in told.keys
            {
                let sum = sums.entry(key).or_default();
                sum.allowed = sum.allowed.saturating_add(allowed);
                sum.denied = sum.denied.saturating_add(denied);
                sum.error = sum.error.saturating_add(error);
                sum.rest = sum.rest.saturating_add(told.rest);
            }
        }
        let keys = sums.into_iter().map(|(key, sum)| {
            // By those who do not tell of it, it was denied so often at most.
            let unseen = rest.saturating_sub(sum.rest);
            TopKey {
                key,
                allowed: sum.allowed,
                denied: sum.denied.saturating_add(unseen),
                error: sum.error.saturating_add(unseen),
            }
        });
        let mut keys: Vec<_> = keys.collect();
        keys.sort_by(|one, other| one.rank().cmp(&other.rank()));
        Self { keys, rest }
    }

    /// As many keys of it: the first ones.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        if let Some(dropped) = self.keys.get(count) {
            self.rest = self.rest.max(dropped.denied);
        }
        self.keys.truncate(count);
        self
    }
}

impl TopKey {
    /// Of those of which as much is told, the surer comes first.
    fn rank(&self) -> (Reverse<u64>, u64, &str) {
        (Reverse(self.denied), self.error, &self.key)
    }
}
