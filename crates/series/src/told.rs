//! What nodes ask and tell each other of what they have decided.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Point, TopKeys, Total, Window};

/// What one node asks another.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Asked {
    /// What was decided of these namespaces since then?
    Since {
        /// The last second that the asked has told of. `None`: of its last second alone.
        after: Option<u32>,
        /// Which.
        namespaces: Vec<Arc<str>>,
    },
    /// What was decided in a window?
    Points {
        /// Of which namespace.
        namespace: Arc<str>,
        /// Of which limit. `None`: of all, and what each has decided in sum.
        limit: Option<Arc<str>>,
        /// How far back.
        window: Window,
    },
    /// Which keys has a limit denied most in the last hour?
    Top {
        /// Of which namespace.
        namespace: Arc<str>,
        /// Which limit.
        limit: Arc<str>,
    },
}

/// What it is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// What was decided until then.
    Since {
        /// The last second of which this tells, by the clock of whoever tells.
        until: u32,
        /// In the order of the namespaces.
        samples: Vec<Sample>,
    },
    /// What was decided in a window.
    Points {
        /// In the order of their time.
        points: Vec<Point>,
        /// What limits have decided in sum, in no order.
        limits: Vec<NamedTotal>,
        /// What was decided for API keys in sum, in no order.
        api_keys: Vec<NamedTotal>,
    },
    /// The keys that a limit has denied most.
    Top(TopKeys),
}

/// What was decided of a namespace in a short while.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Sample {
    /// Of all its limits.
    pub all: Total,
    /// Of those that have decided anything, in no order.
    pub limits: Vec<NamedTotal>,
}

/// What was decided under one name: by a limit, or for an API key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedTotal {
    /// That of the limit, or the id of the API key.
    pub name: Arc<str>,
    /// What was decided.
    pub total: Total,
}

impl Sample {
    /// With what another node has decided.
    pub fn add(&mut self, other: Self) {
        self.all = self.all.with(other.all);
        self.limits.extend(other.limits);
    }
}

/// As many limits, or API keys, as that: the busiest, each with what all nodes have told of it, the busiest first.
#[must_use]
pub fn busiest(limits: impl IntoIterator<Item = NamedTotal>, count: usize) -> Vec<NamedTotal> {
    let mut all: BTreeMap<Arc<str>, Total> = BTreeMap::new();
    for NamedTotal { name, total } in limits {
        let known = all.entry(name).or_default();
        *known = known.with(total);
    }
    let mut limits: Vec<_> = all
        .into_iter()
        .map(|(name, total)| NamedTotal { name, total })
        .collect();
    limits.sort_by_key(|limit| std::cmp::Reverse(limit.total.decisions()));
    limits.truncate(count);
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_are_those_of_all_nodes() {
        let limit = |name: &str, allowed| NamedTotal {
            name: name.into(),
            total: Total {
                allowed,
                ..Total::default()
            },
        };
        let told = [limit("a", 4), limit("b", 3), limit("c", 1), limit("b", 2)];
        let busiest = busiest(told, 2);
        assert_eq!(busiest, [limit("b", 5), limit("a", 4)]);
    }
}
