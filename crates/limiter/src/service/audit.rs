//! What was changed, by whom and from where.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use accounts::{Act, Actor, AuditEntry, TenantId};
use catalogue::{Content, Kind as Record, SERVICE};

use super::{Caller, Rights, since_epoch};
use crate::browser::hex;
use crate::{Limiter, Node, Refusal};

/// What was changed, and to what.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// A stable name, such as `api-key.revoke`.
    pub what: &'static str,
    /// An id or a name.
    pub target: &'a str,
    /// What was so before, as people read it. `None`: nothing was.
    pub before: Option<&'a str>,
    /// What is so since. `None`: nothing is.
    pub after: Option<&'a str>,
}

impl<'a> Change<'a> {
    /// Something that was done to `target`, of which there is nothing more to say.
    #[must_use]
    pub const fn new(what: &'static str, target: &'a str) -> Self {
        Self {
            what,
            target,
            before: None,
            after: None,
        }
    }

    /// What somebody has done there, to be written down.
    pub(super) fn entry(
        self,
        who: Actor,
        tenant: Option<TenantId>,
        address: Option<IpAddr>,
        node: &Arc<str>,
    ) -> AuditEntry {
        AuditEntry {
            at: super::now(),
            who,
            what: self.what.into(),
            tenant,
            target: cut(self.target),
            before: self.before.map(cut),
            after: self.after.map(cut),
            address,
            node: Arc::clone(node),
        }
    }

    /// From this, to this.
    #[must_use]
    pub fn from_to(
        self,
        before: impl Into<Option<&'a str>>,
        after: impl Into<Option<&'a str>>,
    ) -> Self {
        Self {
            before: before.into(),
            after: after.into(),
            ..self
        }
    }
}

/// An entry, and its name: later ones are greater.
pub type Stamped = (Arc<str>, Arc<AuditEntry>);

/// Most bytes of a text in an entry: of a longer one the beginning is kept.
const TEXT_MAX: usize = 1_024;

/// Entries of a tenant beyond which changes of limits are not written down: some 200 bytes each, on every node, for 400 days.
const OFTEN_MAX: usize = 10_000;

fn cut(text: &str) -> Arc<str> {
    text[..text.floor_char_boundary(TEXT_MAX)].into()
}

/// What an entry of this time is called: names are in the order of time, and two of one instant are told apart.
fn name(at: Duration, random: [u8; 8]) -> String {
    let (secs, nanos, random) = (at.as_secs(), at.subsec_nanos(), hex(&random));
    format!("{secs:012}-{nanos:09}-{random}")
}

impl<N: Node> Limiter<N> {
    /// Writes down a change that stands, in the namespace of this limiter. That this fails is told in the log: the change stands
    /// all the same.
    pub(super) async fn note(&self, entry: AuditEntry) {
        let namespace = match entry.tenant {
            Some(tenant) => tenant.to_string(),
            None => SERVICE.to_owned(),
        };
        let name = name(since_epoch(), super::random());
        let what = Arc::clone(&entry.what);
        let content = Content::Audit(entry.into());
        if let Err(error) = self.node().set(&namespace, &name, content).await {
            tracing::warn!(%what, %error, "a change could not be written into the audit");
        }
    }
}

impl<N: Node> Caller<N> {
    /// Writes down a change that this caller has made and that stands, where this is a service for many.
    pub async fn note(&self, change: Change<'_>) {
        let Some(service) = &self.service else {
            return;
        };
        let tenant = self.limiter.tenancy().map(|tenancy| tenancy.id);
        let entry = change.entry(self.actor(), tenant, self.address, &service.node);
        self.limiter.note(entry).await;
    }

    /// As [`Self::note`], of what programs may change as often as they like: not any more once that is most of what is kept.
    pub async fn note_often(&self, change: Change<'_>) {
        let Some(tenancy) = self.limiter.tenancy() else {
            return self.note(change).await;
        };
        let node = self.limiter.node();
        let kept = node.count_records(Record::Audit, &tenancy.id.to_string());
        if kept < OFTEN_MAX {
            self.note(change).await;
        }
    }

    fn actor(&self) -> Actor {
        match self.rights {
            Rights::All => Actor::Operator,
            Rights::ApiKey { id, .. } => Actor::ApiKey(id),
            Rights::User { id, .. } => Actor::User(id),
        }
    }

    /// Up to `count` entries of the tenant, or, of an operator who acts in none, of what operators did: the newest first, those
    /// before the one of the name `before`.
    ///
    /// # Errors
    ///
    /// [`Kind::Forbidden`](crate::Kind::Forbidden).
    pub fn audit(&self, before: Option<&str>, count: usize) -> Result<Vec<Stamped>, Refusal> {
        self.needs_act(Act::SeeAudit)?;
        let namespace = match self.limiter.tenancy() {
            Some(tenancy) => tenancy.id.to_string(),
            None => SERVICE.to_owned(),
        };
        let node = self.limiter.node();
        let records = node.records(Record::Audit, &namespace, None, usize::MAX);
        let entries = records.into_iter().filter_map(|(name, content)| {
            let entry = content.audit()?.clone();
            before
                .is_none_or(|before| *name < *before)
                .then_some((name, entry))
        });
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by(|(one, _), (other, _)| other.cmp(one));
        entries.truncate(count);
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_entries_are_in_the_order_of_time() {
        let at = |millis: u64| Duration::from_millis(1_790_000_000_000 + millis);
        let names: Vec<String> = (0..1_200)
            .map(|millis| name(at(millis), [0xff; 8]))
            .collect();
        assert!(names.is_sorted_by(|one, other| one < other));
        assert!(name(at(5), [0; 8]) < name(at(5), [1; 8]));
        // Of the second before, as they were called once.
        assert!(*"001789999999-ffffffffffffffff" < *names[0]);
    }
}
