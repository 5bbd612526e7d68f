//! Laws of placement.

use std::collections::BTreeMap;

use hash_ring::{Member, Placement, Ring};
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::test_runner::FileFailurePersistence;

const SHARDS: u16 = 1024;

fn member(id: u32, name: &str) -> Member<'_> {
    Member {
        id,
        name,
        zone: None,
    }
}

fn members(names: &[String]) -> Vec<Member<'_>> {
    (1..)
        .zip(names)
        .map(|(id, name)| member(id, name))
        .collect()
}

fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("{prefix}{n}")).collect()
}

/// Shards of the fullest member over the mean.
fn imbalance(table: &Placement, members: usize) -> f64 {
    let mut owned = BTreeMap::new();
    for shard in 0..table.shards() {
        *owned.entry(table.owner(shard).unwrap()).or_insert(0_u32) += 1;
    }
    let fullest = owned.values().copied().max().unwrap();
    f64::from(fullest) * members as f64 / f64::from(table.shards())
}

/// Computed once. When this fails, a cluster cannot be upgraded node by node.
#[test]
fn the_placement_of_a_known_view_never_changes() {
    let names = ["a", "b", "c"].map(String::from);
    let table = Ring::new(members(&names)).table(SHARDS);
    let first: Vec<&[u32]> = (0..4).map(|shard| table.order(shard)).collect();
    assert_eq!(first, [[1, 3, 2], [1, 3, 2], [1, 3, 2], [1, 2, 3]]);
    let digest = (0..SHARDS)
        .flat_map(|shard| table.order(shard))
        .fold(0_u64, |digest, &id| {
            digest.wrapping_mul(31).wrapping_add(id.into())
        });
    assert_eq!(digest, 3_471_485_049_266_701_224);
}

#[test]
fn no_members_hold_nothing_and_one_holds_all() {
    let nobody = Ring::new([]).table(SHARDS);
    assert_eq!((nobody.shards(), nobody.owner(7)), (SHARDS, None));
    let alone = Ring::new([member(9, "a")]).table(SHARDS);
    assert!((0..SHARDS).all(|shard| alone.order(shard) == [9]));
}

#[test]
fn shards_are_spread_evenly_over_numbered_names() {
    for prefix in [
        "weir-",
        "node-",
        "weir-0.weir.default.svc.cluster.local-",
        "10.0.0.",
        "n",
    ] {
        for count in 3..=10 {
            let names = numbered(prefix, count);
            let found = imbalance(&Ring::new(members(&names)).table(SHARDS), count);
            println!("{prefix}1..{count}: {found:.3}");
            assert!(found <= 1.15, "{prefix}1..{count}: {found:.3}");
        }
    }
}

/// What luck with names remains: nobody is asked to choose a name for its hash.
#[test]
fn an_unlucky_naming_costs_little() {
    for (count, worst) in [(3, 1.1), (5, 1.15), (10, 1.25)] {
        let found: Vec<f64> = (0..100)
            .map(|naming| {
                let names = numbered(&format!("naming-{naming}-"), count);
                imbalance(&Ring::new(members(&names)).table(SHARDS), count)
            })
            .collect();
        let mean = found.iter().sum::<f64>() / found.len() as f64;
        let max = found.iter().copied().fold(0.0, f64::max);
        println!("{count} members: mean {mean:.3}, worst {max:.3}");
        assert!(mean <= 1.12, "{count} members: mean {mean:.3}");
        assert!(max <= worst, "{count} members: worst {max:.3}");
    }
}

/// What a dead owner leaves does not land on one survivor.
#[test]
fn the_shards_of_one_member_are_replicated_by_all_others() {
    let names = numbered("weir-", 5);
    let table = Ring::new(members(&names)).table(SHARDS);
    let mut replicated = BTreeMap::new();
    for shard in 0..SHARDS {
        if let [1, next, ..] = table.order(shard) {
            *replicated.entry(*next).or_insert(0_u32) += 1;
        }
    }
    assert_eq!(replicated.len(), 4);
    assert!(
        replicated.values().all(|&shards| 30 <= shards),
        "{replicated:?}"
    );
}

#[test]
fn a_restart_under_the_same_name_keeps_its_place() {
    let before = Ring::new([member(1, "a"), member(2, "b")]).table(SHARDS);
    let after = Ring::new([member(1, "a"), member(77, "b")]).table(SHARDS);
    for shard in 0..SHARDS {
        let renamed: Vec<u32> = before
            .order(shard)
            .iter()
            .map(|&id| if id == 2 { 77 } else { id })
            .collect();
        assert_eq!(after.order(shard), renamed);
    }
}

#[test]
fn of_two_incarnations_the_greater_id_counts() {
    let both = [member(4, "a"), member(9, "a"), member(5, "b")];
    let one = Ring::new([member(9, "a"), member(5, "b")]).table(SHARDS);
    assert_eq!(Ring::new(both).table(SHARDS), one);
    assert_eq!(Ring::new(both.into_iter().rev()).table(SHARDS), one);
}

#[test]
fn the_first_replica_stands_in_another_zone_and_owners_ignore_zones() {
    let zones = [Some("east"), Some("east"), Some("east"), Some("west"), None];
    let names = numbered("n", zones.len());
    let plain = members(&names);
    let zoned: Vec<_> = plain
        .iter()
        .zip(zones)
        .map(|(member, zone)| Member { zone, ..*member })
        .collect();
    let zone = |id: u32| zones[id as usize - 1];

    let without = Ring::new(plain).table(SHARDS);
    let with = Ring::new(zoned).table(SHARDS);
    for shard in 0..SHARDS {
        assert_eq!(with.owner(shard), without.owner(shard));
        let order = with.order(shard);
        assert_ne!(zone(order[0]), zone(order[1]), "shard {shard}: {order:?}");
        // Three zones, so the first three places are in three; the rest is what is left of the east.
        assert!(
            order[3..].iter().all(|&id| zone(id) == Some("east")),
            "shard {shard}: {order:?}"
        );
        let mut all = order.to_vec();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3, 4, 5]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/placement.proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    /// The order in which a node heard of the members decides nothing.
    #[test]
    fn any_order_of_members_gives_the_same_placement(
        shuffled in Just(numbered("weir-", 8)).prop_shuffle(),
        zones in prop::collection::vec(prop::option::of("[ab]"), 8),
    ) {
        let of = |names: &[String]| {
            let table = Ring::new(names.iter().map(|name| {
                let number: usize = name.trim_start_matches("weir-").parse().unwrap();
                Member { id: number as u32, name, zone: zones[number - 1].as_deref() }
            }));
            table.table(64)
        };
        prop_assert_eq!(of(&shuffled), of(&numbered("weir-", 8)));
    }

    /// When members leave, only their shards move; when they join, shards move only to them. Without zones the same
    /// holds for every place, not only the first: who stays, stays in order.
    #[test]
    fn a_change_of_view_moves_only_what_it_must(stay in subsequence(numbered("weir-", 7), 1..7)) {
        let all = numbered("weir-", 7);
        let full = members(&all);
        let kept: Vec<_> = full.iter().copied().filter(|m| stay.iter().any(|name| name == m.name)).collect();
        let (before, after) = (Ring::new(full).table(SHARDS), Ring::new(kept.clone()).table(SHARDS));
        for shard in 0..SHARDS {
            let survivors: Vec<u32> = before.order(shard).iter().copied()
                .filter(|id| kept.iter().any(|member| member.id == *id))
                .collect();
            prop_assert_eq!(after.order(shard), survivors);
        }
    }
}
