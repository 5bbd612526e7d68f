//! What was missed is found, however much it is.

use catalogue::{Catalogue, Message};
use quota::Nanos;

use crate::net::{MILLISECOND, Net, id, key};

/// Sets that many keys of 1 KiB at node 1.
fn fill(net: &mut Net, keys: usize) {
    for key in 0..keys {
        let name = format!("{key:06}{}", "y".repeat(1_018));
        net.set(id(1), &name, 5);
        if key % 1_000 == 0 {
            net.run();
        }
    }
    net.run();
}

#[test]
fn a_newcomer_has_everything_before_it_has_caught_up_in_pieces_within_a_window() {
    let mut net = Net::of(2);
    fill(&mut net, 4_500);
    net.connect(id(3));
    net.see_members();
    assert!(!net.nodes[&id(3)].has_caught_up());
    (net.largest, net.most_under_way) = (0, 0);
    net.run();
    assert!(net.nodes[&id(3)].has_caught_up());
    assert_eq!(net.nodes[&id(3)].size(), (4_500, 4_500));
    assert!(net.largest <= 64 * 1024, "{} bytes in a piece", net.largest);
    let bound = 2 * 256 * 1024;
    assert!(
        net.most_under_way <= bound,
        "{} bytes under way",
        net.most_under_way
    );
}

/// A newcomer's patience was renewed by every record more, which somebody who makes limits elsewhere could do for ever.
#[test]
fn what_is_changed_meanwhile_is_no_progress_of_an_exchange() {
    let mut net = Net::of(1);
    fill(&mut net, 10);
    net.connect(id(2));
    net.see_members();
    net.run();
    // Ten records, and its end.
    assert_eq!(net.nodes[&id(2)].exchanged(), 11);
    fill(&mut net, 20);
    assert_eq!(net.nodes[&id(2)].size(), (20, 20));
    assert_eq!(net.nodes[&id(2)].exchanged(), 11);
}

#[test]
fn a_newcomer_fetches_everything_once() {
    let mut net = Net::of(5);
    fill(&mut net, 1_000);
    net.pieces = 0;
    net.join(id(6));
    // Of 64 KiB each; some are cut by the window. Twice is 32.
    assert!((16..=24).contains(&net.pieces), "{} pieces", net.pieces);
}

#[test]
fn a_newcomer_has_caught_up_with_none_that_was_silent() {
    let mut net = Net::of(2);
    net.connect(id(3));
    net.unlink(id(3), id(2));
    let all = [id(1), id(2), id(3)];
    net.with(id(3), |catalogue, now| catalogue.on_members(now, &all));
    net.run();
    assert!(
        !net.nodes[&id(3)].has_caught_up(),
        "node 2 may know of something"
    );
    net.link(id(3), id(2));
    net.run();
    assert!(net.nodes[&id(3)].has_caught_up());
}

#[test]
fn both_sides_of_a_partition_have_all_of_both_after_the_heal() {
    let mut net = Net::of(4);
    for (a, b) in [(1, 3), (1, 4), (2, 3), (2, 4)] {
        net.unlink(id(a), id(b));
    }
    net.see_members();
    net.set(id(1), "one", 1);
    net.set(id(3), "other", 2);
    net.run();
    assert_eq!(net.units(id(2), "other"), None);
    for (a, b) in [(1, 3), (1, 4), (2, 3), (2, 4)] {
        net.link(id(a), id(b));
    }
    net.run();
    for node in 1..=4 {
        assert_eq!(net.units(id(node), "one"), Some(1));
        assert_eq!(net.units(id(node), "other"), Some(2));
    }
}

#[test]
fn who_missed_something_through_a_cut_link_hears_of_it_from_a_third() {
    let mut net = Net::of(3);
    net.unlink(id(1), id(3));
    net.set(id(1), "u1", 5);
    net.run();
    assert_eq!(net.units(id(3), "u1"), None);
    net.pass(Nanos::from_secs(3));
    assert_eq!(net.units(id(3), "u1"), Some(5));
}

