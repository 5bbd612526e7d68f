//! When a change is answered, and what becomes of it.

use accounts::{EndedSession, Role, Seat, UnixSecs};
use catalogue::{Address, AddressError, ChangeError, Content, Kind, SERVICE, TOMBSTONES_LIVE};
use quota::Nanos;

use crate::net::{MILLISECOND, Net, content, id, key};

#[test]
fn a_change_is_answered_when_every_member_has_it() {
    let mut net = Net::of(3);
    let change = net.set(id(1), "u1", 5);
    assert!(!change.replaced);
    assert_eq!(
        net.settled.get(&(id(1), change.id)),
        None,
        "nobody else has it"
    );
    net.run();
    assert_eq!(net.settled[&(id(1), change.id)], []);
    for node in [1, 2, 3] {
        assert_eq!(net.units(id(node), "u1"), Some(5));
    }
}

#[test]
fn a_node_alone_answers_at_once() {
    let mut net = Net::of(1);
    let change = net.set(id(1), "u1", 5);
    assert_eq!(net.settled[&(id(1), change.id)], []);
}

#[test]
fn who_has_not_confirmed_within_a_second_is_named() {
    let mut net = Net::of(3);
    net.unlink(id(1), id(3));
    // Node 1 holds node 3 for alive still.
    let change = net.set(id(1), "u1", 5);
    net.run();
    net.pass(MILLISECOND.times(950));
    assert_eq!(net.settled.get(&(id(1), change.id)), None);
    net.pass(MILLISECOND.times(50));
    assert_eq!(net.settled[&(id(1), change.id)], [id(3)]);
}

#[test]
fn nobody_waits_for_a_member_that_has_gone_silent_and_it_is_named() {
    let mut net = Net::of(3);
    net.unlink(id(1), id(3));
    let change = net.set(id(1), "u1", 5);
    net.run();
    net.see_members();
    assert_eq!(net.settled[&(id(1), change.id)], [id(3)]);
    // Of the next one it was known before.
    let next = net.set(id(1), "u1", 6);
    net.run();
    assert_eq!(net.settled[&(id(1), next.id)], []);
}

#[test]
fn a_newcomer_that_is_connected_confirms_too_before_it_is_a_member() {
    let mut net = Net::of(2);
    net.connect(id(3));
    let change = net.set(id(1), "u1", 5);
    assert_eq!(net.settled.get(&(id(1), change.id)), None);
    net.run();
    assert_eq!(net.units(id(3), "u1"), Some(5));
}

/// Seed 2 of the simulated catalogue: a change that was made before a heal was answered after it, without those who had
/// come back meanwhile.
#[test]
fn who_comes_while_a_change_waits_confirms_it_too() {
    let mut net = Net::of(3);
    net.unlink(id(1), id(3));
    net.see_members();
    net.cut.insert((id(2), id(1)));
    let change = net.set(id(1), "u1", 5);
    net.run();
    net.link(id(1), id(3));
    net.cut.insert((id(3), id(1)));
    net.run();
    net.pass(Nanos::from_secs(1));
    assert_eq!(net.settled[&(id(1), change.id)], [id(2), id(3)]);
}

#[test]
fn a_member_that_the_first_try_did_not_reach_confirms_after_it_is_back() {
    let mut net = Net::of(2);
    net.unlink(id(1), id(2));
    let change = net.set(id(1), "u1", 5);
    net.run();
    net.link(id(1), id(2));
    net.run();
    assert_eq!(net.settled[&(id(1), change.id)], []);
}

#[test]
fn of_two_changes_in_sequence_the_later_wins_although_its_clock_is_an_hour_behind() {
    let mut net = Net::of(2);
    net.offset.insert(id(2), -3_600_000_000_000);
    net.set(id(1), "u1", 100);
    net.run();
    let lowered = net.set(id(2), "u1", 1);
    assert!(lowered.replaced);
    net.run();
    assert_eq!(
        (net.units(id(1), "u1"), net.units(id(2), "u1")),
        (Some(1), Some(1))
    );
    assert_eq!(net.nodes[&id(1)].conflicts(), 0);
}

