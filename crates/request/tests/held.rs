//! Answers that wait for a replica: which wait, until when, and what they then say.

use delta_crdt::{Digest, ReplicaId, Term};
use membership::{Contact, Member, Membership, Standing};
use quota::{Algorithm, BootNanos, Cost, KeyHash, Limit, Nanos, Now, UnixNanos};
use request::{Acknowledge, HELD_MAX, Heard, Held, Said, Subject, decide, is_reached};
use shard::{
    Effect, HitId, Message, Operation, Partition, Record, Role, Settings, Shard, ShardId,
    Surroundings,
};

const ME: ReplicaId = ReplicaId(1);
const REPLICA: ReplicaId = ReplicaId(2);
const SHARD: ShardId = ShardId(0);

const REPLICATED: Acknowledge = Acknowledge::Replicated;
const FAST: Acknowledge = Acknowledge::Fast {
    max_lag: Nanos::from_millis(250),
};
const NEVER_WAITS: Acknowledge = Acknowledge::Fast {
    max_lag: Nanos::ZERO,
};

/// Node 1 owns the shard; the other nodes are played by the test.
struct Node {
    shard: Shard,
    held: Held<u64>,
    membership: Membership,
    millis: u64,
    asked: u64,
    /// Whether the shard has said since that answers may have nothing left to wait for.
    changed: bool,
}

impl Node {
    /// The owner of a shard that nobody else holds.
    fn alone() -> Self {
        let boot = BootNanos::new(0);
        let settings = membership::Settings::lan();
        let mut node = Self {
            shard: Shard::new(SHARD, ME, Settings::lan(1, Partition::Available)),
            held: Held::default(),
            membership: Membership::new(boot, member(ME), settings, false),
            millis: 1,
            asked: 0,
            changed: false,
        };
        node.tick();
        assert_eq!(node.shard.role(), Role::Open);
        node
    }

    /// The owner of a shard that node 2 holds a copy of.
    fn with_replica() -> Self {
        let mut node = Self::alone();
        let boot = BootNanos::new(0);
        node.membership.on_introduced(boot, &member(REPLICA));
        let granted = membership::Message::Answer {
            sent: boot,
            granted: true,
        };
        node.membership.on_message(boot, REPLICA, granted);
        node.act(|shard, around| shard.on_view(around));
        for _ in 0..100 {
            if node
                .shard
                .record()
                .is_some_and(|record| record.held_by(REPLICA))
            {
                return node;
            }
            node.tick();
        }
        panic!("no copy was taken: {:?}", node.shard.record());
    }

    fn now(&self) -> Now {
        let nanos = self.millis * 1_000_000;
        Now {
            boot: BootNanos::new(nanos),
            wall: UnixNanos::new(1_700_000_000_000_000_000 + nanos),
        }
    }

