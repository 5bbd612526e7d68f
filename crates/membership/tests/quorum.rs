//! When a node knows that no majority can be had.

use delta_crdt::ReplicaId;
use membership::{Contact, Effect, Member, Membership, Message, Settings, Standing};
use quota::{BootNanos, Nanos};

const ME: u32 = 1;

fn at(millis: u64) -> BootNanos {
    BootNanos::new(millis * 1_000_000)
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

/// A node that has met `others` at its start.
fn node(others: &[u32]) -> Membership {
    let mut node = Membership::new(at(0), member(ME), Settings::lan(), false);
    for &other in others {
        node.on_introduced(at(0), &member(other));
    }
    node
}

/// Ticks every 25 ms up to and including `until`; those of `answering` answer each heartbeat at once.
fn run(node: &mut Membership, from: u64, until: u64, answering: &[u32]) {
    for millis in (from..=until).step_by(25) {
        node.on_tick(at(millis));
        while let Some(effect) = node.next_effect() {
            if let Effect::Send {
                to,
                message: Message::Heartbeat { sent, .. },
            } = effect
                && answering.contains(&to.0)
            {
                let granted = true;
                node.on_message(at(millis), to, Message::Answer { sent, granted });
            }
        }
    }
}

/// `from` says how much longer it has a quorum.
fn says_quorum(node: &mut Membership, millis: u64, from: u32, left: u64) {
    let heartbeat = Message::Heartbeat {
        sent: at(millis),
        roster: node.roster().digest(),
        aside: false,
        behind: Nanos::ZERO,
        quorum_left: Nanos::from_millis(left),
        council: None,
        recalled: true,
    };
    node.on_message(at(millis), ReplicaId(from), heartbeat);
}

#[test]
fn a_quorum_ends_with_the_last_lease_that_made_it() {
    let mut node = node(&[2, 3]);
    run(&mut node, 0, 2_000, &[2, 3]);
    run(&mut node, 2_025, 2_500, &[3]);
    assert_eq!(node.leases().no_quorum_since(at(3_499)), None);
    // The last answered heartbeat was that of 2.5 s.
    run(&mut node, 2_525, 3_475, &[]);
    assert_eq!(node.leases().no_quorum_since(at(3_499)), None);
    assert_eq!(node.leases().no_quorum_since(at(3_500)), Some(at(3_500)));
    run(&mut node, 3_500, 5_000, &[]);
    assert_eq!(node.leases().no_quorum_since(at(5_000)), Some(at(3_500)));
    run(&mut node, 5_025, 5_100, &[2]);
    assert_eq!(
        node.leases().no_quorum_since(at(5_100)),
        None,
        "one is back"
    );
}

#[test]
fn a_member_that_has_a_majority_is_one_to_ask() {
    let mut node = node(&[2, 3, 4, 5]);
    run(&mut node, 0, 1_000, &[2, 3, 4, 5]);
    run(&mut node, 1_025, 2_500, &[2]);
    assert_eq!(node.leases().no_quorum_since(at(2_500)), Some(at(2_000)));
    says_quorum(&mut node, 2_500, 2, 600);
    assert_eq!(node.leases().no_quorum_since(at(2_500)), None);
    run(&mut node, 2_525, 3_100, &[2]);
    assert_eq!(node.leases().no_quorum_since(at(3_099)), None);
    assert_eq!(node.leases().no_quorum_since(at(3_100)), Some(at(3_100)));
    says_quorum(&mut node, 3_100, 2, 5_000);
    run(&mut node, 3_125, 4_100, &[]);
    let answered_last = at(4_100);
    assert_eq!(
        node.leases().no_quorum_since(at(4_100)),
        Some(answered_last)
    );
}

#[test]
fn who_says_that_it_has_no_majority_and_who_does_not_answer_are_not_asked() {
    let mut node = node(&[2, 3, 4, 5]);
    run(&mut node, 0, 2_500, &[2]);
    says_quorum(&mut node, 2_500, 2, 0);
    says_quorum(&mut node, 2_500, 3, 5_000);
    assert!(node.leases().no_quorum_since(at(2_500)).is_some());
}

#[test]
fn a_node_that_was_paused_asks_before_it_concludes() {
    let mut node = node(&[2, 3]);
    run(&mut node, 0, 1_000, &[2, 3]);
    assert_eq!(node.leases().no_quorum_since(at(9_000)), None, "wakes");
    run(&mut node, 9_000, 9_325, &[]);
    assert_eq!(node.leases().no_quorum_since(at(9_325)), None);
    run(&mut node, 9_350, 9_400, &[]);
    assert_eq!(node.leases().no_quorum_since(at(9_400)), Some(at(2_000)));
}

/// It may have been paused since.
#[test]
fn a_node_that_has_not_ticked_for_as_long_as_makes_a_suspect_concludes_nothing() {
    let mut node = node(&[2, 3]);
    run(&mut node, 0, 2_500, &[]);
    assert!(node.leases().no_quorum_since(at(2_849)).is_some());
    assert_eq!(node.leases().no_quorum_since(at(2_850)), None);
}

#[test]
fn a_node_alone_needs_nobody_and_whoever_joins_it_is_asked_first() {
    let mut node = node(&[]);
    run(&mut node, 0, 5_000, &[]);
    assert_eq!(node.leases().no_quorum_since(at(5_000)), None);
    node.on_introduced(at(5_010), &member(2));
    assert_eq!(node.leases().no_quorum_since(at(5_010)), None);
    run(&mut node, 5_025, 5_400, &[]);
    assert!(node.leases().no_quorum_since(at(5_400)).is_some());
}

/// Node `replica` has started again, under the next replica id but nine.
fn starts_again(node: &mut Membership, millis: u64, replica: u32) {
    let again = Member {
        incarnation: 2,
        replica: ReplicaId(replica + 10),
        ..member(replica)
    };
    node.on_introduced(at(millis), &again);
}

/// Hits of a minority waited for up to 350 ms whenever a member of it started again.
#[test]
fn a_minority_that_one_more_comes_to_knows_what_it_knew() {
    let mut node = node(&[2, 3, 4, 5]);
    run(&mut node, 0, 2_500, &[]);
    assert!(node.leases().no_quorum_since(at(2_500)).is_some());
    starts_again(&mut node, 2_510, 2);
    assert!(node.leases().no_quorum_since(at(2_510)).is_some());
    run(&mut node, 2_525, 2_600, &[12]);
    assert!(node.leases().no_quorum_since(at(2_600)).is_some());
    starts_again(&mut node, 2_610, 3);
    run(&mut node, 2_625, 2_700, &[12, 13]);
    assert_eq!(
        node.leases().no_quorum_since(at(2_700)),
        None,
        "three of five"
    );
}

#[test]
fn a_majority_one_of_which_starts_again_asks_that_one_before_it_concludes() {
    let mut node = node(&[2, 3]);
    run(&mut node, 0, 2_500, &[2]);
    starts_again(&mut node, 2_510, 2);
    assert_eq!(node.leases().no_quorum_since(at(2_510)), None);
    run(&mut node, 2_525, 2_900, &[]);
    assert!(node.leases().no_quorum_since(at(2_900)).is_some());
}
