//! Hashes keys, and what the keys of one limit have in common once.

use std::cell::RefCell;
use std::sync::Arc;

use ::catalogue::SERVICE;
use coordinator::Policy;
use quota::{KeyHash, KeyHasher, LimitHasher};
use request::Subject;
use shard::{HitId, Operation};

/// Limits of which each thread remembers what it has hashed. Two of the same place, which two limits in use share with
/// a chance of one in sixteen, are hashed anew whenever they take turns: 20 ns a hit. 16 of 120 bytes are 2 KB a thread.
const REMEMBERED: usize = 16;

struct Remembered {
    /// Held, so that no other limit can come to have the same address.
    namespace: Arc<str>,
    name: Arc<str>,
    hasher: LimitHasher,
    /// Its keys are not evicted.
    is_spared: bool,
}

thread_local! {
    static LIMITS: RefCell<[Option<Remembered>; REMEMBERED]> =
        const { RefCell::new([const { None }; REMEMBERED]) };
}

/// The hash of `key` as counted by the limit of `policy`, under the secret of `keys`: one that is spared where the cluster
/// counts for itself, as the requests of a tenant's day. Every node must agree on it: a change here is a change of the peer
/// protocol.
#[inline]
pub(super) fn hash(keys: &KeyHasher, policy: &Policy, key: &str) -> KeyHash {
    let remembered = LIMITS.try_with(|limits| {
        let limits = &mut *limits.borrow_mut();
        // Names are 16 bytes apart at least.
        let place = (policy.name.as_ptr() as usize >> 4) % REMEMBERED;
        match &limits[place] {
            Some(known) if known.is_of(keys, policy) => known.hash(key),
            _ => {
                let known = limits[place].insert(Remembered::new(keys, policy));
                known.hash(key)
            }
        }
    });
    // A thread that ends has forgotten them already.
    remembered.unwrap_or_else(|_| Remembered::new(keys, policy).hash(key))
}

/// The id of a hit that its client calls `name`. Every node must agree on it: a change here is a change of the peer protocol.
///
/// The key and what is asked of it are part of it, so that a name which is used again for something else counts.
pub(super) fn hit_id(keys: &KeyHasher, subject: &Subject, name: &str) -> HitId {
    let asked = match subject.operation {
        Operation::Hit(cost) => format!("{} hit {}", subject.key, cost.units()),
        Operation::Refund(cost) => format!("{} refund {}", subject.key, cost.units()),
        Operation::Reset => format!("{} reset", subject.key),
    };
    HitId::of_client(keys.hash("@hit", &asked, name).get())
}

impl Remembered {
    #[cold]
    fn new(keys: &KeyHasher, policy: &Policy) -> Self {
        Self {
            namespace: Arc::clone(&policy.namespace),
            name: Arc::clone(&policy.name),
            hasher: keys.of_limit(&policy.namespace, &policy.name),
            is_spared: *policy.namespace == *SERVICE,
        }
    }

    #[inline]
    fn hash(&self, key: &str) -> KeyHash {
        let hash = self.hasher.hash(key);
        match self.is_spared {
            true => hash.spared(),
            false => hash,
        }
    }

    /// Nodes of several clusters may live in one program, and share limits.
    #[inline]
    fn is_of(&self, keys: &KeyHasher, policy: &Policy) -> bool {
        Arc::ptr_eq(&self.name, &policy.name)
            && Arc::ptr_eq(&self.namespace, &policy.namespace)
            && self.hasher.is_under(keys)
    }
}

#[cfg(test)]
mod tests {
    use coordinator::{FailMode, Strategy};
    use quota::{Algorithm, Limit, Nanos};

    use super::*;

    fn policy(namespace: &Arc<str>, name: &Arc<str>) -> Policy {
        Policy {
            namespace: Arc::clone(namespace),
            name: Arc::clone(name),
            limit: Limit::new(Algorithm::Gcra, 5, Nanos::from_secs(60)).expect("a limit"),
            strategy: Strategy::Owner,
            on_failure: FailMode::Deny,
            top_keys: false,
        }
    }

    /// More limits than are remembered, of two tenants that share their names and two clusters, asked by turns.
    #[test]
    fn a_key_hashes_as_its_limit_says_whichever_was_asked_before() {
        let [one, two] = [7, 8].map(|secret| KeyHasher::new([secret; 16]));
        let [acme, other]: [Arc<str>; 2] = ["acme".into(), "other".into()];
        let of_both = |number| {
            let name: Arc<str> = format!("limit {number}").into();
            [&acme, &other].map(|tenant| policy(tenant, &name))
        };
        let limits: Vec<[Policy; 2]> = (0..3 * REMEMBERED).map(of_both).collect();
        let check = |keys: &KeyHasher, policy: &Policy| {
            let expected = keys.hash(&policy.namespace, &policy.name, "u1");
            assert_eq!(hash(keys, policy, "u1"), expected);
        };
        // Each differs from the one before in one thing: the name, of which some share a place, the tenant, the cluster.
        for [acme, _] in &limits {
            check(&one, acme);
        }
        for [acme, other] in &limits {
            check(&one, acme);
            check(&one, other);
            check(&two, other);
        }
    }
}
