//! Tells when no majority can be had under `quorum`, and who is missing.

use std::sync::Mutex;

use coordinator::{Missing, NoQuorum, SilentSeeds};
use delta_crdt::Term;
use quota::BootNanos;
use shard::{Role, ShardId};

use super::Cluster;

/// What was told last.
#[derive(Debug, Default)]
pub(crate) struct QuorumWatch {
    lost: Mutex<Option<BootNanos>>,
}

/// The shard whose owner may change who counts.
const CHAIR: ShardId = ShardId(0);

impl Cluster {
    /// What this node lacks to decide anything. `None`: nothing, or it is not known yet.
    #[must_use]
    pub fn no_quorum(&self) -> Option<NoQuorum> {
        let now = self.inner.clock.now().boot;
        let since = self.inner.slots.no_quorum_since(now)?;
        self.with_membership(|membership, now| {
            let others = membership.roster().iter();
            let others =
                others.filter(|member| member.belongs() && member.replica != self.inner.me);
            let is_missing = |member: &&membership::Member| {
                membership.leases().from_holder(member.replica).until <= now
            };
            let missing = others.filter(is_missing).map(|member| Missing {
                name: member.name.clone(),
                silent: now - membership.silent_since(member.replica).unwrap_or(now),
            });
            NoQuorum {
                lasts: now - since,
                needed: u32::try_from(membership.view().majority()).unwrap_or(u32::MAX),
                missing: missing.collect(),
            }
        })
    }

    /// The addresses that were to be joined, if nobody has answered there and the node went on alone.
    #[must_use]
    pub fn silent_seeds(&self) -> Option<SilentSeeds> {
        let now = self.inner.clock.now().boot;
        let lasts = self.silence().as_ref()?.lasts(now);
        let seeds = self.inner.config.join.iter();
        Some(SilentSeeds {
            addresses: seeds.map(ToString::to_string).collect(),
            lasts,
        })
    }

    /// What the membership machine needs to know of the shards under `quorum`: under which term this node may change who
    /// counts, and whether it may count itself. `None`: nothing, in `available`.
    pub(super) fn facts_of_the_shards(&self) -> Option<(Option<Term>, bool)> {
        let slots = &self.inner.slots;
        if !slots.needs_majority() {
            return None;
        }
        let chair = slots.read(CHAIR, |shard| {
            let record = shard
                .record()
                .filter(|record| record.owner() == self.inner.me);
            let opens = matches!(shard.role(), Role::Open | Role::HandingOff);
            record.filter(|_| opens).map(|record| record.term)
        });
        let recalled = slots.may_count(self.inner.clock.now());
        Some((chair.flatten(), recalled))
    }

    /// Says once that the majority is lost, and once that it is back.
    pub(super) fn watch_quorum(&self) {
        let now = self.inner.clock.now().boot;
        let since = self.inner.slots.no_quorum_since(now);
        let mut lost = self
            .inner
            .quorum_watch
            .lost
            .lock()
            .expect("nothing panics under this lock");
        let before = std::mem::replace(&mut *lost, since);
        drop(lost);
        match (before, since) {
            (None, Some(since)) => {
                let Some(lack) = self.no_quorum() else { return };
                let missing = lack.missing.into_iter().map(|Missing { name, silent }| {
                    format!("{name} (silent for {} ms)", silent.ceil_millis())
                });
                let missing = missing.collect::<Vec<_>>().join(", ");
                let (needed, lost_ms) = (lack.needed, (now - since).ceil_millis());
                tracing::warn!(
                    missing,
                    needed,
                    lost_ms,
                    "too few members answer, hits are not counted and get their limits' fail mode"
                );
            }
            (Some(before), None) => {
                let lost_ms = (now - before).ceil_millis();
                tracing::info!(lost_ms, "a majority answers again");
            }
            _ => {}
        }
    }
}
