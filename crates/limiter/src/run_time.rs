//! Limits that people make at run time: by name, and for single keys.

use std::sync::Arc;

use accounts::Plan;
use catalogue::{ChangeError, Changed, Content, KeyLimit, NamedLimit, NotChanged};
use coordinator::{FailMode, Policy, Readiness, Strategy};
use quota::{Limit, Nanos};

use crate::remembered::{Remembered, WhenFull};
use crate::{Given, KEY_LIMITS, Key, Kind, Limiter, Node, Refusal, Selected};

/// Limits made at run time that this node was asked for.
pub(crate) struct Made {
    namespace: Arc<str>,
    by_name: Remembered<Arc<str>>,
    /// Of single keys: those with the same limit share one.
    of_keys: Remembered<Limit>,
}

impl Made {
    /// None yet. They count in `namespace`.
    pub(crate) fn new(namespace: Arc<str>) -> Self {
        Self {
            namespace,
            by_name: Remembered::new(WhenFull::Replaces),
            of_keys: Remembered::new(WhenFull::Replaces),
        }
    }

    /// The limit of that name, which is `limit` now. `None`: there is none, or none any more.
    fn select(&self, name: &str, limit: Option<NamedLimit>) -> Option<Selected> {
        let Some(limit) = limit else {
            // Others want its room.
            self.by_name.forget(name);
            return None;
        };
        let is_same = |known: &Selected| {
            let known = known.policy();
            (
                known.limit,
                known.strategy,
                known.on_failure,
                known.top_keys,
            ) == (
                limit.limit,
                limit.strategy,
                limit.on_failure,
                limit.top_keys,
            )
        };
        if let Some(selected) = self.by_name.get(name).filter(is_same) {
            return Some(selected);
        }
        let name: Arc<str> = name.into();
        let selected = Selected::named(Policy {
            namespace: self.namespace.clone(),
            name: name.clone(),
            limit: limit.limit,
            strategy: limit.strategy,
            on_failure: limit.on_failure,
            top_keys: limit.top_keys,
        });
        Some(self.by_name.keep(name, selected))
    }

    fn select_of_key(&self, limit: Limit) -> Selected {
        let policy = |&limit: &Limit| Policy {
            namespace: self.namespace.clone(),
            name: KEY_LIMITS.into(),
            limit,
            strategy: Strategy::Owner,
            on_failure: FailMode::Deny,
            top_keys: false,
        };
        self.of_keys
            .select(limit, |limit| Selected::shown_as(policy(limit), "key"))
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
    pub fn find(&self, name: &str) -> Result<Selected, Refusal> {
        match self.of_file(name) {
            Some(selected) => Ok(selected),
            None => {
                let limit = self.made_limit(name);
                let selected = self.made().select(name, limit);
                selected.ok_or_else(|| self.unknown(name))
            }
        }
    }

    /// The limit that was made at run time under `name`.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub fn named_limit(&self, name: &str) -> Result<NamedLimit, Refusal> {
        self.made_limit(name).ok_or_else(|| self.unknown(name))
    }

    fn made_limit(&self, name: &str) -> Option<NamedLimit> {
        let record = self
            .node()
            .record(catalogue::Kind::Limit, self.namespace(), name)?;
        record.named_limit()
    }

    /// Up to `count` limits that were made at run time, after the name `after` in an order of their own.
    #[must_use]
    pub fn named_limits(&self, after: Option<&str>, count: usize) -> Vec<(Arc<str>, NamedLimit)> {
        self.listed(catalogue::Kind::Limit, after, count, Content::named_limit)
    }

    /// Up to `count` keys with limits of their own, as [`named_limits`](Self::named_limits).
    #[must_use]
    pub fn key_limits(&self, after: Option<&str>, count: usize) -> Vec<(Arc<str>, KeyLimit)> {
        self.listed(catalogue::Kind::KeyLimit, after, count, Content::key_limit)
    }