#[test]
fn of_two_that_did_not_see_each_other_the_newer_wins_on_both_sides() {
    let mut net = Net::of(2);
    net.unlink(id(1), id(2));
    net.see_members();
    net.set(id(1), "u1", 5);
    net.skip(MILLISECOND.times(5));
    net.set(id(2), "u1", 7);
    net.link(id(1), id(2));
    net.run();
    for node in [1, 2] {
        assert_eq!(net.units(id(node), "u1"), Some(7));
    }
    assert_eq!(
        net.nodes[&id(1)].conflicts() + net.nodes[&id(2)].conflicts(),
        2
    );
}

#[test]
fn what_nobody_changed_for_longer_than_tombstones_live_is_changed_without_a_conflict() {
    let mut net = Net::of(2);
    net.set(id(1), "u1", 5);
    net.run();
    net.skip(TOMBSTONES_LIVE + Nanos::from_secs(1));
    net.set(id(2), "u1", 7);
    net.run();
    assert_eq!(net.units(id(1), "u1"), Some(7));
    assert_eq!(net.nodes[&id(1)].conflicts(), 0);
}

#[test]
fn what_was_removed_stays_removed_for_who_was_away() {
    let mut net = Net::of(2);
    net.set(id(1), "u1", 5);
    net.run();
    net.unlink(id(1), id(2));
    net.see_members();
    assert!(
        net.remove(id(1), "u1")
            .is_some_and(|change| change.replaced)
    );
    assert_eq!(net.remove(id(1), "u1"), None, "there is nothing any more");
    net.link(id(1), id(2));
    net.run();
    for node in [1, 2] {
        assert_eq!(net.units(id(node), "u1"), None);
        assert_eq!(net.nodes[&id(node)].size(), (0, 1));
    }
    assert!(!net.set(id(2), "u1", 9).replaced);
}

#[test]
fn a_tombstone_goes_when_its_time_is_over_and_is_not_brought_back() {
    let mut net = Net::of(2);
    net.set(id(1), "u1", 5);
    net.run();
    net.remove(id(1), "u1");
    net.run();
    net.skip(TOMBSTONES_LIVE - MILLISECOND.times(100));
    net.pass(MILLISECOND.times(50));
    assert_eq!(net.nodes[&id(1)].size(), (0, 1));
    net.pass(Nanos::from_secs(10));
    for node in [1, 2] {
        assert_eq!(net.nodes[&id(node)].size(), (0, 0));
    }
    // Another that comes to it later must not get one back from who has not swept yet.
    net.join(id(3));
    assert_eq!(net.nodes[&id(3)].size(), (0, 0));
}

#[test]
fn too_many_changes_that_wait_are_refused_and_change_nothing() {
    let mut net = Net::of(2);
    net.unlink(id(1), id(2));
    let mut refused = None;
    for name in 0..5_000 {
        let set = net.with(id(1), |catalogue, now| {
            let name = format!("u{name}").into();
            catalogue.set(now, "default".into(), name, content(5))
        });
        refused = refused.or(set.err().map(|error| (name, error)));
    }
    assert_eq!(refused, Some((4_096, ChangeError::Busy)));
    assert_eq!(net.units(id(1), "u4096"), None);
    net.pass(Nanos::from_secs(1));
    assert_eq!(net.settled.len(), 4_096);
}

/// Once a longer name was taken here, and refused by every other node for ever.
#[test]
fn a_name_that_no_node_takes_is_refused_where_it_is_made() {
    let mut net = Net::of(2);
    let mut set = |namespace: usize, name: usize| {
        net.with(id(1), |catalogue, now| {
            let (namespace, name) = ("n".repeat(namespace), "k".repeat(name));
            catalogue.set(now, namespace.into(), name.into(), content(5))
        })
        .map(|change| change.replaced)
    };
    assert_eq!(set(512, 1_024), Ok(false));
    assert_eq!(
        set(513, 1_024),
        Err(ChangeError::Address(AddressError::Namespace))
    );
    assert_eq!(
        set(512, 1_025),
        Err(ChangeError::Address(AddressError::Name))
    );
    assert_eq!(net.nodes[&id(1)].size(), (1, 1));
}

