//! Copies in pieces: an owner and a node that is to follow it, with a link between them that the test makes.

use std::collections::BTreeSet;

use delta_crdt::{ReplicaId, Term};
use quota::{Algorithm, Cost, KeyHash, KeyHasher, Limit, Nanos};
use shard::{
    Baseline, Copies, CopyForm, CopyId, Message, Operation, Outcome, Partition, Piece, Role,
    ShardId,
};

use crate::one_node::{Node, limit, receipt, record, term};

const FOLLOWER: ReplicaId = ReplicaId(3);
const OURS: Term = Term {
    number: 1,
    replica: crate::one_node::ME,
};

fn key(number: u64) -> KeyHash {
    KeyHasher::new([7; 16]).hash("", "limit", &number.to_string())
}

/// An owner of `keys` keys, with `hits` hits in each, whose follower has joined after they were counted.
fn owner_of(partition: Partition, keys: u64, hits: u64, limit: &Limit) -> Node {
    let mut node = Node::new(partition, false, &[]);
    node.tick();
    assert_eq!(node.shard.role(), Role::Open);
    for number in 0..keys {
        for _ in 0..hits {
            hit(&mut node, number, limit);
        }
    }
    node.meet(FOLLOWER.0);
    node
}

fn hit(node: &mut Node, number: u64, limit: &Limit) {
    node.act(|shard, around| {
        shard.look(around);
        let outcome = shard.on_hit(
            around.now,
            key(number),
            limit,
            Operation::Hit(Cost::ONE),
            None,
        );
        assert!(matches!(outcome, Outcome::Decided { .. }), "{outcome:?}");
    });
}

/// A log of 4 000 entries takes 64 KB.
fn large_log() -> Limit {
    Limit::new(Algorithm::SlidingLog, 5_000, Nanos::from_secs(3_600)).expect("a limit that can be")
}

fn pieces(sent: &[(ReplicaId, Message)]) -> Vec<(u64, &Piece)> {
    let copies = sent.iter().filter_map(|(to, message)| match message {
        Message::Copy { through, piece, .. } if *to == FOLLOWER => Some((*through, piece)),
        _ => None,
    });
    copies.collect()
}

fn received(piece: &Piece) -> Message {
    Message::Received {
        term: OURS,
        copy: CopyId::Base(piece.number),
        index: piece.index,
        gap: false,
    }
}

/// The next piece for the follower, ticking until there is one.
fn next_piece(node: &mut Node, mut sent: Vec<(ReplicaId, Message)>) -> (u64, Piece) {
    for _ in 0..20 {
        if let Some(&(through, piece)) = pieces(&sent).first() {
            return (through, piece.clone());
        }
        sent = node.tick();
    }
    panic!("no piece was sent");
}

#[test]
fn a_copy_comes_in_pieces_one_at_a_time_and_ends_with_every_key() {
    let mut node = owner_of(Partition::Available, 5_000, 1, &limit());
    let mut seen = BTreeSet::new();
    let mut sent = node.tick();
    for index in 0.. {
        let (_, piece) = next_piece(&mut node, sent);
        assert_eq!(piece.index, index);
        assert!(
            piece.cells.len() < 2_500,
            "{} cells in one piece",
            piece.cells.len()
        );
        assert!(
            seen.last() < piece.cells.first().map(|(key, _)| key),
            "in order, none twice"
        );
        seen.extend(piece.cells.iter().map(|&(key, _)| key));
        if piece.is_last {
            break;
        }
        sent = node.hear(3, received(&piece));
    }
    assert_eq!(seen.len(), 5_000);
}

/// A copy that took longer than 250 ms disowned its receipt: the receipt of what had left first was for another
/// `through` than the one that was sent since.
#[test]
fn a_receipt_counts_however_late_it_comes_and_however_often_its_piece_left() {
    let mut node = owner_of(Partition::Available, 10, 1, &limit());
    let sent = node.tick();
    let (through, first) = next_piece(&mut node, sent);
    assert!(first.is_last);
    for number in 0..10 {
        hit(&mut node, number, &limit());
    }
    node.millis += 5_000;
    let mut sent = Vec::new();
    node.act(|shard, _| {
        shard.send_piece(FOLLOWER, CopyForm::Pieces);
    })
    .into_iter()
    .for_each(|message| sent.push(message));
    let (again, second) = next_piece(&mut node, sent);
    assert_eq!(
        (again, second.number, second.index),
        (through, first.number, first.index)
    );
    let sent = node.hear(3, received(&first));
    let follows = sent.iter().any(|(to, message)| {
        *to == FOLLOWER
            && matches!(message, Message::Delta { baseline: Baseline::After(after), cells, .. } if *after == through && cells.len() == 10)
    });
    assert!(follows, "what was written since follows the copy: {sent:?}");
}

