//! What is kept on disks, and what comes of it when everybody has been away.

use catalogue::{Catalogue, ChangeError, Kind, Place, Record, Seen, Stamp, TOMBSTONES_LIVE};
use quota::Nanos;

use crate::net::{MILLISECOND, Net, content, id, key};

/// What a node holds, by its disk and by itself.
fn agrees(net: &Net, node: u32) {
    let disk = &net.disks[&id(node)];
    let catalogue = &net.nodes[&id(node)];
    let held = catalogue.places().map(|place| {
        let record = catalogue.record_at(place).unwrap();
        (place, record.clone())
    });
    assert!(held.eq(disk.clone()), "node {node}");
}

/// All nodes stop and come back under new incarnations, with what was on the disks of these.
fn restart(net: &mut Net, with_disks: &[u32]) {
    let nodes: Vec<_> = net.nodes.keys().copied().collect();
    net.nodes.clear();
    for node in nodes {
        let keeps = with_disks.contains(&node.0);
        let disk = net.disks.remove(&node).unwrap_or_default();
        let disk = if keeps { disk } else { Default::default() };
        net.connect_with(id(node.0 + 10), disk);
    }
    net.see_members();
    net.run();
}

#[test]
fn a_disk_holds_what_its_node_does() {
    let mut net = Net::of(3);
    net.set(id(1), "u1", 5);
    net.set(id(1), "u2", 5);
    net.run();
    net.set(id(2), "u1", 7);
    net.remove(id(3), "u2");
    net.unlink(id(1), id(2));
    net.set(id(1), "u3", 1);
    net.skip(MILLISECOND);
    net.set(id(2), "u3", 2);
    net.link(id(1), id(2));
    net.run();
    net.pass(Nanos::from_secs(3));
    for node in 1..=3 {
        agrees(&net, node);
    }
    net.skip(TOMBSTONES_LIVE);
    net.pass(Nanos::from_secs(10));
    for node in 1..=3 {
        assert_eq!(net.nodes[&id(node)].size(), (2, 2));
        agrees(&net, node);
    }
}

#[test]
fn a_cluster_that_was_away_comes_back_with_its_records_and_its_tombstones() {
    let mut net = Net::of(3);
    net.set(id(1), "stays", 5);
    net.set(id(1), "goes", 5);
    net.run();
    net.remove(id(2), "goes");
    net.run();
    // One disk is lost.
    restart(&mut net, &[2, 3]);
    for node in 11..=13 {
        assert_eq!(net.units(id(node), "stays"), Some(5), "{node}");
        assert_eq!(net.units(id(node), "goes"), None, "{node}");
        assert_eq!(net.nodes[&id(node)].size(), (1, 2), "{node}");
        agrees(&net, node);
    }
    assert!(net.nodes.values().all(Catalogue::has_caught_up));
}

/// Of nodes that start together none has had an exchange: each asks the others, and must be told what their disks hold.
#[test]
fn nodes_that_start_together_tell_each_other_what_only_one_of_them_kept() {
    let mut net = Net::of(2);
    net.set(id(1), "both", 5);
    net.run();
    net.unlink(id(1), id(2));
    net.see_members();
    net.set(id(2), "one", 7);
    restart(&mut net, &[1, 2]);
    for node in [11, 12] {
        assert_eq!(net.units(id(node), "both"), Some(5), "{node}");
        assert_eq!(net.units(id(node), "one"), Some(7), "{node}");
    }
    // Written by an incarnation that knows of the old ones: it is the later in any order.
    net.set(id(11), "one", 9);
    net.run();
    assert_eq!(net.units(id(12), "one"), Some(9));
    assert_eq!(net.nodes[&id(12)].conflicts(), 0);
}

