//! Limits that people make at run time: by name, and for single keys.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use catalogue::{ChangeError, Changed, Content, KeyLimit, NamedLimit, NotChanged};
use coordinator::{FailMode, Policy, Readiness, Strategy};
use quota::Nanos;

use crate::{KEY_LIMITS, Key, Kind, Limiter, Node, Refusal, Selected};

/// Limits made at run time that are remembered with what fronts need of them. Others are put together for each hit, which
/// takes a microsecond longer.
const MADE_MAX: usize = 1_024;

/// Limits made at run time that this node was asked for.
pub(crate) struct Made {
    namespace: Arc<str>,
    known: ArcSwap<HashMap<Arc<str>, (NamedLimit, Selected)>>,
}

impl Made {
    /// None yet. They count in `namespace`.
    pub(crate) fn new(namespace: Arc<str>) -> Self {
        Self {
            namespace,
            known: ArcSwap::default(),
        }
    }

    fn select(&self, name: &str, limit: NamedLimit) -> Selected {
        let known = self.known.load();
        if let Some((_, selected)) = known.get(name).filter(|(known, _)| *known == limit) {
            return selected.clone();
        }
        let name: Arc<str> = name.into();
        let selected = Selected::named(Policy {
            namespace: self.namespace.clone(),
            name: name.clone(),
            limit: limit.limit,
            strategy: limit.strategy,
            on_failure: limit.on_failure,
        });
        if known.len() < MADE_MAX || known.contains_key(&name) {
            self.known.rcu(|known| {
                let mut known = HashMap::clone(known);
                known.insert(name.clone(), (limit, selected.clone()));
                known
            });
        }
        selected
    }
}

impl<N: Node> Limiter<N> {
    /// The limit of that name: of the file, or made at run time.
    ///
    /// # Errors
    ///
    /// [`Kind::UnknownLimit`] if there is none; [`Kind::NoDecision`] while the node joins, since there may be one that the
    /// others will tell.
    #[inline]
    pub fn find(&self, name: &str) -> Result<Cow<'_, Selected>, Refusal> {
        match self.of_file(name) {
            Some(selected) => Ok(Cow::Borrowed(selected)),
            None => {
                let limit = self.named_limit(name)?;
                Ok(Cow::Owned(self.made().select(name, limit)))
            }
        }
    }

    /// The limit that was made at run time under `name`.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub fn named_limit(&self, name: &str) -> Result<NamedLimit, Refusal> {
        let node = self.node();
        node.named_limit(name)
            .ok_or_else(|| match node.readiness() {
                Readiness::Joining => Refusal::joining(),
                _ => Refusal::unknown_limit(name),
            })
    }

    /// Makes or changes the limit `name`, and returns when every live member has it, or after a second with those who
    /// have not.
    ///
    /// # Errors
    ///
    /// [`Kind::DefinedInFile`] if it is the file's; [`Kind::InvalidRequest`] for a strategy that no node starts at run time;
    /// and when it could not be changed. Nothing was changed then, on any node.
    pub async fn set_limit(&self, name: &str, limit: NamedLimit) -> Result<Changed, Refusal> {
        self.may_change(name)?;
        if !matches!(limit.strategy, Strategy::Owner | Strategy::Local) {
            return Err(Refusal::field(
                "strategy",
                limit.strategy.name(),
                "owner or local; redis and raft are started for limits of the file alone",
            ));
        }
        if limit.on_failure == FailMode::Owner {
            let accepted = "deny or allow; owner is for limits that Redis counts";
            return Err(Refusal::field("on_failure", "owner", accepted));
        }
        let changed = self.node().set(name, Content::Limit(limit)).await;
        changed.map_err(Refusal::from)
    }

    /// Removes the limit `name` that was made at run time.
    ///
    /// # Errors
    ///
    /// [`Kind::DefinedInFile`], [`Kind::UnknownLimit`], and when it could not be changed. Nothing was changed then.
    pub async fn remove_limit(&self, name: &str) -> Result<Changed, Refusal> {
        self.may_change(name)?;
        let removed = self.node().remove(catalogue::Kind::Limit, name).await?;
        removed.ok_or_else(|| Refusal::unknown_limit(name))
    }

    /// Refuses a limit that is the file's.
    ///
    /// # Errors
    ///
    /// [`Kind::DefinedInFile`].
    pub fn may_change(&self, name: &str) -> Result<(), Refusal> {
        if self.of_file(name).is_none() {
            return Ok(());
        }
        let detail = "this limit is defined in the file: change it there";
        Err(Refusal::new(Kind::DefinedInFile, detail)
            .at("name")
            .with_given(name))
    }

    /// The limit that was set for this one key, as it counts.
    ///
    /// # Errors
    ///
    /// As [`stored_key_limit`](Self::stored_key_limit).
    pub fn key_limit(&self, key: &Key<'_>) -> Result<Selected, Refusal> {
        let limit = self.stored_key_limit(key)?.limit;
        let policy = Policy {
            namespace: self.made().namespace.clone(),
            name: KEY_LIMITS.into(),
            limit,
            strategy: Strategy::Owner,
            on_failure: FailMode::Deny,
        };
        Ok(Selected::shown_as(policy, "key"))
    }

    /// The limit that was set for this one key.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`] if none was; [`Kind::NoDecision`] while the node joins, since it may have one that the others
    /// will tell.
    pub fn stored_key_limit(&self, key: &Key<'_>) -> Result<KeyLimit, Refusal> {
        let node = self.node();
        let limit = node.key_limit(key.as_str());
        limit.ok_or_else(|| match node.readiness() {
            Readiness::Joining => Refusal::joining(),
            _ => no_key_limit(key),
        })
    }

    /// Sets a limit for one key, replacing an earlier one; as [`set_limit`](Self::set_limit).
    ///
    /// # Errors
    ///
    /// When it could not be changed. Nothing was changed then, on any node.
    pub async fn set_key_limit(&self, key: &Key<'_>, limit: KeyLimit) -> Result<Changed, Refusal> {
        let changed = self
            .node()
            .set(key.as_str(), Content::KeyLimit(limit))
            .await;
        changed.map_err(Refusal::from)
    }

    /// Removes the limit of one key.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`], and when it could not be changed. Nothing was changed then.
    pub async fn remove_key_limit(&self, key: &Key<'_>) -> Result<Changed, Refusal> {
        let removed = self.node().remove(catalogue::Kind::KeyLimit, key.as_str());
        removed.await?.ok_or_else(|| no_key_limit(key))
    }
}

fn no_key_limit(key: &Key<'_>) -> Refusal {
    Refusal::new(Kind::NotFound, "no limit has been set for this key")
        .at("key")
        .with_given(key.as_str())
        .with_accepted("a key that POST /api/limits was given")
}

impl From<NotChanged> for Refusal {
    fn from(error: NotChanged) -> Self {
        let (kind, seconds) = match error {
            NotChanged::NoRoom(ChangeError::Busy) => (Kind::Overloaded, 1),
            NotChanged::NoRoom(ChangeError::Full) => (Kind::Overloaded, 60),
            NotChanged::NoRoom(ChangeError::Address(_)) => {
                return Self::new(Kind::InvalidRequest, error.to_string()).at("name");
            }
            NotChanged::NoQuorum | NotChanged::Joining => (Kind::NoDecision, 1),
            NotChanged::Draining => (Kind::Draining, 1),
        };
        Self::new(kind, error.to_string()).with_retry_after(Nanos::from_secs(seconds))
    }
}