#[test]
fn a_receipt_of_another_copy_or_piece_confirms_nothing() {
    let mut node = owner_of(Partition::Available, 5_000, 1, &limit());
    let sent = node.tick();
    let (_, piece) = next_piece(&mut node, sent);
    let wrong = [
        Message::Received {
            term: OURS,
            copy: CopyId::Base(piece.number + 1),
            index: 0,
            gap: false,
        },
        Message::Received {
            term: OURS,
            copy: CopyId::Answer(piece.number),
            index: 0,
            gap: false,
        },
        Message::Received {
            term: OURS,
            copy: CopyId::Base(piece.number),
            index: 1,
            gap: false,
        },
        Message::Received {
            term: term(9, 1),
            copy: CopyId::Base(piece.number),
            index: 0,
            gap: false,
        },
        Message::Have {
            term: OURS,
            through: 5_001,
            gap: false,
        },
    ];
    for message in wrong {
        let sent = node.hear(3, message.clone());
        assert!(
            pieces(&sent).is_empty(),
            "{message:?} let the next piece go"
        );
    }
    let sent = node.hear(3, received(&piece));
    assert_eq!(pieces(&sent)[0].1.index, 1);
    let sent = node.hear(3, received(&piece));
    assert!(pieces(&sent).is_empty(), "a receipt that came twice");
}

/// 200 keys of a full log of 10 000 entries were one message of 32 MB and more: no frame took it, it was lost, made anew
/// and lost again for ever.
#[test]
fn no_piece_is_longer_than_one_key_even_where_keys_are_large() {
    let limit = large_log();
    let mut node = owner_of(Partition::Available, 8, 4_000, &limit);
    let mut sent = node.tick();
    let mut keys = 0;
    loop {
        let (_, piece) = next_piece(&mut node, sent);
        assert!(
            piece.cells.len() <= 1,
            "{} large keys in one piece",
            piece.cells.len()
        );
        keys += piece.cells.len();
        if piece.is_last {
            break;
        }
        sent = node.hear(3, received(&piece));
    }
    assert_eq!(keys, 8);
}

#[test]
fn writes_of_large_keys_leave_one_delta_at_a_time_and_none_is_longer_than_any_frame() {
    let limit = large_log();
    let mut node = owner_of(Partition::Available, 40, 1_000, &limit);
    let mut sent = node.tick();
    let through = loop {
        let (through, piece) = next_piece(&mut node, sent);
        if piece.is_last {
            let end = received(&piece);
            node.hear(3, end);
            break through;
        }
        sent = node.hear(3, received(&piece));
    };
    for number in 0..40 {
        hit(&mut node, number, &limit);
    }
    let mut sent = node.tick();
    let (mut acked, mut deltas) = (through, 0);
    while acked < through + 40 {
        let under_way: Vec<_> = sent
            .iter()
            .filter(|(to, message)| *to == FOLLOWER && matches!(message, Message::Delta { .. }))
            .collect();
        let [(_, delta)] = under_way[..] else {
            panic!("{} deltas under way at once", under_way.len());
        };
        let Message::Delta {
            baseline,
            through,
            cells,
            ..
        } = delta
        else {
            unreachable!()
        };
        assert_eq!(*baseline, Baseline::After(acked));
        // 1 000 entries of 16 bytes each: 512 KiB are 32 such cells.
        assert!(cells.len() <= 33, "{} cells in one delta", cells.len());
        (acked, deltas) = (*through, deltas + 1);
        let have = receipt(delta);
        sent = node.hear(3, have);
    }
    assert_eq!(deltas, 2);
}

/// Two nodes whose messages the test carries: all of them, in the order in which they were sent.
fn copied(partition: Partition, keys: u64) -> (Node, Node) {
    let mut owner = owner_of(partition, keys, 1, &limit());
    let mut follower = Node::of(FOLLOWER, partition, true, &[crate::one_node::ME.0]);
    for _ in 0..40 {
        let sent = owner.tick();
        carry(&mut owner, &mut follower, sent);
    }
    (owner, follower)
}