    /// Lets the shard act. What it sends waits in [`Self::sent`].
    fn act(&mut self, act: impl FnOnce(&mut Shard, Surroundings<'_>)) {
        self.act_holding(|shard, _, around| act(shard, around));
    }

    /// The same, beside the answers that wait.
    fn act_holding<T>(
        &mut self,
        act: impl FnOnce(&mut Shard, &mut Held<u64>, Surroundings<'_>) -> T,
    ) -> T {
        let order: Vec<_> = self
            .membership
            .view()
            .members()
            .iter()
            .map(|seen| seen.replica)
            .collect();
        let around = Surroundings {
            now: self.now(),
            view: self.membership.view(),
            leases: self.membership.leases(),
            order: &order,
        };
        act(&mut self.shard, &mut self.held, around)
    }

    /// What the shard sends now.
    fn sent(&mut self) -> Vec<Message> {
        let mut sent = Vec::new();
        while let Some(effect) = self.shard.next_effect() {
            match effect {
                Effect::Send { message, .. } => sent.push(message),
                Effect::PieceWaits { to, .. } => {
                    self.shard.send_piece(to, shard::CopyForm::Pieces);
                }
                Effect::Changed => self.changed = true,
                Effect::Note(_) | Effect::PieceArrived { .. } => {}
            }
        }
        sent
    }

    /// Time passes; node 2 answers whatever it is sent.
    fn tick(&mut self) {
        self.millis += 21;
        self.act(|shard, around| shard.on_tick(around));
        for message in self.sent() {
            self.confirm(&message);
        }
    }

    fn confirm(&mut self, message: &Message) {
        let reply = match message {
            Message::Announce { record, .. } => Message::Known {
                term: record.term,
                epoch: record.epoch,
            },
            Message::Copy { term, piece, .. } => Message::Received {
                term: *term,
                copy: shard::CopyId::Base(piece.number),
                index: piece.index,
                gap: false,
            },
            Message::Delta { term, through, .. } => Message::Have {
                term: *term,
                through: *through,
                gap: false,
            },
            _ => return,
        };
        self.act(|shard, around| shard.on_message(around, REPLICA, reply));
    }

    /// The replica gets all that was written, and says so.
    fn replicate(&mut self) {
        let now = self.now().boot;
        self.shard.flush(now);
        for message in self.sent() {
            self.confirm(&message);
        }
    }

    /// One hit of one unit. Held answers go to the number of the hit.
    fn hit(&mut self, acknowledge: Acknowledge, named: bool) -> Heard {
        self.asked += 1;
        self.hit_again(acknowledge, named)
    }

    /// The last one once more.
    fn hit_again(&mut self, acknowledge: Acknowledge, named: bool) -> Heard {
        let sequence = self.asked;
        let id = named.then_some(HitId {
            origin: ME,
            sequence,
        });
        let subject = Subject {
            shard: SHARD,
            key: KeyHash::new(7),
            limit: Limit::new(Algorithm::FixedWindow, 10_000, Nanos::from_secs(60))
                .expect("within bounds"),
            operation: Operation::Hit(Cost::ONE),
            on_failure: coordinator::FailMode::Deny,
        };
        self.act_holding(|shard, held, around| {
            shard.look(around);
            let now = around.now;
            decide(shard, held, now, acknowledge, &subject, id, || sequence)
        })
    }

    /// Node 2 says that it owns the shard, under the next term.
    fn is_taken_over(&mut self) -> Term {
        let term = Term {
            number: self.shard.record().expect("it is owned").term.number + 1,
            replica: REPLICA,
        };
        let taken_over = Message::Announce {
            record: Record {
                term,
                epoch: 0,
                holders: vec![REPLICA, ME],
            },
            through: 1,
            digest: Some(Digest::default()),
        };
        self.act(|shard, around| shard.on_message(around, REPLICA, taken_over));
        term
    }

    /// What is given out now.
    fn settled(&mut self) -> Vec<(u64, Said)> {
        let mut given = Vec::new();
        self.held
            .settle(&self.shard, |hit, said| given.push((hit, said)));
        given
    }
}

fn member(replica: ReplicaId) -> Member {
    Member {
        name: format!("node-{}", replica.0),
        incarnation: 1,
        replica,
        standing: Standing::Joined,
        contact: Contact::default(),
    }
}

#[track_caller]
fn written(heard: Heard) {
    assert!(matches!(heard, Heard::Written(_)), "{heard:?}");
}

#[test]
fn an_answer_waits_for_the_replica_and_then_says_what_was_decided() {
    let mut node = Node::with_replica();
    assert_eq!(node.hit(REPLICATED, true), Heard::Held);
    assert_eq!(node.hit(REPLICATED, true), Heard::Held);
    assert_eq!((node.held.len(), node.settled()), (2, vec![]));
    assert!(!node.held.is_empty());
    let newest = node.held.newest().expect("two wait");
    node.replicate();
    let told = node.settled();
    let [(1, Said::Decided(first)), (2, Said::Decided(second))] = told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(first.remaining, second.remaining + 1);
    assert_eq!(second, newest);
    assert!(node.held.is_empty() && node.settled().is_empty());
}

#[test]
fn an_answer_waits_for_its_own_write_and_not_for_the_next() {
    let mut node = Node::with_replica();
    assert_eq!(node.hit(REPLICATED, true), Heard::Held);
    let now = node.now().boot;
    node.shard.flush(now);
    let first = node.sent();
    assert_eq!(node.hit(REPLICATED, true), Heard::Held);
    for message in first {
        node.confirm(&message);
    }
    let told: Vec<u64> = node.settled().into_iter().map(|(hit, _)| hit).collect();
    assert_eq!((told, node.held.len()), (vec![1], 1));
}

#[test]
fn what_the_replica_has_is_answered_at_once_when_it_is_asked_again() {
    let mut node = Node::with_replica();
    assert_eq!(node.hit(REPLICATED, true), Heard::Held);
    let decided = node.held.newest().expect("it waits");
    node.replicate();
    assert_eq!(node.settled(), [(1, Said::Decided(decided))]);
    assert_eq!(node.hit_again(REPLICATED, true), Heard::Written(decided));
}

#[test]
fn nothing_waits_where_nobody_else_holds_the_shard() {
    let mut node = Node::alone();
    for acknowledge in [REPLICATED, FAST, NEVER_WAITS] {
        for named in [true, false] {
            let heard = node.hit(acknowledge, named);
            assert!(matches!(heard, Heard::Said(Said::Decided(_))), "{heard:?}");
        }
    }
}

/// A replica silent for longer than 250 ms holds up what is answered at once otherwise; never with a lag of zero.
#[test]
fn a_fast_answer_waits_once_the_replica_lags() {
    let mut node = Node::with_replica();
    written(node.hit(FAST, true));
    node.millis += 250;
    written(node.hit(FAST, true));
    node.millis += 1;
    assert_eq!(node.hit(FAST, true), Heard::Held);
    written(node.hit(NEVER_WAITS, true));
    node.replicate();
    assert_eq!(node.settled().len(), 1);
    written(node.hit(FAST, true));
}

/// A lease of a second, of which 650 ms have to be left.
#[test]
fn who_answered_lately_is_reached() {
    let node = Node::with_replica();
    let reaches = |millis: u64, peer| {
        let now = BootNanos::new(millis * 1_000_000);
        is_reached(now, node.membership.leases(), peer)
    };
    assert!(reaches(350, REPLICA) && !reaches(351, REPLICA));
    assert!(!reaches(0, ReplicaId(3)), "it has never answered");
}

/// Where the answer would have to wait and cannot, nothing is counted.
#[test]
fn a_hit_that_cannot_wait_is_not_decided() {
    let mut node = Node::with_replica();
    let busy = Heard::Said(Said::Busy);
    assert_eq!(node.hit(REPLICATED, false), busy, "it has no id");
    written(node.hit(FAST, false));
    node.replicate();
    for _ in 0..HELD_MAX {
        assert_eq!(node.hit(REPLICATED, true), Heard::Held);
    }
    let counted = node.held.newest().expect("many wait").remaining;
    assert_eq!(node.hit(REPLICATED, true), busy, "there is no room");
    node.replicate();
    assert_eq!(node.settled().len(), HELD_MAX);
    assert_eq!(node.hit(REPLICATED, true), Heard::Held);
    let next = node.held.newest().expect("one waits").remaining;
    assert_eq!(next + 1, counted, "what was busy was not counted");
}

/// Another node takes the shard over: whether it knows of the write nobody here can tell.
#[test]
fn an_answer_of_an_ended_term_is_unsure() {
    let mut node = Node::with_replica();
    assert_eq!(node.hit(REPLICATED, true), Heard::Held);
    node.is_taken_over();
    assert_eq!(node.settled(), [(1, Said::Unsure)]);
}

/// Nor can it when the shard has come back before anybody looked.
#[test]
fn an_answer_of_an_earlier_term_is_unsure() {
    let mut node = Node::with_replica();
    assert_eq!(node.hit(REPLICATED, true), Heard::Held);
    let other = node.is_taken_over();
    let now = node.now().boot;
    node.membership.on_process_gone(now, REPLICA);
    node.act(|shard, around| shard.on_view(around));
    for _ in 0..100 {
        if node.shard.role() == Role::Open {
            break;
        }
        node.tick();
    }
    assert_eq!(node.shard.role(), Role::Open);
    assert!(
        node.shard
            .record()
            .is_some_and(|record| other < record.term)
    );
    assert_eq!(node.settled(), [(1, Said::Unsure)]);
}

/// The replica is gone, and the shard's holders with it: an answer that waited for it is given.
#[test]
fn an_answer_waits_no_longer_once_there_is_nobody_to_wait_for() {
    let mut node = Node::with_replica();
    assert_eq!(node.hit(REPLICATED, true), Heard::Held);
    let now = node.now().boot;
    node.membership.on_process_gone(now, REPLICA);
    node.sent();
    node.changed = false;
    node.act(|shard, around| shard.on_view(around));
    for _ in 0..100 {
        if node.changed {
            break;
        }
        node.millis += 21;
        node.act(|shard, around| shard.on_tick(around));
        node.sent();
    }
    assert!(node.changed && !node.shard.has_replica());
    let told = node.settled();
    assert!(matches!(told[..], [(1, Said::Decided(_))]), "{told:?}");
}
