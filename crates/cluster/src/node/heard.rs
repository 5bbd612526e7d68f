//! How long this node has heard of nobody: asked by hits, which are to wait for no lock.

use std::sync::atomic::{AtomicU64, Ordering};

use membership::{Member, Membership};
use quota::{BootNanos, Nanos};

use super::Cluster;

/// When another member was last heard of, in nanoseconds since boot; 0: there is no other that belongs.
#[derive(Default)]
pub(super) struct LastHeard(AtomicU64);

impl LastHeard {
    /// Takes over what the machine knows. Told with each of its ticks: that is as late as an answer may be.
    pub(super) fn publish(&self, membership: &Membership) {
        let others = membership.roster().iter().filter(|it| Member::belongs(it));
        let heard = others.filter_map(|member| membership.silent_since(member.replica));
        let last = heard.max().unwrap_or(BootNanos::ZERO);
        self.0.store(last.get(), Ordering::Relaxed);
    }

    fn silent(&self, now: BootNanos) -> Option<Nanos> {
        let last = BootNanos::new(self.0.load(Ordering::Relaxed));
        (last != BootNanos::ZERO).then(|| now - last)
    }
}

impl Cluster {
    /// How long this node has heard of no other member, at most 25 ms out of date. `None`: there is no other that belongs.
    #[must_use]
    pub fn silent(&self) -> Option<Nanos> {
        self.inner.heard.silent(self.inner.clock.now().boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use delta_crdt::ReplicaId;
    use membership::{Contact, Message, Settings, Standing};

    fn member(replica: u32) -> Member {
        Member {
            name: format!("node-{replica}"),
            incarnation: 1,
            replica: ReplicaId(replica),
            standing: Standing::Joined,
            contact: Contact::default(),
        }
    }

    #[test]
    fn a_node_is_silent_since_it_heard_of_any_other() {
        let at = |millis: u64| BootNanos::new(millis * 1_000_000);
        let heard = LastHeard::default();
        let mut membership = Membership::new(at(1_000), member(1), Settings::lan(), false);
        heard.publish(&membership);
        assert_eq!(heard.silent(at(9_000)), None, "alone");

        membership.on_introduced(at(1_000), &member(2));
        membership.on_introduced(at(2_000), &member(3));
        heard.publish(&membership);
        assert_eq!(heard.silent(at(2_500)), Some(Nanos::from_millis(500)));
        let answer = Message::Answer {
            sent: at(3_000),
            granted: true,
        };
        membership.on_message(at(3_000), ReplicaId(2), answer);
        heard.publish(&membership);
        assert_eq!(heard.silent(at(3_000)), Some(Nanos::ZERO));
        // One that is not paused looks at its clock all the time.
        for millis in (3_000..=63_000).step_by(25) {
            membership.on_tick(at(millis));
        }
        heard.publish(&membership);
        assert_eq!(heard.silent(at(63_000)), Some(Nanos::from_secs(60)));

        for name in ["node-2", "node-3"] {
            assert!(membership.on_forget(at(63_000), name), "{name}");
        }
        heard.publish(&membership);
        assert_eq!(
            heard.silent(at(64_000)),
            None,
            "the others are gone for good"
        );
    }
}
