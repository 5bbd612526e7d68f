//! One shard of one node, in surroundings that the test makes up; the other nodes are played by the test.

use delta_crdt::{Digest, ReplicaId, Term};
use membership::{Contact, Member, Membership, Standing};
use quota::{Algorithm, BootNanos, Cost, KeyHash, KeyHasher, Limit, Nanos, Now, UnixNanos};
use shard::{
    CopyForm, CopyId, Effect, Message, Note, Operation, Outcome, Partition, Record, Role, Settings,
    Shard, ShardId, Surroundings,
};

pub(crate) const ME: ReplicaId = ReplicaId(1);
pub(crate) const SHARD: ShardId = ShardId(0);

/// One shard of one node; the others are played by the test.
pub(crate) struct Node {
    pub(crate) shard: Shard,
    pub(crate) membership: Membership,
    pub(crate) millis: u64,
    /// What the shard has noted so far.
    pub(crate) notes: Vec<Note>,
}

impl Node {
    /// A node that sees `others` alive, and has leases from them.
    pub(crate) fn new(partition: Partition, joins: bool, others: &[u32]) -> Self {
        Self::of(ME, partition, joins, others)
    }

    /// The same, of another name.
    pub(crate) fn of(me: ReplicaId, partition: Partition, joins: bool, others: &[u32]) -> Self {
        let boot = BootNanos::new(0);
        let mut membership =
            Membership::new(boot, member(me.0), membership::Settings::lan(), joins);
        for &other in others {
            introduce(&mut membership, boot, other);
        }
        let settings = Settings {
            lent_keys: 1,
            ..Settings::lan(2, partition)
        };
        Self {
            shard: Shard::new(SHARD, me, settings),
            membership,
            millis: 1,
            notes: Vec::new(),
        }
    }

    /// Another node joins, and gives its lease.
    pub(crate) fn meet(&mut self, other: u32) {
        let boot = BootNanos::new(self.millis * 1_000_000);
        introduce(&mut self.membership, boot, other);
        self.act(|shard, around| shard.on_view(around));
    }

    /// Lets the shard act, and returns what it sends. Pieces of copies have their turn at once.
    pub(crate) fn act(
        &mut self,
        act: impl FnOnce(&mut Shard, Surroundings<'_>),
    ) -> Vec<(ReplicaId, Message)> {
        let nanos = self.millis * 1_000_000;
        let order: Vec<ReplicaId> = self
            .membership
            .view()
            .members()
            .iter()
            .filter(|seen| seen.takes_shards)
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
        let mut sent = Vec::new();
        while let Some(effect) = self.shard.next_effect() {
            match effect {
                Effect::Send { to, message } => sent.push((to, message)),
                Effect::Note(note) => self.notes.push(note),
                Effect::PieceWaits { to, .. } => {
                    self.shard.send_piece(to, CopyForm::Pieces);
                }
                Effect::Changed | Effect::PieceArrived { .. } => {}
            }
        }
        sent
    }

    pub(crate) fn tick(&mut self) -> Vec<(ReplicaId, Message)> {
        self.millis += 21;
        self.act(|shard, around| shard.on_tick(around))
    }

    pub(crate) fn hear(&mut self, from: u32, message: Message) -> Vec<(ReplicaId, Message)> {
        self.act(|shard, around| shard.on_message(around, ReplicaId(from), message))
    }

    pub(crate) fn hit(&mut self) -> Option<u64> {
        match self.try_hit() {
            Outcome::Decided { written, .. } => written,
            other => panic!("not decided: {other:?}"),
        }
    }

    /// What comes of a hit now, before the shard has looked at the time by itself.
    pub(crate) fn try_hit(&mut self) -> Outcome {
        self.act(|shard, around| shard.look(around));
        self.try_hit_unseen()
    }

    /// The same, without another look at the leases.
    pub(crate) fn try_hit_unseen(&mut self) -> Outcome {
        let (key, limit) = (key(), limit());
        let mut outcome = Outcome::Wait;
        self.act(|shard, around| {
            outcome = shard.on_hit(around.now, key, &limit, Operation::Hit(Cost::ONE), None)
        });
        outcome
    }

    /// `other` answers a heartbeat that was sent now.
    pub(crate) fn answered_by(&mut self, other: u32) {
        let sent = BootNanos::new(self.millis * 1_000_000);
        let granted = true;
        let answer = membership::Message::Answer { sent, granted };
        self.membership.on_message(sent, ReplicaId(other), answer);
    }
}

fn introduce(membership: &mut Membership, boot: BootNanos, other: u32) {
    membership.on_introduced(boot, &member(other));
    let answer = membership::Message::Answer {
        sent: boot,
        granted: true,
    };
    membership.on_message(boot, ReplicaId(other), answer);
}

pub(crate) fn member(replica: u32) -> Member {
    Member {
        name: format!("node-{replica}"),
        incarnation: 1,
        replica: ReplicaId(replica),
        standing: Standing::Joined,
        contact: Contact::default(),
    }
}

pub(crate) fn term(number: u32, replica: u32) -> Term {
    Term {
        number,
        replica: ReplicaId(replica),
    }
}

pub(crate) fn record(owner: Term, holders: &[u32]) -> Record {
    Record {
        term: owner,
        epoch: 0,
        holders: holders.iter().copied().map(ReplicaId).collect(),
    }
}

/// An owner that has taken over from node 2 with nodes 3 and 4; node 3 holds the same as it: nothing.
pub(crate) fn owner(partition: Partition) -> Node {
    let (mut node, last) = owner_but_for_a_promise(partition);
    node.hear(4, last);
    assert_eq!(node.shard.role(), Role::Open);
    node
}

/// The same, but for the promise of node 4.
pub(crate) fn owner_but_for_a_promise(partition: Partition) -> (Node, Message) {
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
        answered: Vec::new(),
    };
    node.hear(3, promise(Some(Digest::default())));
    (node, promise(None))
}

