//! What a record says, by kind.

use coordinator::{FailMode, Strategy};
use quota::{Algorithm, Limit};

/// What a record is about. Names are unique within kind and namespace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A limit by name, as one of the file. Of two edits that did not see each other the newer stays, whole.
    Limit,
    /// A limit for one key: its name is the key. As above.
    KeyLimit,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Limit, Self::KeyLimit];

    /// Its name in logs, metrics, and under the hash of an address: fixed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::KeyLimit => "key_limit",
        }
    }
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// Of a [`Kind::Limit`].
    Limit(NamedLimit),
    /// Of a [`Kind::KeyLimit`].
    KeyLimit(KeyLimit),
}

impl Content {
    /// Of which kind it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Limit(_) => Kind::Limit,
            Self::KeyLimit(_) => Kind::KeyLimit,
        }
    }

    /// The limit, if it is one by name.
    #[must_use]
    pub const fn named_limit(&self) -> Option<NamedLimit> {
        match self {
            Self::Limit(limit) => Some(*limit),
            Self::KeyLimit(_) => None,
        }
    }

    /// The limit, if it is one for a single key.
    #[must_use]
    pub const fn key_limit(&self) -> Option<KeyLimit> {
        match self {
            Self::KeyLimit(limit) => Some(*limit),
            Self::Limit(_) => None,
        }
    }
}

/// A limit that people made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamedLimit {
    /// How many units, how often, counted how.
    pub limit: Limit,
    /// Whether whoever made it called its algorithm `token_bucket`.
    pub as_token_bucket: bool,
    /// Who counts.
    pub strategy: Strategy,
    /// What is answered when no decision can be had.
    pub on_failure: FailMode,
}

/// A limit for one key. It counts by the strategy `owner`, and fails closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyLimit {
    /// How many units, how often, counted how.
    pub limit: Limit,
    /// Whether whoever made it called its algorithm `token_bucket`.
    pub as_token_bucket: bool,
}

impl NamedLimit {
    /// The algorithm's name as it was written.
    #[must_use]
    pub const fn algorithm(&self) -> &'static str {
        written(self.limit.algorithm(), self.as_token_bucket)
    }
}

impl KeyLimit {
    /// The algorithm's name as it was written.
    #[must_use]
    pub const fn algorithm(&self) -> &'static str {
        written(self.limit.algorithm(), self.as_token_bucket)
    }
}

const fn written(algorithm: Algorithm, as_token_bucket: bool) -> &'static str {
    match (algorithm, as_token_bucket) {
        (Algorithm::Gcra, true) => "token_bucket",
        (algorithm, _) => algorithm.name(),
    }
}
