use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::slot::KEYS_MAX;
use super::*;

/// Where a slot begins.
const START: u32 = 1_800_000_000;

fn deny(tops: &mut Tops, now: u32, limit: &str, key: &str) {
    tops.deny(now, &"tn".into(), &limit.into(), key);
}

/// What is told of the limit `login`: key, allowed, denied, error.
fn told(tops: &Tops, now: u32) -> Vec<(String, u64, u64, u64)> {
    let TopKeys { keys, .. } = tops.keys("tn", "login", now);
    let told = keys.into_iter().map(|told| {
        let TopKey {
            key,
            allowed,
            denied,
            error,
        } = told;
        (key.to_string(), allowed, denied, error)
    });
    told.collect()
}

/// What it says of itself is what it holds.
fn check(tops: &Tops) {
    let bytes = |of: &Namespace| of.limits.values().map(Hour::bytes).sum::<usize>();
    for of in tops.namespaces.values() {
        assert_eq!(of.bytes, bytes(of));
        assert!(of.bytes <= tops.namespace_bytes_max);
    }
    let all: usize = tops.namespaces.values().map(bytes).sum();
    assert_eq!(tops.bytes, all);
    assert!(tops.bytes <= tops.bytes_max);
}

fn limits(tops: &Tops) -> Vec<&str> {
    let limits = tops.namespaces.values().flat_map(|of| of.limits.keys());
    let mut limits: Vec<_> = limits.map(|name| &**name).collect();
    limits.sort_unstable();
    limits
}

/// Denials: by which node, in which minute, of which key. Few keys have most, and there are more than a table has room for.
fn denials() -> impl Strategy<Value = Vec<(usize, u32, u32)>> {
    let key = (0..25_u32, 0..25_u32).prop_map(|(one, other)| one * other);
    let mut denials = vec((0..3_usize, 0..=60_u32, key), 0..4_000).boxed();
    denials = denials
        .prop_map(|mut denials| {
            denials.sort_by_key(|(_, minute, _)| *minute);
            denials
        })
        .boxed();
    denials
}

fn count<'d>(denials: impl IntoIterator<Item = &'d (usize, u32, u32)>) -> HashMap<Arc<str>, u64> {
    let mut counts = HashMap::new();
    for (.., key) in denials {
        *counts.entry(key.to_string().into()).or_default() += 1;
    }
    counts
}

/// What is told holds what is true in its bounds.
fn hold(told: &TopKeys, truth: &HashMap<Arc<str>, u64>) -> Result<(), TestCaseError> {
    for key in &told.keys {
        let is = truth.get(&key.key).copied().unwrap_or(0);
        let least = key.denied - key.error;
        prop_assert!((least..=key.denied).contains(&is), "{is}: {key:?}");
    }
    let names: Vec<_> = told.keys.iter().map(|key| &key.key).collect();
    for (key, is) in truth.iter().filter(|(key, _)| !names.contains(key)) {
        prop_assert!(*is <= told.rest, "{key}: {is}, told {}", told.rest);
    }
    prop_assert!(
        told.keys
            .is_sorted_by_key(|key| std::cmp::Reverse(key.denied))
    );
    Ok(())
}

proptest! {
    /// The laws of Space-Saving.
    #[test]
    fn a_slot_tells_within_its_bounds_and_of_every_frequent_key(denials in denials()) {
        let mut slot = Slot::new(0);
        for (.., key) in &denials {
            slot.deny(&key.to_string());
        }
        let (told, truth) = (TopKeys::together([slot.keys()]), count(&denials));
        prop_assert!(told.keys.len() <= KEYS_MAX);
        hold(&told, &truth)?;
        let sum: u64 = told.keys.iter().map(|key| key.denied).sum();
        prop_assert_eq!(sum, denials.len() as u64);
        for (key, is) in truth {
            let is_frequent = denials.len() as u64 / (KEYS_MAX as u64) < is;
            prop_assert!(!is_frequent || told.keys.iter().any(|told| told.key == key), "{}", key);
        }
    }

    /// Also after each node has told of its first keys alone.
    #[test]
    fn an_hour_of_all_nodes_is_told_within_its_bounds(denials in denials(), told_by_each in 1..150_usize) {
        let mut nodes: [Tops; 3] = Default::default();
        for (node, minute, key) in &denials {
            deny(&mut nodes[*node], START + 60 * minute, "login", &key.to_string());
            check(&nodes[*node]);
        }
        // The slot of the first five minutes is the thirteenth by then.
        let truth = count(denials.iter().filter(|(_, minute, _)| 5 <= *minute));
        let told = nodes.iter().map(|node| node.keys("tn", "login", START + 3_600));
        let told = TopKeys::together(told.map(|told| told.first(told_by_each)));
        hold(&told, &truth)?;
        hold(&told.first(20), &truth)?;
    }
}

