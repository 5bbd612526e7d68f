//! What the simulator taught, each lesson with its story, message by message.

use delta_crdt::{Digest, ReplicaId, Term};
use membership::{Contact, Member, Membership, Standing};
use quota::{Algorithm, BootNanos, Cost, KeyHasher, Limit, Nanos, Now, UnixNanos};
use shard::{
    Baseline, Effect, Message, Operation, Outcome, Partition, Record, Role, Settings, Shard,
    ShardId, Surroundings,
};

const ME: ReplicaId = ReplicaId(1);
const SHARD: ShardId = ShardId(0);

/// One shard of one node; the others are played by the test.
struct Node {
    shard: Shard,
    membership: Membership,
    millis: u64,
}

impl Node {
    /// A node that sees `others` alive, and has leases from them.
    fn new(partition: Partition, joins: bool, others: &[u32]) -> Self {
        let boot = BootNanos::new(0);
        let mut membership =
            Membership::new(boot, member(ME.0), membership::Settings::lan(), joins);
        for &other in others {
            membership.on_introduced(boot, &member(other));
            let answer = membership::Message::Answer {
                sent: boot,
                granted: true,
            };
            membership.on_message(boot, ReplicaId(other), answer);
        }
        Self {
            shard: Shard::new(SHARD, ME, Settings::lan(2, partition)),
            membership,
            millis: 1,
        }
    }