/// The key that is hit.
pub(crate) fn key() -> KeyHash {
    KeyHasher::new([7; 16]).hash("", "limit", "key")
}

/// Five a minute.
pub(crate) fn limit() -> Limit {
    Limit::new(Algorithm::FixedWindow, 5, Nanos::from_secs(60)).expect("within bounds")
}

/// Whether something of this kind was sent.
pub(crate) fn sends(sent: &[(ReplicaId, Message)], kind: impl Fn(&Message) -> bool) -> bool {
    sent.iter().any(|(_, message)| kind(message))
}

/// One message that named the highest term there is left no term to claim by: the shard was dead on every node that had
/// read it.
#[test]
fn a_term_that_nobody_can_have_reached_is_ignored() {
    let mut node = Node::new(Partition::Available, false, &[]);
    let claim = |number| {
        let replica = ReplicaId(2);
        Message::Claim {
            term: Term { number, replica },
            consent: None,
            promised_by: Vec::new(),
            record: None,
        }
    };
    let hear = |node: &mut Node, number| {
        node.act(|shard, around| shard.on_message(around, ReplicaId(2), claim(number)))
    };
    node.notes.clear();
    assert_eq!(hear(&mut node, u32::MAX), []);
    let (from, number) = (ReplicaId(2), u32::MAX);
    assert_eq!(node.notes, [Note::TermLeapt { from, number }]);
    assert!(
        !hear(&mut node, 1_000).is_empty(),
        "a peer far ahead is heard"
    );
}

/// What a receiver says when it has taken a piece of a copy, or a delta.
pub(crate) fn receipt(message: &Message) -> Message {
    match message {
        Message::Copy { term, piece, .. } => Message::Received {
            term: *term,
            copy: CopyId::Base(piece.number),
            index: piece.index,
            gap: false,
        },
        Message::Answer { term, piece } => Message::Received {
            term: *term,
            copy: CopyId::Answer(piece.number),
            index: piece.index,
            gap: false,
        },
        Message::Delta { term, through, .. } => Message::Have {
            term: *term,
            through: *through,
            gap: false,
        },
        other => panic!("nothing that is confirmed: {other:?}"),
    }
}