/// Seed 4 of the simulated catalogue: of two changes that did not see each other the newer had come to both sides, and the
/// older to one. What stood was the same and so were the sums, so that the other side never heard of the older one.
#[test]
fn a_change_that_has_lost_already_comes_to_who_missed_it() {
    let mut net = Net::of(2);
    net.unlink(id(1), id(2));
    // Both hold the other for alive still, and tell it what waits when it is back. Node 2 is heard, node 1 is not.
    let older = net.set(id(1), "u1", 5);
    net.skip(MILLISECOND.times(5));
    let newer = net.set(id(2), "u1", 7);
    net.link(id(1), id(2));
    net.cut.insert((id(1), id(2)));
    net.run();
    net.unlink(id(1), id(2));
    net.pass(Nanos::from_secs(1));
    assert_eq!(net.settled[&(id(1), older.id)], [id(2)]);
    let record = |net: &Net, node| {
        let address = key("u1");
        let record = net.nodes[&id(node)].record(address.kind, "default", "u1");
        record.unwrap().clone()
    };
    for node in [1, 2] {
        assert_eq!(record(&net, node).stamp(), newer.stamp);
    }
    assert!(record(&net, 1).knows(older.stamp) && !record(&net, 2).knows(older.stamp));
    net.link(id(1), id(2));
    net.run();
    assert!(record(&net, 2).knows(older.stamp));
    assert_eq!(record(&net, 1), record(&net, 2));
}

#[test]
fn an_exchange_whose_end_is_lost_begins_again() {
    let mut net = Net::of(1);
    fill(&mut net, 10);
    net.connect(id(2));
    // Node 2 has asked, and is not heard.
    net.cut.insert((id(2), id(1)));
    net.run();
    net.cut.clear();
    let all = [id(1), id(2)];
    net.with(id(2), |catalogue, now| catalogue.on_members(now, &all));
    assert!(!net.nodes[&id(2)].has_caught_up());
    net.pass(MILLISECOND.times(1_100));
    assert!(net.nodes[&id(2)].has_caught_up());
    assert_eq!(net.nodes[&id(2)].size(), (10, 10));
}

/// Once any word of the peer's kept an exchange alive: with its end lost, and changes there more often than once a second,
/// it never ended, and this node began none with anybody else.
#[test]
fn an_exchange_whose_end_is_lost_begins_again_while_the_peer_changes_things() {
    let mut net = Net::of(1);
    fill(&mut net, 10);
    net.connect(id(2));
    net.see_members();
    net.loses = Some(|from, message| from == id(1) && matches!(message, Message::Done { .. }));
    net.run();
    assert!(!net.nodes[&id(2)].has_caught_up());
    for units in 1..=6 {
        net.set(id(1), "u1", units);
        net.pass(MILLISECOND.times(500));
    }
    assert!(net.nodes[&id(2)].has_caught_up());
}

#[test]
fn a_cluster_that_agrees_says_little() {
    let mut net = Net::of(3);
    fill(&mut net, 100);
    net.pass(Nanos::from_secs(5));
    net.pieces = 0;
    net.pass(Nanos::from_secs(10));
    assert_eq!(net.pieces, 0);
}

#[test]
fn nonsense_of_a_peer_changes_nothing() {
    let mut net = Net::of(2);
    net.set(id(1), "u1", 5);
    net.run();
    let nonsense = [
        Message::Receipt { number: u64::MAX },
        Message::Done { exchange: 77 },
        Message::Wanted {
            exchange: 78,
            buckets: vec![u16::MAX, 4_096, 0],
        },
        Message::Differs {
            exchange: 79,
            sums: vec![(u16::MAX, 1), (0, 1), (0, 2)],
        },
    ];
    for message in nonsense {
        net.with(id(1), |catalogue, now| {
            catalogue.on_message(now, id(2), message.clone());
            catalogue.on_message(now, id(99), message);
        });
    }
    net.run();
    net.pass(Nanos::from_secs(3));
    assert_eq!(net.units(id(2), "u1"), Some(5));
    assert!(net.nodes.values().all(Catalogue::has_caught_up));
}