    fn listed<T>(
        &self,
        kind: catalogue::Kind,
        after: Option<&str>,
        count: usize,
        as_limit: impl Fn(&Content) -> Option<T>,
    ) -> Vec<(Arc<str>, T)> {
        let records = self.node().records(kind, self.namespace(), after, count);
        let limits = records.into_iter();
        let limits = limits.filter_map(|(name, content)| Some((name, as_limit(&content)?)));
        limits.collect()
    }

    /// No limit has that name, as far as this node knows.
    #[cold]
    fn unknown(&self, name: &str) -> Refusal {
        match self.node().readiness() {
            Readiness::Joining => Refusal::joining(),
            _ => Refusal::unknown_limit(name),
        }
    }

    /// Makes or changes the limit `name`, and returns when every live member has it, or after a second with those who
    /// have not.
    ///
    /// # Errors
    ///
    /// [`Kind::DefinedInFile`] if it is the file's; [`Kind::InvalidRequest`] for a strategy that this node cannot count by;
    /// and when it could not be changed. Nothing was changed then, on any node.
    pub async fn set_limit(&self, name: &str, limit: NamedLimit) -> Result<Changed, Refusal> {
        self.may_change(name)?;
        if limit.top_keys && self.tenancy().is_none() {
            let accepted = "false; true is for limits of tenants, of which /v1/top tells";
            let given = Given::Literal("true".into());
            return Err(Refusal::field("top_keys", given, accepted));
        }
        if let Some(tenancy) = self.tenancy() {
            check_tenant_limit(&limit)?;
            let plan = tenancy.plan();
            self.check_room(catalogue::Kind::Limit, name, "limits", plan.limits, plan)?;
        }
        if !self.node().may_count_by(limit.strategy) {
            let accepted = "owner, local or raft; redis on a node whose file has a section [redis] that says where it is";
            return Err(Refusal::field("strategy", limit.strategy.name(), accepted));
        }
        if limit.on_failure == FailMode::Owner && limit.strategy != Strategy::Redis {
            let accepted = "deny or allow, unless Redis counts";
            return Err(Refusal::field("on_failure", "owner", accepted));
        }
        let changed = self
            .node()
            .set(self.namespace(), name, Content::Limit(limit))
            .await;
        changed.map_err(Refusal::from)
    }

    /// Removes the limit `name` that was made at run time.
    ///
    /// # Errors
    ///
    /// [`Kind::DefinedInFile`], [`Kind::UnknownLimit`], and when it could not be changed. Nothing was changed then.
    pub async fn remove_limit(&self, name: &str) -> Result<Changed, Refusal> {
        self.may_change(name)?;
        let removed = self
            .node()
            .remove(catalogue::Kind::Limit, self.namespace(), name)
            .await?;
        removed.ok_or_else(|| Refusal::unknown_limit(name))
    }

    /// Refuses one more than the plan of the tenant has room for.
    fn check_room(
        &self,
        kind: catalogue::Kind,
        name: &str,
        what: &str,
        room: u32,
        plan: &Plan,
    ) -> Result<(), Refusal> {
        let (node, namespace) = (self.node(), self.namespace());
        let is_full = room as usize <= node.count_records(kind, namespace);
        match is_full && node.record(kind, namespace, name).is_none() {
            true => Err(Refusal::plan_limit(what, room, plan)),
            false => Ok(()),
        }
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
        Ok(self.made().select_of_key(limit))
    }

    /// The limit that was set for this one key.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`] if none was; [`Kind::NoDecision`] while the node joins, since it may have one that the others
    /// will tell.
    pub fn stored_key_limit(&self, key: &Key<'_>) -> Result<KeyLimit, Refusal> {
        let node = self.node();
        let record = node.record(catalogue::Kind::KeyLimit, self.namespace(), key.as_str());
        let limit = record.as_ref().and_then(Content::key_limit);
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
        if let Some(tenancy) = self.tenancy() {
            let (plan, kind) = (tenancy.plan(), catalogue::Kind::KeyLimit);
            self.check_room(
                kind,
                key.as_str(),
                "limits of single keys",
                plan.key_limits,
                plan,
            )?;
        }
        let changed = self
            .node()
            .set(self.namespace(), key.as_str(), Content::KeyLimit(limit))
            .await;
        changed.map_err(Refusal::from)
    }