#[test]
fn a_tombstone_whose_time_was_over_meanwhile_is_not_kept_any_longer() {
    let mut net = Net::of(1);
    net.set(id(1), "u1", 5);
    net.remove(id(1), "u1");
    net.skip(TOMBSTONES_LIVE + Nanos::from_secs(1));
    restart(&mut net, &[1]);
    assert_eq!(net.nodes[&id(11)].size(), (0, 0));
    assert!(net.disks[&id(11)].is_empty());
    let none = net.nodes[&id(11)].record(Kind::KeyLimit, "default", "u1");
    assert!(none.is_none());
}

/// Whoever keeps a copy of all records brings them back: into a cluster that has lost all, and without undoing anything in the
/// one that has not.
#[test]
fn what_was_kept_elsewhere_joins_what_is_there() {
    let mut net = Net::of(3);
    net.set(id(1), "u1", 5);
    net.set(id(2), "u2", 6);
    net.run();
    net.remove(id(3), "u2");
    net.set(id(3), "u3", 7);
    net.run();
    let kept = || net.nodes[&id(1)].records_after(None);
    let copy: Vec<_> = kept().map(|(_, record)| record.clone()).collect();
    assert_eq!(copy.len(), 3, "the removed one as well");
    let places: Vec<Place> = kept().map(|(place, _)| place).collect();
    for (number, place) in places.iter().enumerate() {
        assert_eq!(place.to_string().parse(), Ok(*place));
        let after = net.nodes[&id(1)].records_after(Some(*place));
        assert!(
            after
                .map(|(place, _)| place)
                .eq(places[number + 1..].iter().copied())
        );
    }
    for text in [
        "",
        "00",
        "g0",
        &"0".repeat(33),
        &format!("ff{}", "0".repeat(32)),
    ] {
        assert!(text.parse::<Place>().is_err(), "{text}");
    }

    let import = |net: &mut Net, to: u32| {
        let copy = copy.clone().into_iter();
        let imported: Vec<_> = copy
            .map(|(address, record)| {
                net.with(id(to), |catalogue, now| {
                    catalogue.import(now, address, record)
                })
                .unwrap()
            })
            .collect();
        net.run();
        imported
    };
    net.set(id(1), "u1", 9);
    net.run();
    assert_eq!(import(&mut net, 2), [None; 3], "nothing new");
    assert_eq!(net.units(id(2), "u1"), Some(9));

    let mut new = Net::of(2);
    let imported = import(&mut new, 1);
    for change in imported.into_iter().flatten() {
        assert_eq!(new.settled[&(id(1), change.id)], [], "the other has it");
    }
    for node in [1, 2] {
        let units = ["u1", "u2", "u3"].map(|name| new.units(id(node), name));
        assert_eq!(units, [Some(5), None, Some(7)]);
        agrees(&new, node);
    }
}

/// Stamps never go back: whoever takes in one of the next century writes all that comes in the next century.
#[test]
fn what_was_written_the_day_after_tomorrow_is_not_taken_in() {
    let mut net = Net::of(2);
    let hours = |hours: u64| Nanos::from_secs(hours * 60 * 60);
    let mut import = |held: Nanos, seen: Option<Nanos>| {
        net.with(id(1), |catalogue, now| {
            let stamp = |ahead: Nanos| {
                let millis = (now.wall + ahead).get() / 1_000_000;
                Stamp::new(millis << 16, id(9)).unwrap()
            };
            let seen = Seen::of(seen.map(stamp));
            let record = Record::new(Some(content(5)), stamp(held), seen);
            catalogue.import(now, key("u1"), record)
        })
    };
    let tomorrow = hours(24);
    let later = tomorrow + MILLISECOND;
    assert_eq!(import(later, None), Err(ChangeError::Ahead));
    assert_eq!(
        import(hours(0), Some(later)),
        Err(ChangeError::Ahead),
        "it would take the writes of 25 hours for known"
    );
    assert!(import(tomorrow, None).unwrap().is_some());
    net.run();
    assert_eq!(net.units(id(2), "u1"), Some(5));
}