#[test]
fn few_keys_are_counted_exactly_and_told_in_their_order() {
    let mut tops = Tops::default();
    for (key, times) in [("ada", 3), ("<b>", 5), ("eve", 1)] {
        for second in 0..times {
            deny(&mut tops, START + 100 * second, "login", key);
        }
    }
    deny(&mut tops, START, "other", "ada");
    let row = |key: &str, denied| (key.to_owned(), 0, denied, 0);
    let expected = [row("<b>", 5), row("ada", 3), row("eve", 1)];
    assert_eq!(told(&tops, START + 500), expected);
    assert_eq!(tops.keys("other", "login", START), TopKeys::default());
    assert_eq!(tops.keys("tn", "none", START), TopKeys::default());
    check(&tops);
}

#[test]
fn what_was_allowed_is_told_of_keys_that_were_denied() {
    let mut tops = Tops::default();
    let allow = |tops: &mut Tops, now, key| tops.allow(now, "tn", "login", key);
    allow(&mut tops, START, "ada");
    deny(&mut tops, START, "login", "ada");
    allow(&mut tops, START + 1, "ada");
    allow(&mut tops, START + 1, "eve");
    allow(&mut tops, START + SLOT_SECS, "ada");
    assert_eq!(told(&tops, START), [("ada".to_owned(), 1, 1, 0)]);
}

#[test]
fn an_hour_slides_by_five_minutes_and_what_is_over_is_let_go_of() {
    let mut tops = Tops::default();
    deny(&mut tops, START + 10, "login", "ada");
    deny(&mut tops, START + SLOT_SECS, "login", "eve");
    let told_at = |tops: &Tops, now| -> Vec<String> {
        told(tops, now).into_iter().map(|(key, ..)| key).collect()
    };
    assert_eq!(told_at(&tops, START + 3_599), ["ada", "eve"]);
    assert_eq!(told_at(&tops, START + 3_600), ["eve"]);
    assert_eq!(told_at(&tops, START + 3_899), ["eve"]);
    assert!(told_at(&tops, START + 3_900).is_empty());
    tops.on_second(START + 3_899);
    assert_eq!(tops.namespaces["tn"].limits["login"].slots.len(), 1);
    check(&tops);
    tops.on_second(START + 3_900);
    assert!(tops.namespaces.is_empty(), "no key is held for longer");
    assert_eq!(tops.bytes, 0);
}

#[test]
fn a_clock_that_drifts_back_goes_on_and_one_that_was_set_begins_anew() {
    let mut tops = Tops::default();
    deny(&mut tops, START + 1, "login", "ada");
    deny(&mut tops, START - 1, "login", "ada");
    assert_eq!(told(&tops, START - 1), [("ada".to_owned(), 0, 2, 0)]);
    deny(&mut tops, START - 3_600, "login", "eve");
    assert_eq!(told(&tops, START - 3_600), [("eve".to_owned(), 0, 1, 0)]);
    check(&tops);
}

#[test]
fn of_a_namespace_the_limit_that_was_silent_for_longest_makes_room() {
    let mut tops = Tops {
        namespace_bytes_max: 15_000,
        ..Tops::default()
    };
    let key = "k".repeat(600);
    for limit in 0..9 {
        let now = START + limit * SLOT_SECS;
        deny(&mut tops, now, &limit.to_string(), &key);
    }
    check(&tops);
    // Of nine limits of some 1 600 bytes each.
    deny(&mut tops, START + 9 * SLOT_SECS, "0", &key);
    check(&tops);
    // The two that were silent for longest: so that room is not made for each one more.
    assert_eq!(limits(&tops), ["0", "3", "4", "5", "6", "7", "8"]);
}

#[test]
fn of_a_node_the_namespace_that_was_silent_for_longest_makes_room() {
    let mut tops = Tops {
        bytes_max: 20 * 1_024,
        ..Tops::default()
    };
    for number in 0..60 {
        let namespace = number.to_string().into();
        tops.deny(
            START + number * SLOT_SECS,
            &namespace,
            &"login".into(),
            "ada",
        );
        check(&tops);
    }
    let kept = &tops.namespaces;
    assert!(kept.contains_key("59") && !kept.contains_key("0"));
    assert!(15 < kept.len(), "{}", kept.len());
}

/// Whoever makes keys up takes no more room than whoever repeats a few.
#[test]
fn any_number_of_keys_takes_a_bounded_room() {
    let mut tops = Tops::default();
    for number in 0..20_000 {
        let key = format!("{number:01000}");
        deny(&mut tops, START + number % 3_600, "login", &key);
    }
    check(&tops);
    assert!(tops.bytes < 12 * KEYS_MAX * 1_100 + 12 * 1_024);
}
