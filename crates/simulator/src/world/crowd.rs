//! Names that come and go by the hundred, as pods do, and what must not remain of them.

use delta_crdt::ReplicaId;
use membership::{Contact, Member, Message, Standing};
use rand::Rng;
use shard::Partition;

use super::{HOSTS, Happening, MILLIS, World};
use crate::node::Payload;

/// Names of one crowd.
const CROWD: u64 = 100;

/// Replicas of those who pass are numbered from here; hosts have a thousand each, up to 8 000.
const FIRST_PASSER: u32 = 1_000_000;

/// Names that were let go of and are still looked for.
const LOOKED_FOR_MAX: usize = 64;

impl World {
    /// A hundred names join one after another, and go before they have been given a shard.
    ///
    /// They are played, not run: each is introduced to one node and says there that it left, or is never heard of again.
    /// Under `quorum` all of them leave in order, since the dead have a vote there.
    pub(super) fn crowd(&mut self, guide: usize) {
        self.say(|| format!("{CROWD} names come and go by way of host {guide}"));
        for number in 0..CROWD {
            self.at(self.now + number * 30 * MILLIS, Happening::Pass(guide));
        }
    }

    pub(super) fn pass(&mut self, guide: usize) {
        let Some(to) = self.hosts[guide].node.as_ref().map(|node| node.me) else {
            return;
        };
        self.passed += 1;
        let from = ReplicaId(FIRST_PASSER + self.passed);
        let passer = Member {
            name: format!("pod-{}", self.passed),
            incarnation: 1,
            replica: from,
            standing: Standing::Joined,
            contact: Contact {
                cluster: format!("pod {}", self.passed),
                ..Contact::default()
            },
        };
        let dies = self.scenario.partition == Partition::Available && self.rng.random_bool(0.2);
        let left = Member {
            standing: Standing::Left,
            ..passer.clone()
        };
        let deliver = |payload| Happening::Deliver {
            host: guide,
            from,
            to,
            payload,
        };
        self.at(self.now, deliver(Payload::Introduction(passer)));
        if !dies {
            let said = Payload::Membership(Message::Roster(vec![left]));
            let stay = self.rng.random_range(5..60) * MILLIS;
            self.at(self.now + stay, deliver(said));
        }
    }

    /// At the end of the quiet time nothing is kept of those who went, but the names that are still looked for.
    pub(super) fn check_bounded(&mut self) {
        let up = self.hosts.iter().filter(|host| host.node.is_some()).count();
        for host in 0..HOSTS {
            let Some(node) = &self.hosts[host].node else {
                continue;
            };
            let membership = &node.membership;
            let (listed, dialled) = (
                membership.roster().iter().count(),
                membership.addresses().count(),
            );
            // Each member is listed, has been met, and has a lease.
            let is_bounded =
                listed <= up && dialled < up && membership.entries() <= 3 * up + LOOKED_FOR_MAX;
            if !is_bounded {
                let entries = membership.entries();
                let story = format!(
                    "host {host} lists {listed} members of {up}, dials {dialled}, and keeps {entries} entries"
                );
                self.oracle.report("bounded", self.now, story);
            }
        }
    }
}