/// Carries messages to and fro until nobody has anything to say.
fn carry(owner: &mut Node, follower: &mut Node, mut sent: Vec<(ReplicaId, Message)>) {
    while !sent.is_empty() {
        let mut answers = Vec::new();
        for (to, message) in sent.drain(..) {
            if to == FOLLOWER {
                answers.extend(follower.hear(crate::one_node::ME.0, message));
            }
        }
        for (to, message) in answers {
            if to == crate::one_node::ME {
                sent.extend(owner.hear(FOLLOWER.0, message));
            }
        }
    }
}

#[test]
fn a_follower_ends_with_what_the_owner_has() {
    let (owner, follower) = copied(Partition::Available, 5_000);
    assert_eq!(follower.shard.cells().len(), 5_000);
    assert_eq!(
        follower.shard.cells().digest(),
        owner.shard.cells().digest()
    );
    assert!(
        owner
            .shard
            .record()
            .is_some_and(|record| record.held_by(FOLLOWER))
    );
}

/// A copy was begun for one that was to hold the shard, and another came to hold it: what had been copied was kept for good,
/// with keys that the owner had evicted since.
#[test]
fn a_copy_that_came_to_nothing_is_let_go_of() {
    let owner = owner_of(Partition::Quorum, 3, 1, &limit());
    let cells = owner.shard.cells().iter().collect();
    let ours = record(OURS, &[OURS.replica.0]);
    let mut outsider = Node::of(FOLLOWER, Partition::Quorum, true, &[OURS.replica.0]);
    let copy = Message::Copy {
        term: OURS,
        record: ours.clone(),
        through: 5,
        piece: Piece {
            number: 1,
            index: 0,
            is_last: true,
            buckets: u16::MAX,
            cells,
            admitted: Vec::new(),
        },
    };
    outsider.hear(OURS.replica.0, copy);
    let announced = |through, digest| Message::Announce {
        record: ours.clone(),
        through,
        digest,
    };
    let digest = Some(owner.shard.cells().digest());
    for message in [
        announced(5, None),
        announced(6, digest.clone()),
        announced(5, None),
        announced(6, None),
    ] {
        outsider.hear(OURS.replica.0, message.clone());
        let kept = outsider.shard.cells().len();
        assert_eq!(kept, 3, "it may become a holder: {message:?}");
    }
    outsider.hear(OURS.replica.0, announced(6, None));
    assert_eq!(outsider.shard.cells().len(), 0, "said twice");
}

/// Under `quorum` a whole copy replaces what the receiver had. It must not go before the copy is there: the owner may
/// die in between, and then the receiver is the one who has the counts.
#[test]
fn a_copy_that_replaces_is_taken_when_it_is_complete() {
    let mut follower = Node::of(FOLLOWER, Partition::Quorum, false, &[1, 2]);
    let ours = |counter, keys: std::ops::Range<u64>| {
        let mut cells = delta_crdt::Cells::new();
        for number in keys {
            let dot = delta_crdt::Dot {
                actor: OURS,
                counter,
            };
            let now = quota::UnixNanos::new(1_700_000_000_000_000_000);
            let _written = cells.hit(now, key(number), &limit(), Cost::ONE, dot);
        }
        cells.iter().collect::<Vec<_>>()
    };
    let copy = |number, index, is_last, through, cells| Message::Copy {
        term: OURS,
        record: record(OURS, &[1, 3]),
        through,
        piece: Piece {
            number,
            index,
            is_last,
            buckets: u16::MAX,
            cells,
            admitted: vec![],
        },
    };
    follower.hear(1, copy(1, 0, true, 5, ours(5, 0..10)));
    assert_eq!(follower.shard.cells().len(), 10);
    follower.hear(1, copy(2, 0, false, 9, ours(9, 20..23)));
    assert_eq!(
        follower.shard.cells().len(),
        10,
        "the first half of a copy replaces nothing"
    );
    let sent = follower.hear(1, copy(2, 2, true, 9, ours(9, 26..28)));
    assert_eq!(
        follower.shard.cells().len(),
        10,
        "nor does the end of one whose middle is missing"
    );
    let is_gap = |message: &Message| matches!(message, Message::Received { gap: true, .. });
    assert!(crate::one_node::sends(&sent, is_gap), "{sent:?}");
    follower.hear(1, copy(2, 1, true, 9, ours(9, 23..26)));
    assert_eq!(follower.shard.cells().len(), 6);
}

