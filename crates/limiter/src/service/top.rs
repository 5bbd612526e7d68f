//! Which keys the limits of a tenant deny most.
//!
//! Each node counts what its own fronts were told, of limits with `top_keys` alone, and is asked for a picture as for one of what was
//! decided. It is the one place where a key is held as a client gave it: for an hour, in memory, and for whoever may see the usage of
//! the tenant.

use std::sync::Arc;

use coordinator::Hit;
use series::{Asked, Told, TopKey, TopKeys};

use super::gathered::Went;
use super::live::{Answered, Live, PICTURES_MAX, lock};
use crate::{Limiter, Node, Refusal};

/// Keys that are told of.
const KEYS_TOLD: usize = 20;

/// Keys that one node tells another of: what one tells of is counted as denied by the others as often as their least told key at
/// most, so that a hundred make sums exact where few keys are denied. Of keys of a KiB, they are some 100 KB.
const KEYS_TOLD_TO_NODES: usize = 5 * KEYS_TOLD;

/// The keys that a limit has denied most, of all nodes that have told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MostDenied {
    /// The most denied first.
    pub keys: Vec<TopKey>,
    /// Who has told of it.
    pub from: Answered,
}

impl Live {
    /// Takes note of whom limits with `top_keys` have denied, and of whom they have allowed that they deny, too.
    pub(super) fn note_keys<'h>(
        &self,
        namespace: &Arc<str>,
        decided: impl Iterator<Item = (Hit<'h>, Went)>,
    ) {
        let mut decided = decided.peekable();
        if decided.peek().is_none() {
            return;
        }
        let now = second();
        // One lock for all tenants: it is held for a look into three maps, and once in five minutes for a walk through all.
        let mut tops = lock(&self.tops);
        for (Hit { policy, key, .. }, went) in decided {
            match went {
                Went::Denied => tops.deny(now, namespace, &policy.name, key),
                Went::Allowed => tops.allow(now, namespace, &policy.name, key),
            }
        }
    }

    /// What this node tells another of the most denied keys of a limit.
    pub(super) fn top_keys(&self, namespace: &str, limit: &str) -> TopKeys {
        let told = lock(&self.tops).keys(namespace, limit, second());
        told.first(KEYS_TOLD_TO_NODES)
    }
}

impl<N: Node> Limiter<N> {
    /// The keys that a limit of this tenant has denied most in the last hour.
    ///
    /// # Errors
    ///
    /// [`Kind::UnknownLimit`](crate::Kind::UnknownLimit), as of [`find`](Self::find); [`Kind::InvalidRequest`](crate::Kind::InvalidRequest)
    /// for one without `top_keys`.
    pub async fn most_denied(&self, name: &str) -> Result<Arc<MostDenied>, Refusal> {
        if !self.named_limit(name)?.top_keys {
            return Err(Refusal::field(
                "limit",
                name,
                "a limit with top_keys = true",
            ));
        }
        let asked = Asked::Top {
            namespace: Arc::clone(self.shared.namespace()),
            limit: name.into(),
        };
        let until = {
            let kept = lock(&self.live().kept);
            if let Some(known) = kept.most_denied.get(&asked) {
                return Ok(Arc::clone(known));
            }
            kept.until
        };
        let (told, from) = self.ask_members(|_| asked.clone()).await;
        let told = told.into_iter().filter_map(|(_, told)| match told {
            Told::Top(keys) => Some(keys),
            Told::Since { .. } | Told::Points { .. } => None,
        });
        let TopKeys { keys, .. } = TopKeys::together(told).first(KEYS_TOLD);
        let most_denied = Arc::new(MostDenied { keys, from });
        let mut kept = lock(&self.live().kept);
        if kept.until == until && kept.most_denied.len() < PICTURES_MAX {
            kept.most_denied.insert(asked, Arc::clone(&most_denied));
        }
        Ok(most_denied)
    }
}

/// The second that is not over.
fn second() -> u32 {
    u32::try_from(super::now().get()).unwrap_or(u32::MAX)
}