    /// Lets the shard act, and returns what it sends.
    fn act(&mut self, act: impl FnOnce(&mut Shard, Surroundings<'_>)) -> Vec<(ReplicaId, Message)> {
        let nanos = self.millis * 1_000_000;
        let order: Vec<ReplicaId> = self
            .membership
            .view()
            .members()
            .iter()
            .map(|seen| seen.replica)
            .collect();
        let around = Surroundings {
            now: Now {
                boot: BootNanos::new(nanos),
                wall: UnixNanos::new(1_700_000_000_000_000_000 + nanos),
            },
            view: self.membership.view(),
            leases: self.membership.leases(),
            order: &order,
        };
        act(&mut self.shard, around);
        let effects = std::iter::from_fn(|| self.shard.next_effect());
        effects
            .filter_map(|effect| match effect {
                Effect::Send { to, message } => Some((to, message)),
                Effect::Changed | Effect::Note(_) => None,
            })
            .collect()
    }

    fn tick(&mut self) -> Vec<(ReplicaId, Message)> {
        self.millis += 21;
        self.act(|shard, around| shard.on_tick(around))
    }

    fn hear(&mut self, from: u32, message: Message) -> Vec<(ReplicaId, Message)> {
        self.act(|shard, around| shard.on_message(around, ReplicaId(from), message))
    }

    fn hit(&mut self) -> Option<u64> {
        let key = KeyHasher::new([7; 16]).hash("", "limit", "key");
        let limit =
            Limit::new(Algorithm::FixedWindow, 5, Nanos::from_secs(60)).expect("within bounds");
        let mut outcome = Outcome::Wait;
        self.act(|shard, around| {
            outcome = shard.on_hit(around, key, &limit, Operation::Hit(Cost::ONE), None)
        });
        match outcome {
            Outcome::Decided { written, .. } => written,
            other => panic!("not decided: {other:?}"),
        }
    }
}

fn member(replica: u32) -> Member {
    Member {
        name: format!("node-{replica}"),
        incarnation: 1,
        replica: ReplicaId(replica),
        standing: Standing::Joined,
        contact: Contact::default(),
    }
}

fn term(number: u32, replica: u32) -> Term {
    Term {
        number,
        replica: ReplicaId(replica),
    }
}

fn record(owner: Term, holders: &[u32]) -> Record {
    Record {
        term: owner,
        epoch: 0,
        holders: holders.iter().copied().map(ReplicaId).collect(),
    }
}

/// An owner that has taken over from node 2 with nodes 3 and 4; node 3 holds the same as it: nothing.
fn owner(partition: Partition) -> Node {
    let mut node = Node::new(partition, false, &[3, 4]);
    node.hear(
        3,
        Message::Announce {
            record: record(term(1, 2), &[2, 1, 3]),
            through: 1,
            digest: None,
        },
    );
    node.tick();
    let promise = |digest| Message::Promise {
        term: term(2, 1),
        record: None,
        digest,
    };
    node.hear(3, promise(Some(Digest::default())));
    node.hear(4, promise(None));
    assert_eq!(node.shard.role(), Role::Open);
    node
}

/// Seed 365: the first copy to a replica covered the buckets in which it differed, and was taken to cover
/// every write until it was sent. A write into another bucket was confirmed and never sent.
#[test]
fn a_write_before_the_first_copy_is_sent() {
    let mut node = owner(Partition::Available);
    let written = node.hit().expect("there is a replica to wait for");
    let mut sent = node.tick();
    for _ in 0..3 {
        let deltas = sent.iter().filter_map(|(to, message)| match message {
            Message::Delta {
                baseline,
                through,
                cells,
                ..
            } if *to == ReplicaId(3) => Some((baseline, *through, cells.len())),
            _ => None,
        });
        let mut confirmed = 0;
        for (baseline, through, cells) in deltas {
            let covers_all = matches!(
                baseline,
                Baseline::Whole {
                    buckets: u16::MAX,
                    ..
                }
            );
            assert!(
                through < written || 0 < cells || covers_all,
                "confirms write {written}, which was not sent"
            );
            confirmed = through;
        }
        if written <= confirmed {
            return;
        }
        sent = node.hear(
            3,
            Message::Have {
                term: term(2, 1),
                through: confirmed,
                gap: false,
            },
        );
        sent.extend(node.tick());
    }
    panic!("write {written} was never sent");
}

/// Seed 373: a release overtook its claim, and the promise stayed with a node that no longer claimed. While that
/// one lived, nobody else could get the promise, and the shard had no owner.
#[test]
fn a_promise_is_free_once_its_claimant_has_promised_the_next() {
    let mut node = Node::new(Partition::Available, false, &[2, 3]);
    // A member that asks for leases, and so is granted them.
    let heartbeat = membership::Message::Heartbeat {
        sent: BootNanos::new(0),
        roster: 0,
    };
    node.membership
        .on_message(BootNanos::new(1_000_000), ReplicaId(2), heartbeat);
    let claim = |term, promised_by: &[u32]| Message::Claim {
        term,
        consent: None,
        promised_by: promised_by.iter().copied().map(ReplicaId).collect(),
        record: None,
    };
    let promises = |sent: &[(ReplicaId, Message)]| {
        sent.iter()
            .any(|(_, message)| matches!(message, Message::Promise { .. }))
    };
    assert!(promises(&node.hear(2, claim(term(7, 2), &[]))));
    assert!(
        !promises(&node.hear(3, claim(term(8, 3), &[]))),
        "node 2 may yet open under term 7"
    );
    assert!(
        promises(&node.hear(3, claim(term(8, 3), &[2]))),
        "node 2 has promised term 8"
    );
}

/// Seed 119: an owner whose leases ran out claimed anew, said that it had no replica, and answers left that no
/// majority knew of.
#[test]
fn an_answer_waits_while_its_owner_claims_anew() {
    let mut node = owner(Partition::Quorum);
    let written = node.hit().expect("a majority must know");
    assert!(node.shard.has_replica() && node.shard.confirmed() < written);
    // Every lease runs out.
    node.millis += 1_500;
    node.tick();
    assert_ne!(node.shard.role(), Role::Open);
    assert!(node.shard.has_replica() && node.shard.confirmed() < written);
}

/// An owner changed its holders while a claimant already had the promise of a member, which noted the change: the
/// owner counted it among those who know, and the claimant had been told the older record.
#[test]
fn a_record_below_the_promise_is_refused() {
    let mut node = Node::new(Partition::Quorum, false, &[2, 3]);
    node.hear(
        2,
        Message::Announce {
            record: record(term(1, 2), &[2, 3]),
            through: 1,
            digest: None,
        },
    );
    node.hear(
        3,
        Message::Claim {
            term: term(2, 3),
            consent: Some(term(1, 2)),
            promised_by: vec![],
            record: None,
        },
    );
    let changed = Record {
        epoch: 1,
        ..record(term(1, 2), &[2])
    };
    let sent = node.hear(
        2,
        Message::Announce {
            record: changed,
            through: 1,
            digest: None,
        },
    );
    assert!(
        sent.iter()
            .all(|(_, message)| !matches!(message, Message::Known { .. })),
        "{sent:?}"
    );
}

/// Seed 1021: a node that had just joined saw its seed alone, and opened a shard without anybody's counts.
#[test]
fn a_newcomer_claims_nothing_before_it_has_heard_everybody() {
    let mut node = Node::new(Partition::Available, true, &[2]);
    let claims = |sent: &[(ReplicaId, Message)]| {
        sent.iter()
            .any(|(_, message)| matches!(message, Message::Claim { .. }))
    };
    assert!(!claims(&node.tick()));
    let mut settled = Node::new(Partition::Available, false, &[2]);
    assert!(claims(&settled.tick()));
}
