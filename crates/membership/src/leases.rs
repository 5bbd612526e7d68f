//! Leases held and grants given, as a value that the path of a hit can read.

use std::collections::BTreeMap;

use delta_crdt::ReplicaId;
use quota::BootNanos;

/// Until when another node lets us decide.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lease {
    /// Exclusive end, by our own clock.
    pub until: BootNanos,
    /// Counts how often the lease began anew after it had run out. What was opened under an earlier
    /// epoch must be claimed again: in between the other node may have promised it to somebody else.
    pub epoch: u64,
}

impl Lease {
    pub(crate) fn renew(&mut self, now: BootNanos, until: BootNanos) {
        if until <= now || until <= self.until {
            return;
        }
        if self.until <= now {
            self.epoch += 1;
        }
        self.until = until;
    }
}

/// What one other node granted us and we granted it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Exchange {
    pub(crate) lease: Lease,
    /// We promise nothing of theirs to anybody before this.
    pub(crate) granted_until: BootNanos,
    /// Its process is known to be gone, or it said that it decides nothing any more.
    pub(crate) gone: bool,
}

/// Every lease and grant at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Leases {
    pub(crate) peers: BTreeMap<ReplicaId, Exchange>,
    /// A node that has just joined does not know what its earlier incarnation granted.
    pub(crate) silent_until: BootNanos,
    /// The newest earlier incarnation of this node's own name. It has been replaced, and of all that this node's earlier
    /// incarnations granted it can have been granted nothing.
    pub(crate) predecessor: Option<ReplicaId>,
    /// Whether this node came into a cluster that existed: there may be something that it does not know.
    pub(crate) is_newcomer: bool,
    pub(crate) quorum: Quorum,
}

/// Until when a majority can be had, and between which instants that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Quorum {
    /// Exclusive end of the last one, of this node or of a member that it reaches.
    pub(crate) until: BootNanos,
    /// A node that starts or was paused asks first: it concludes nothing before this.
    pub(crate) judged_from: BootNanos,
    /// Nor after this, unless it has ticked again: it may be waking from a pause.
    pub(crate) judged_until: BootNanos,
}

impl Leases {
    /// The lease that `holder` gives us.
    #[must_use]
    pub fn from_holder(&self, holder: ReplicaId) -> Lease {
        self.peers
            .get(&holder)
            .map(|peer| peer.lease)
            .unwrap_or_default()
    }

    /// Whether this node has been here long enough to have heard everybody who lives. Before that it must
    /// neither promise nor claim: it may know one member of many, and that one may know as little.
    #[must_use]
    pub fn has_settled(&self, now: BootNanos) -> bool {
        self.silent_until <= now
    }

    /// Whether this node came into a cluster that existed before, perhaps under this name: what it said and knew then it
    /// has forgotten.
    #[must_use]
    pub fn is_newcomer(&self) -> bool {
        self.is_newcomer
    }

    /// Since when no majority can be had, neither by this node nor through a member that it reaches. `None`: one can, or
    /// this node has not asked since it started or was paused.
    ///
    /// What is not decided meanwhile is not counted either: nobody within reach may decide.
    #[must_use]
    pub fn no_quorum_since(&self, now: BootNanos) -> Option<BootNanos> {
        let Quorum {
            until,
            judged_from,
            judged_until,
        } = self.quorum;
        let is_known = judged_from <= now && now < judged_until;
        (until <= now && is_known).then_some(until)
    }

    /// Whether what `owner` was granted has run out, so that its shards may be promised to another. What an earlier
    /// incarnation of this node owned may be at once: nobody grants a lease to itself.
    #[must_use]
    pub fn may_promise_against(&self, now: BootNanos, owner: ReplicaId) -> bool {
        let has_run_out = self
            .peers
            .get(&owner)
            .is_none_or(|peer| peer.gone || peer.granted_until <= now);
        self.predecessor == Some(owner) || self.has_settled(now) && has_run_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_ran_out_begins_a_new_epoch() {
        let mut lease = Lease::default();
        let at = BootNanos::new;
        lease.renew(at(100), at(1_000));
        assert_eq!(lease.epoch, 1);
        lease.renew(at(999), at(1_900));
        assert_eq!(lease.epoch, 1, "renewed in time");
        lease.renew(at(2_000), at(1_950));
        assert_eq!(
            (lease.epoch, lease.until),
            (1, at(1_900)),
            "an old answer renews nothing"
        );
        lease.renew(at(2_000), at(2_900));
        assert_eq!(lease.epoch, 2, "it had run out at 1900");
    }
}