    /// Removes the limit of one key.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`], and when it could not be changed. Nothing was changed then.
    pub async fn remove_key_limit(&self, key: &Key<'_>) -> Result<Changed, Refusal> {
        let removed = self
            .node()
            .remove(catalogue::Kind::KeyLimit, self.namespace(), key.as_str());
        removed.await?.ok_or_else(|| no_key_limit(key))
    }
}

/// Whoever runs the cluster decides who counts for the others, and lends its Redis to nobody.
fn check_tenant_limit(limit: &NamedLimit) -> Result<(), Refusal> {
    let strategy = limit.strategy;
    match strategy {
        Strategy::Owner | Strategy::Local => Ok(()),
        Strategy::Redis | Strategy::Raft => {
            Err(Refusal::field("strategy", strategy.name(), "owner, local"))
        }
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
        let detail = format!("nothing was changed: {error}");
        let (kind, seconds) = match error {
            NotChanged::NoRoom(ChangeError::Busy) => (Kind::Overloaded, 1),
            NotChanged::NoRoom(ChangeError::Full) => (Kind::Overloaded, 60),
            NotChanged::NoRoom(ChangeError::Address(_)) => {
                return Self::new(Kind::InvalidRequest, detail).at("name");
            }
            NotChanged::NoRoom(ChangeError::Ahead) => {
                return Self::new(Kind::InvalidRequest, detail);
            }
            NotChanged::NoQuorum => (Kind::NoQuorum, 1),
            NotChanged::Joining => (Kind::NoDecision, 1),
            NotChanged::Older => (Kind::NoDecision, 60),
            NotChanged::Draining => (Kind::Draining, 1),
        };
        Self::new(kind, detail).with_retry_after(Nanos::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use quota::Algorithm;

    use super::*;

    fn limit(units: u32) -> Limit {
        Limit::new(Algorithm::Gcra, units, Nanos::from_secs(60)).unwrap()
    }

    fn named(units: u32, strategy: Strategy) -> Option<NamedLimit> {
        Some(NamedLimit {
            limit: limit(units),
            as_token_bucket: false,
            strategy,
            on_failure: FailMode::Deny,
            top_keys: false,
        })
    }

    fn is_one(one: &Selected, other: &Selected) -> bool {
        Arc::ptr_eq(&one.policy().name, &other.policy().name)
    }

    #[test]
    fn a_limit_is_put_together_again_when_it_has_changed() {
        let made = Made::new("default".into());
        let select = |units, strategy| made.select("login", named(units, strategy)).unwrap();
        let first = select(5, Strategy::Owner);
        assert!(is_one(&first, &select(5, Strategy::Owner)));
        let changed = select(6, Strategy::Owner);
        assert_eq!(changed.policy().limit, limit(6));
        assert!(is_one(&changed, &select(6, Strategy::Owner)));
        let local = select(6, Strategy::Local);
        assert_eq!(local.policy().strategy, Strategy::Local);
        let telling = named(6, Strategy::Local).map(|limit| NamedLimit {
            top_keys: true,
            ..limit
        });
        assert!(made.select("login", telling).unwrap().policy().top_keys);
    }

    /// After 1 024 names, of limits that were long gone, none was remembered any more.
    #[test]
    fn a_limit_that_was_removed_takes_no_room() {
        let made = Made::new("default".into());
        let first = made.select("login", named(5, Strategy::Owner)).unwrap();
        assert!(made.select("login", None).is_none());
        assert!(made.by_name.get("login").is_none());
        let again = made.select("login", named(5, Strategy::Owner)).unwrap();
        assert!(!is_one(&first, &again));
    }

    /// Each hit on the limit of a key once made a policy, its name and its headers.
    #[test]
    fn keys_with_the_same_limit_share_what_fronts_need_of_it() {
        let made = Made::new("default".into());
        let first = made.select_of_key(limit(5));
        assert!(is_one(&first, &made.select_of_key(limit(5))));
        assert_eq!((&*first.policy().name, first.name()), (KEY_LIMITS, "key"));
        let other = made.select_of_key(limit(6));
        assert_eq!(other.policy().limit, limit(6));
    }
}
