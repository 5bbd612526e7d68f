//! What a record says, by kind.

use std::sync::Arc;

use accounts::{ApiKey, Tenant};
use coordinator::{FailMode, Strategy};
use quota::{Algorithm, Limit};

/// What a record is about. Names are unique within kind and namespace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A limit by name, as one of the file.
    Limit,
    /// A limit for one key: its name is the key.
    KeyLimit,
    /// A tenant: its name is its id. In the namespace [`SERVICE`].
    Tenant,
    /// An API key: its name is its id. In the namespace [`SERVICE`], and listed in that of its tenant.
    ApiKey,
}

/// The namespace of records that are found by an id alone, whosever they are.
pub const SERVICE: &str = "@service";

/// What becomes of two writes of which neither had seen the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// The newer stays, whole.
    Newer,
    /// Both count, and whatever either forbids is forbidden.
    GrantsLess,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Limit, Self::KeyLimit, Self::Tenant, Self::ApiKey];

    /// Its name in logs, metrics, and under the hash of an address: fixed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::KeyLimit => "key_limit",
            Self::Tenant => "tenant",
            Self::ApiKey => "api_key",
        }
    }

    /// What becomes of two writes of a record of this kind of which neither had seen the other.
    #[must_use]
    pub const fn rule(self) -> Rule {
        match self {
            Self::Limit | Self::KeyLimit => Rule::Newer,
            Self::Tenant | Self::ApiKey => Rule::GrantsLess,
        }
    }

    /// The namespace of the addresses of what is listed in `namespace`.
    #[must_use]
    pub const fn namespace(self, namespace: &str) -> &str {
        match self {
            Self::Limit | Self::KeyLimit => namespace,
            Self::Tenant | Self::ApiKey => SERVICE,
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
    /// Of a [`Kind::Tenant`].
    Tenant(Arc<Tenant>),
    /// Of a [`Kind::ApiKey`].
    ApiKey(Arc<ApiKey>),
}

impl Content {
    /// Of which kind it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Limit(_) => Kind::Limit,
            Self::KeyLimit(_) => Kind::KeyLimit,
            Self::Tenant(_) => Kind::Tenant,
            Self::ApiKey(_) => Kind::ApiKey,
        }
    }

    /// The limit, if it is one by name.
    #[must_use]
    pub const fn named_limit(&self) -> Option<NamedLimit> {
        match self {
            Self::Limit(limit) => Some(*limit),
            _ => None,
        }
    }

    /// The limit, if it is one for a single key.
    #[must_use]
    pub const fn key_limit(&self) -> Option<KeyLimit> {
        match self {
            Self::KeyLimit(limit) => Some(*limit),
            _ => None,
        }
    }

    /// The tenant, if it is one.
    #[must_use]
    pub const fn tenant(&self) -> Option<&Arc<Tenant>> {
        match self {
            Self::Tenant(tenant) => Some(tenant),
            _ => None,
        }
    }

    /// The API key, if it is one.
    #[must_use]
    pub const fn api_key(&self) -> Option<&Arc<ApiKey>> {
        match self {
            Self::ApiKey(key) => Some(key),
            _ => None,
        }
    }

    /// What two writes say together that did not see each other: a removal, or what grants no more than either. In any
    /// order and however often, it comes to the same. Of contents of [`Rule::GrantsLess`].
    pub(crate) fn together(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        Some(match (one?, other?) {
            (Self::Tenant(one), Self::Tenant(other)) => Self::Tenant(one.meet(&other).into()),
            (Self::ApiKey(one), Self::ApiKey(other)) => Self::ApiKey(one.meet(&other).into()),
            // Contents of one record are of one kind, and those of the others are never two.
            (one, _) => one,
        })
    }

    /// The namespace in which it is listed, if not that of its address.
    pub(crate) fn listed_in(&self) -> Option<Arc<str>> {
        self.api_key().map(|key| key.tenant.to_string().into())
    }

    /// About how many bytes it takes in a message: no less than it does.
    pub(crate) fn weight(&self) -> usize {
        match self {
            // At most some 40 bytes with everything that belongs to it.
            Self::Limit(_) | Self::KeyLimit(_) => 64,
            // Three names of bounded length, with their times.
            Self::Tenant(tenant) => 96 + tenant.name.get().as_str().len(),
            Self::ApiKey(key) => 192 + key.name.get().len() + key.made_by.len(),
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
