//! When API keys were last used: each node remembers the minute, and tells it to all by what the catalogue knows of the API key.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use accounts::{ApiKey, ApiKeyId, UnixSecs};
use arc_swap::ArcSwap;
use catalogue::{Content, Kind as Record, NotChanged, SERVICE};
use futures_util::future::join_all;

use crate::{Limiter, Node};

/// API keys of which is told at once: their writes share a few syncs of the disk, and whoever changes something meanwhile
/// waits for no more than these.
const AT_ONCE: usize = 64;

/// API keys of which is told in one round. Of a cluster's 50 000 that all are in use (10 000 tenants, 5 each) every minute of the
/// third is told, at some 4 MB a round to each other member; of fewer than these, every minute.
const TOLD_MAX: usize = 16_384;

/// The uses of one tenant's API keys on this node.
///
/// There is one for each API key that has come since the node started, of which the catalogue holds a record each, ten times as
/// large.
#[derive(Default)]
pub(super) struct Uses(ArcSwap<HashMap<ApiKeyId, Arc<Use>>>);

/// The last use of one API key. Minutes since the epoch that are over; 0 is never.
struct Use {
    seen: AtomicU32,
    /// As far as all know from this node.
    told: AtomicU32,
}

impl Uses {
    /// It is used now. Costs a look at a map without a lock, and once a minute a store.
    pub(super) fn note(&self, now: UnixSecs, id: ApiKeyId) {
        let minute = u32::try_from(now.get() / 60).unwrap_or(u32::MAX);
        match self.0.load().get(&id) {
            // A clock that was set back takes nothing back.
            Some(used) if used.seen.load(Ordering::Relaxed) < minute => {
                used.seen.store(minute, Ordering::Relaxed);
            }
            Some(_) => {}
            None => self.add(id, minute),
        }
    }

    fn add(&self, id: ApiKeyId, minute: u32) {
        let used = Arc::new(Use {
            seen: AtomicU32::new(minute),
            told: AtomicU32::new(0),
        });
        self.0.rcu(|uses| {
            let mut uses = HashMap::clone(uses);
            uses.entry(id).or_insert_with(|| Arc::clone(&used));
            uses
        });
    }

    /// Those that were used since it was told.
    fn untold(&self) -> Vec<(ApiKeyId, Arc<Use>)> {
        let uses = self.0.load();
        let untold = uses.iter().filter(|(_, used)| {
            used.told.load(Ordering::Relaxed) < used.seen.load(Ordering::Relaxed)
        });
        untold.map(|(id, used)| (*id, Arc::clone(used))).collect()
    }
}

/// Why nothing was written.
pub(super) enum NotTold {
    /// All know as much, or hardly less, or there is nothing any more of which to tell.
    Needless,
    /// It is to be told again.
    NotChanged,
}

impl From<NotChanged> for NotTold {
    fn from(_: NotChanged) -> Self {
        Self::NotChanged
    }
}

impl<N: Node> Limiter<N> {
    /// Tells all nodes when API keys were last used here, unless they know of a later use. To be called every minute.
    pub async fn tell_uses(&self) {
        let mut untold = Vec::new();
        for shared in self.shared.tenants.all() {
            if let Some(tenancy) = &shared.tenancy {
                untold.extend(tenancy.uses.untold());
            }
        }
        // What does not fit has the longest wait in the next round.
        untold.sort_by_cached_key(|(_, used)| used.told.load(Ordering::Relaxed));
        untold.truncate(TOLD_MAX);
        for some in untold.chunks(AT_ONCE) {
            join_all(some.iter().map(|(id, used)| self.tell_use(*id, used))).await;
        }
    }

    async fn tell_use(&self, id: ApiKeyId, used: &Use) {
        let minute = used.seen.load(Ordering::Relaxed);
        let at = Some(UnixSecs::new(u64::from(minute) * 60));
        let edit = |known: Option<&Content>| {
            let key = known.and_then(Content::api_key);
            let key = key.filter(|key| key.last_used_at < at);
            let mut key = ApiKey::clone(key.ok_or(NotTold::Needless)?);
            key.last_used_at = at;
            Ok(Content::ApiKey(key.into()))
        };
        let (node, id) = (self.node(), id.to_string());
        match node.edit(Record::ApiKey, SERVICE, &id, edit).await {
            Ok(_) | Err(NotTold::Needless) => used.told.store(minute, Ordering::Relaxed),
            Err(NotTold::NotChanged) => {}
        }
    }
}