/// A page once cost a look at every record of the other namespaces and at every tombstone before it.
#[test]
fn a_page_is_of_its_namespace_and_of_what_stands_there() {
    let mut net = Net::of(1);
    for number in 0..200_u32 {
        let namespace = ["tilsit", "gouda"][number as usize % 2];
        let name = number.to_string();
        let content = content(1 + number);
        let set = net.with(id(1), |catalogue, now| {
            catalogue.set(now, namespace.into(), name.into(), content)
        });
        set.unwrap();
    }
    for number in 0..50 {
        let address = Address {
            namespace: "gouda".into(),
            ..key(&number.to_string())
        };
        net.with(id(1), |catalogue, now| catalogue.remove(now, address))
            .unwrap();
    }
    let page = |net: &Net, namespace, after: Option<&str>, count| -> Vec<String> {
        let node = &net.nodes[&id(1)];
        let listed = node.list(Kind::KeyLimit, namespace, after);
        listed
            .take(count)
            .map(|(name, _)| name.to_string())
            .collect()
    };
    for is_started_again in [false, true] {
        if is_started_again {
            net.with(id(1), |catalogue, _| catalogue.restart());
        }
        assert_eq!(page(&net, "tilsit", None, 999).len(), 100);
        let gouda = page(&net, "gouda", None, 999);
        let stays = |name: &String| matches!(name.parse::<u32>(), Ok(51..200));
        assert!(gouda.len() == 75 && gouda.iter().all(stays), "{gouda:?}");
        assert_eq!(page(&net, "gouda", Some(&gouda[9]), 7), gouda[10..17]);
        assert_eq!(page(&net, "brie", None, 1), [""; 0]);
    }
}

/// A seat is one record, found from its tenant and from its user.
#[test]
fn a_seat_stands_in_the_lists_of_its_tenant_and_of_its_user() {
    let mut net = Net::of(1);
    let seat = |role| Content::Seat(Seat::new(UnixSecs::new(1), role));
    for (name, role) in [
        ("t1/u1", Role::Owner),
        ("t1/u2", Role::Viewer),
        ("t2/u1", Role::Admin),
    ] {
        net.with(id(1), |catalogue, now| {
            catalogue.set(now, SERVICE.into(), name.into(), seat(role))
        })
        .unwrap();
    }
    let listed = |net: &Net, namespace| {
        let listed = net.nodes[&id(1)].list(Kind::Seat, namespace, None);
        let mut names: Vec<String> = listed.map(|(name, _)| name.to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(listed(&net, "t1"), ["t1/u1", "t1/u2"]);
    assert_eq!(listed(&net, "u1"), ["t1/u1", "t2/u1"]);
    let address = Address::new(Kind::Seat, SERVICE.into(), "t1/u1".into()).unwrap();
    net.with(id(1), |catalogue, now| catalogue.remove(now, address))
        .unwrap();
    assert_eq!(listed(&net, "t1"), ["t1/u2"]);
    assert_eq!(listed(&net, "u1"), ["t2/u1"]);
}

/// What says itself how long it is remembered leaves no tombstone, and comes back from nobody who has not swept yet.
#[test]
fn an_ended_session_is_forgotten_when_it_is_over() {
    let mut net = Net::of(2);
    let over_at = UnixSecs::new(net.now(id(1)).wall.get() / 1_000_000_000 + 100);
    let ended = Content::EndedSession(EndedSession {
        remember_until: over_at,
    });
    net.with(id(1), |catalogue, now| {
        catalogue.set(now, SERVICE.into(), "ses".into(), ended)
    })
    .unwrap();
    net.run();
    net.pass(Nanos::from_secs(90));
    assert_eq!(net.nodes[&id(2)].size(), (1, 1));
    net.pass(Nanos::from_secs(20));
    for node in [1, 2] {
        assert_eq!(net.nodes[&id(node)].size(), (0, 0));
        assert_eq!(
            net.nodes[&id(node)]
                .list(Kind::EndedSession, SERVICE, None)
                .count(),
            0
        );
    }
    net.join(id(3));
    assert_eq!(net.nodes[&id(3)].size(), (0, 0));
}