#[test]
fn a_window_holds_what_is_under_way_and_lets_the_next_go_when_it_arrives() {
    let (mut copies, now) = (Copies::default(), quota::BootNanos::new(0));
    for shard in 0..100 {
        copies.wants(FOLLOWER, ShardId(shard), false);
        copies.wants(FOLLOWER, ShardId(shard), false);
    }
    copies.wants(FOLLOWER, ShardId(500), true);
    let mut under_way = Vec::new();
    while let Some((to, shard)) = copies.next_turn() {
        copies.sent(now, to, shard, 64 * 1024);
        under_way.push(shard.0);
    }
    assert_eq!(
        under_way,
        [500, 0, 1, 2],
        "four pieces of 64 KiB, what is waited for first"
    );
    copies.received(now, FOLLOWER, ShardId(1));
    copies.received(now, FOLLOWER, ShardId(1));
    assert_eq!(
        copies.next_turn(),
        Some((FOLLOWER, ShardId(3))),
        "each waits once"
    );
}

/// The timer that sent a copy again did not know how long the link takes for one.
#[test]
fn a_piece_is_sent_again_when_its_receipt_is_late_for_this_link() {
    let millis = |millis: u64| quota::BootNanos::new(millis * 1_000_000);
    let mut copies = Copies::default();
    let mut clock = 0;
    for shard in 0..40 {
        copies.wants(FOLLOWER, ShardId(shard), false);
        let (to, shard) = copies.next_turn().expect("it waits");
        copies.sent(millis(clock), to, shard, 1_000);
        clock += 700 + u64::from(shard.0 % 2) * 100;
        copies.on_tick(millis(clock));
        assert_eq!(
            copies.next_turn(),
            None,
            "{shard} is under way, and not late"
        );
        copies.received(millis(clock), to, shard);
    }
    copies.wants(FOLLOWER, ShardId(7), false);
    let mut sent_at = Vec::new();
    for tick in 0..1_200 {
        let now = clock + tick * 25;
        copies.on_tick(millis(now));
        if let Some((to, shard)) = copies.next_turn() {
            copies.sent(millis(now), to, shard, 1_000);
            sent_at.push(now - clock);
        }
    }
    assert!(900 < sent_at[1] && sent_at[1] < 1_500, "{sent_at:?}");
    assert!(
        sent_at[1] * 2 < sent_at[2] + 100 && sent_at.len() <= 6,
        "waits grow: {sent_at:?}"
    );
}

fn at(millis: u64) -> quota::BootNanos {
    quota::BootNanos::new(millis * 1_000_000)
}

const KIB: usize = 1_024;

/// After how many milliseconds a piece of `shard` that leaves now is sent again.
fn late_after(copies: &mut Copies, from: u64, shard: ShardId) -> u64 {
    copies.sent(at(from), FOLLOWER, shard, KIB);
    let late = (1..20_000).find(|millis| {
        copies.on_tick(at(from + millis));
        copies.next_turn() == Some((FOLLOWER, shard))
    });
    late.expect("it is sent again")
}

#[test]
fn a_receipt_is_waited_for_as_long_as_those_before_took_and_four_times_as_they_differ() {
    let mut copies = Copies::default();
    let shard = ShardId(3);
    assert_eq!(late_after(&mut copies, 0, shard), 1_000, "none has come");
    copies.had_none(FOLLOWER, shard);
    let mut now = 10_000;
    let mut receipt_takes = |copies: &mut Copies, millis| {
        copies.sent(at(now), FOLLOWER, shard, KIB);
        copies.received(at(now + millis), FOLLOWER, shard);
        assert_eq!(copies.bytes_under_way(FOLLOWER), 0);
        now += 10_000;
    };
    let late = |copies: &mut Copies| {
        let late = late_after(copies, 1_000_000, shard);
        copies.had_none(FOLLOWER, shard);
        late
    };
    receipt_takes(&mut copies, 400);
    assert_eq!(late(&mut copies), 400 + 4 * 200);
    receipt_takes(&mut copies, 600);
    assert_eq!(late(&mut copies), (350 + 75) + 4 * (150 + 50));
    let mut quick = Copies::default();
    receipt_takes(&mut quick, 8);
    assert_eq!(late(&mut quick), 250, "the other end may be busy");
    let mut slow = Copies::default();
    receipt_takes(&mut slow, 9_000);
    assert_eq!(late(&mut slow), 16_000);
}

