//! Who has a vote under `quorum`, and when a shard opens although its counts are gone.

use delta_crdt::Digest;
use delta_crdt::ReplicaId;
use membership::{Contact, Member, Standing};
use quota::{BootNanos, Nanos};
use shard::{Message, Note, Partition, Role};

use crate::one_node::{ME, Node, member, record, sends, term};

/// Five members, of which this one has just joined and sees the others; long enough ago to have a say.
fn newcomer() -> Node {
    let mut node = Node::new(Partition::Quorum, true, &[2, 3, 4, 5]);
    node.millis = 1_100;
    let boot = BootNanos::new(1_100_000_000);
    for other in 2..=5 {
        let sent = boot;
        for message in [
            membership::Message::Answer {
                sent,
                granted: true,
            },
            membership::Message::Heartbeat {
                sent,
                roster: 0,
                aside: false,
                behind: Nanos::ZERO,
                quorum_left: Nanos::ZERO,
                council: None,
                recalled: true,
            },
        ] {
            node.membership.on_message(boot, ReplicaId(other), message);
        }
    }
    node
}

fn remembered(record: Option<shard::Record>) -> Message {
    Message::Recalled {
        record,
        remembers: true,
    }
}

fn claim() -> Message {
    Message::Claim {
        term: term(7, 2),
        consent: None,
        promised_by: vec![ReplicaId(3)],
        record: None,
    }
}

fn promises(sent: &[(ReplicaId, Message)]) -> bool {
    sends(sent, |message| matches!(message, Message::Promise { .. }))
}

/// Two of three nodes started again and were cut off from the third: a majority that knew nothing opened what the third held.
#[test]
fn a_newcomer_has_no_vote_before_it_has_heard_a_majority_that_remembers() {
    let mut node = newcomer();
    let sent = node.tick();
    assert!(
        sends(&sent, |message| *message == Message::Recall),
        "{sent:?}"
    );
    assert!(!sends(&sent, |message| matches!(
        message,
        Message::Claim { .. }
    )));
    for from in [2, 3] {
        assert!(!promises(&node.hear(2, claim())));
        node.hear(from, remembered(None));
    }
    node.hear(
        5,
        Message::Recalled {
            record: None,
            remembers: false,
        },
    );
    assert!(
        !promises(&node.hear(2, claim())),
        "two of five, and one that forgot"
    );
    let newest = record(term(6, 3), &[3, 4, 5]);
    node.hear(4, remembered(Some(newest.clone())));
    let sent = node.hear(2, claim());
    let told = sends(
        &sent,
        |message| matches!(message, Message::Promise { record, .. } if record.as_ref() == Some(&newest)),
    );
    assert!(told, "{sent:?}");
}

#[test]
fn when_all_have_started_again_it_is_enough_to_have_heard_everybody() {
    let mut node = newcomer();
    let forgot = || Message::Recalled {
        record: None,
        remembers: false,
    };
    for from in [2, 3, 4] {
        node.hear(from, forgot());
        assert!(!promises(&node.hear(2, claim())));
    }
    node.hear(5, forgot());
    assert!(promises(&node.hear(2, claim())));
}

/// Claims the shard of `holders` with the promises of nodes 2 and 3, who hold nothing, looking on for `millis`.
pub(crate) fn claimed(node: &mut Node, holders: &[u32], millis: u64) {
    node.hear(
        2,
        Message::Announce {
            record: record(term(1, holders[0]), holders),
            through: 1,
            digest: None,
        },
    );
    let until = node.millis + millis;
    while node.millis < until {
        let boot = BootNanos::new(node.millis * 1_000_000);
        for other in [2, 3] {
            let answer = membership::Message::Answer {
                sent: boot,
                granted: true,
            };
            node.membership.on_message(boot, ReplicaId(other), answer);
        }
        for (to, message) in node.tick() {
            if let Message::Claim { term, .. } = message {
                let digest = Some(Digest::default());
                let promise = Message::Promise {
                    term,
                    record: None,
                    digest,
                    answered: vec![],
                };
                node.hear(to.0, promise);
            }
        }
    }
}

/// A shard whose holders had all started again stayed shut for ever.
#[test]
fn a_shard_opens_without_its_counts_once_none_of_its_holders_can_come_back() {
    let mut node = Node::new(Partition::Quorum, false, &[2, 3]);
    let silent = Member {
        name: "silent".into(),
        ..member(9)
    };
    node.membership.on_introduced(BootNanos::new(0), &silent);
    claimed(&mut node, &[9, 8], 3_000);
    assert_eq!(node.shard.role(), Role::Claiming, "node 9 may come back");
    let again = Member {
        incarnation: 2,
        replica: ReplicaId(10),
        contact: Contact::default(),
        standing: Standing::Left,
        ..silent
    };
    node.membership.on_introduced(BootNanos::new(0), &again);
    claimed(&mut node, &[9, 8], 1_000);
    assert_eq!(node.shard.role(), Role::Open);
    assert!(node.notes.contains(&Note::StateLost));
    assert_eq!(node.shard.record().map(|record| record.owner()), Some(ME));
}

/// Two nodes that claimed in turn each gave their claims up before a second had passed, and none opened the shard.
#[test]
fn a_shard_without_holders_opens_a_second_after_they_went_whoever_claims_it_meanwhile() {
    let mut node = Node::new(Partition::Quorum, false, &[2, 3]);
    let announce = Message::Announce {
        record: record(term(1, 9), &[9, 8]),
        through: 1,
        digest: None,
    };
    node.hear(2, announce);
    for number in 1..=5 {
        claimed(&mut node, &[9, 8], 300);
        let term = term(100 * number, 2);
        let claim = Message::Claim {
            term,
            consent: None,
            promised_by: Vec::new(),
            record: None,
        };
        node.hear(2, claim);
        node.hear(2, Message::Release { term });
    }
    assert_eq!(node.shard.role(), Role::Open);
}

/// Several nodes that founded a cluster together never opened a shard: nobody had a record whose holders were to be asked.
#[test]
fn a_shard_that_nobody_has_owned_opens_with_the_promises_of_a_majority() {
    let mut node = Node::new(Partition::Quorum, false, &[2, 3]);
    let sent = node.tick();
    for (to, message) in sent {
        if let Message::Claim { term, .. } = message {
            let promise = Message::Promise {
                term,
                record: None,
                digest: None,
                answered: vec![],
            };
            node.hear(to.0, promise);
        }
    }
    assert_eq!(node.shard.role(), Role::Open);
}
