//! What a hit sees of the world.

use std::sync::Arc;

use coordinator::FailMode;
use delta_crdt::ReplicaId;
use membership::{Contact, Leases, Member, Membership, Message, Standing};
use request::{Heard, Said, Subject};
use shard::{Operation, ShardId};

use super::*;
use crate::clock::Clock;
use crate::node::slots::{Outbox, Reply, Slots, World};

const ME: ReplicaId = ReplicaId(1);
const OTHER: ReplicaId = ReplicaId(2);
const SHARD: ShardId = ShardId(0);

fn member(replica: ReplicaId) -> Member {
    Member {
        name: format!("node-{}", replica.0),
        incarnation: 1,
        replica,
        standing: Standing::Joined,
        contact: Contact::default(),
    }
}

fn world(membership: &Membership, leases: &Leases) -> World {
    World {
        view: membership.view().clone(),
        leases: leases.clone(),
        orders: Arc::new(vec![vec![ME, OTHER]]),
    }
}

/// A shard does not look at the leases for every hit. That one is gone is seen by the next hit all the same, and not when
/// the shard is ticked.
#[test]
fn a_hit_sees_the_leases_that_were_published_before_it() {
    let clock = Arc::new(Clock::start());
    let boot = clock.now().boot;
    let mut membership = Membership::new(boot, member(ME), membership::Settings::lan(), false);
    let acknowledge = Acknowledge::Fast {
        max_lag: Nanos::ZERO,
    };
    let settings = shard::Settings::lan(1, shard::Partition::Available);
    let slots = Slots::new(ME, Arc::clone(&clock), settings, acknowledge);
    let tick = || {
        let mut out = Outbox::default();
        slots.with(SHARD, &mut out, |shard, around| shard.on_tick(around));
    };
    let subject = Subject {
        shard: SHARD,
        key: quota::KeyHash::new(7),
        limit: five().limit,
        operation: Operation::Hit(Cost::ONE),
        on_failure: FailMode::Deny,
    };
    let is_decided = || match slots.decide(&subject, None, || Reply::Nobody) {
        Heard::Said(Said::Decided(_)) | Heard::Written(_) => true,
        Heard::Said(Said::Busy) => false,
        other => panic!("{other:?}"),
    };

    slots.publish(world(&membership, membership.leases()));
    tick();
    assert!(is_decided(), "alone it owes nobody");

    // Another one joins and gives its lease, for a second: read again should the machine have been busy for so long.
    membership.on_introduced(boot, &member(OTHER));
    let give_lease = |membership: &mut Membership| {
        let sent = clock.now().boot;
        let answer = Message::Answer {
            sent,
            granted: true,
        };
        membership.on_message(sent, OTHER, answer);
        slots.publish(world(membership, membership.leases()));
    };
    give_lease(&mut membership);
    tick();
    give_lease(&mut membership);
    assert!(is_decided());
    slots.publish(world(&membership, &Leases::default()));
    assert!(!is_decided(), "nobody lets it decide any more");
    give_lease(&mut membership);
    assert!(is_decided());
}