/// Of a piece that was sent twice nobody knows which one the receipt is for.
#[test]
fn a_piece_is_waited_for_twice_as_long_each_time_and_its_receipt_teaches_nothing() {
    let mut copies = Copies::default();
    let (shard, other) = (ShardId(3), ShardId(4));
    copies.sent(at(0), FOLLOWER, shard, KIB);
    copies.received(at(8), FOLLOWER, shard);
    let mut waits = Vec::new();
    for attempt in 0..9 {
        waits.push(late_after(&mut copies, 100_000 * attempt, shard));
    }
    let doubled = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 16_000, 16_000];
    assert_eq!(waits, doubled);
    assert_eq!(late_after(&mut copies, 2_000_000, other), 250, "another's");
    copies.sent(at(3_000_000), FOLLOWER, shard, KIB);
    copies.received(at(3_010_000), FOLLOWER, shard);
    assert_eq!(late_after(&mut copies, 4_000_000, shard), 250);
    assert_eq!(late_after(&mut copies, 5_000_000, shard), 500);
    copies.had_none(FOLLOWER, shard);
    assert_eq!(late_after(&mut copies, 6_000_000, shard), 250);
}

#[test]
fn a_window_has_room_while_less_than_256_kib_are_under_way() {
    let mut copies = Copies::default();
    let (now, shards) = (at(0), [1, 2, 3].map(ShardId));
    for shard in shards {
        copies.wants(FOLLOWER, shard, false);
    }
    assert_eq!(copies.next_turn(), Some((FOLLOWER, shards[0])));
    copies.sent(now, FOLLOWER, shards[0], 256 * KIB - 1);
    assert_eq!(copies.next_turn(), Some((FOLLOWER, shards[1])));
    copies.sent(now, FOLLOWER, shards[1], 1);
    assert_eq!(copies.next_turn(), None, "it is full");
    assert_eq!(copies.bytes_under_way(FOLLOWER), 256 * KIB);
    // The same piece once more, as it is by now.
    copies.sent(now, FOLLOWER, shards[0], 100 * KIB);
    assert_eq!(copies.bytes_under_way(FOLLOWER), 100 * KIB + 1);
    assert_eq!(copies.next_turn(), Some((FOLLOWER, shards[2])));
    assert_eq!(copies.next_turn(), None, "none waits");
    copies.received(now, FOLLOWER, shards[0]);
    assert_eq!(copies.bytes_under_way(FOLLOWER), 1);
    copies.on_tick(at(1_000));
    assert_eq!(copies.bytes_under_way(FOLLOWER), 0, "it is late");
}

#[test]
fn what_was_under_way_when_a_connection_ended_leaves_first_and_with_new_patience() {
    let mut copies = Copies::default();
    let (lost, late, waits) = (ShardId(1), ShardId(2), ShardId(3));
    assert_eq!(late_after(&mut copies, 0, late), 1_000);
    copies.wants(FOLLOWER, waits, false);
    copies.sent(at(2_000), FOLLOWER, lost, KIB);
    copies.wants(FOLLOWER, lost, false);
    copies.lost(FOLLOWER);
    assert_eq!(copies.bytes_under_way(FOLLOWER), 0);
    assert_eq!(copies.next_turn(), Some((FOLLOWER, lost)));
    assert_eq!(copies.next_turn(), Some((FOLLOWER, waits)));
    assert_eq!(copies.next_turn(), None);
    assert_eq!(late_after(&mut copies, 3_000, late), 1_000, "not doubled");
}

#[test]
fn copies_to_a_node_that_went_are_forgotten() {
    let mut copies = Copies::default();
    let stays = ReplicaId(4);
    for to in [FOLLOWER, stays] {
        copies.sent(at(0), to, ShardId(1), KIB);
        copies.wants(to, ShardId(2), false);
    }
    copies.retain(|peer| peer == stays);
    let under_way = [FOLLOWER, stays].map(|to| copies.bytes_under_way(to));
    assert_eq!(under_way, [0, KIB]);
    assert_eq!(copies.next_turn(), Some((stays, ShardId(2))));
    assert_eq!(copies.next_turn(), None);
}
