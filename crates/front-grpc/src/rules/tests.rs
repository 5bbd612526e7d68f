use proptest::prelude::*;

use super::*;
use crate::rule::Bound;

/// A rule known by its name.
fn rule(name: &str) -> Rule {
    Rule {
        name: name.to_owned(),
        bound: Bound::Named(name.to_owned()),
        is_shadow: false,
        replaces: Vec::new(),
        replaced_as: String::new(),
    }
}

/// `path=/login ip` : two entries, of which the second takes any value.
fn matches(text: &str) -> Vec<Match> {
    let entries = text.split_whitespace().map(|entry| {
        let (key, value) = match entry.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (entry, None),
        };
        Match {
            key: key.to_owned(),
            value,
        }
    });
    entries.collect()
}

/// Entries written alike; one without a value has an empty one.
fn entries(text: &str) -> Vec<Entry> {
    let matches = matches(text).into_iter();
    let entries = matches.map(|entry| Entry {
        key: entry.key,
        value: entry.value.unwrap_or_default(),
    });
    entries.collect()
}

fn rules(texts: &[&str]) -> Rules {
    let mut rules = Rules::default();
    for text in texts {
        rules.add("edge", &matches(text), rule(text)).unwrap();
    }
    rules
}

/// Each descriptor is held to the rule of this text, with this key, or to none.
fn check(texts: &[&str], expected: &[(&str, Option<(&str, &str)>)]) {
    let rules = rules(texts);
    for (descriptor, expected) in expected {
        let entries = entries(descriptor);
        let found = rules.find("edge", &entries);
        let found =
            found.map(|(rule, captured)| (rule.rule.name.clone(), captured.key().into_owned()));
        let expected = expected.map(|(rule, key)| (rule.to_owned(), key.to_owned()));
        assert_eq!(found, expected, "{descriptor}");
    }
}

#[test]
fn values_that_are_left_open_are_the_key() {
    check(
        &["path=/login ip", "user=a*", "all=1", "a b"],
        &[
            (
                "path=/login ip=10.0.0.1",
                Some(("path=/login ip", "10.0.0.1")),
            ),
            ("path=/logout ip=10.0.0.1", None),
            ("user=ada", Some(("user=a*", "ada"))),
            ("user=bob", None),
            ("all=1", Some(("all=1", "values"))),
            ("a=x b=y", Some(("a b", "values:x,y"))),
            ("a=x b", Some(("a b", "values:x,"))),
        ],
    );
}

#[test]
fn a_descriptor_has_as_many_entries_as_its_rule_in_the_same_order() {
    check(
        &["a b"],
        &[("a=1", None), ("a=1 b=2 c=3", None), ("b=2 a=1", None)],
    );
}

#[test]
fn the_most_specific_rule_holds_whatever_the_order_of_the_file() {
    let ordered = ["p=/a/b", "p=/a/*", "p=/*", "p"];
    let reversed = ["p", "p=/*", "p=/a/*", "p=/a/b"];
    for texts in [ordered, reversed] {
        check(
            &texts,
            &[
                ("p=/a/b", Some(("p=/a/b", "values"))),
                ("p=/a/c", Some(("p=/a/*", "/a/c"))),
                ("p=/b", Some(("p=/*", "/b"))),
                ("p=b", Some(("p", "b"))),
            ],
        );
    }
}

/// Of two rules with an exact value each, the one whose earlier entry is exact.
#[test]
fn earlier_entries_weigh_more() {
    check(
        &["a b=2", "a=1 b"],
        &[
            ("a=1 b=2", Some(("a=1 b", "2"))),
            ("a=0 b=2", Some(("a b=2", "0"))),
        ],
    );
}

/// The exact first entry leads nowhere for this second one.
#[test]
fn a_more_specific_beginning_does_not_hide_a_rule_that_fits() {
    check(
        &["a=1 b=2", "a b"],
        &[("a=1 b=3", Some(("a b", "values:1,3")))],
    );
}

#[test]
fn of_equal_rules_the_first_holds() {
    let mut rules = rules(&["a"]);
    rules.add("edge", &matches("a"), rule("second")).unwrap();
    let entries = entries("a=1");
    assert_eq!(rules.find("edge", &entries).unwrap().0.rule.name, "a");
}

#[test]
fn domains_are_apart() {
    let rules = rules(&["a"]);
    let entries = entries("a=1");
    assert!(rules.find("other", &entries).is_none());
    assert!(rules.has_domain("edge") && !rules.has_domain("other"));
}

#[test]
fn a_rule_that_cannot_match_is_refused() {
    let mut rules = Rules::default();
    let mut add = |text: &str| rules.add("edge", &matches(text), rule("r")).unwrap_err();
    assert_eq!(add(""), RuleError::Entries(0));
    assert_eq!(add("a b c d e f g h i"), RuleError::Entries(9));
    for value in ["*a", "a*b", "**"] {
        assert_eq!(add(&format!("k={value}")), RuleError::Star(value.into()));
    }
}

/// Whether the rule of `text` matches, by the definition, and how specific each of its entries is.
fn specificity(text: &str, descriptor: &[Entry]) -> Option<Vec<usize>> {
    let entries = matches(text);
    if entries.len() != descriptor.len() {
        return None;
    }
    let pairs = entries.iter().zip(descriptor);
    pairs
        .map(|(entry, given)| {
            let is_key = entry.key == given.key;
            match entry.value.as_deref() {
                _ if !is_key => None,
                None => Some(0),
                Some(value) if value == given.value => Some(usize::MAX),
                Some(value) => {
                    let prefix = value.strip_suffix('*')?;
                    let fits = given.value.starts_with(prefix);
                    fits.then_some(1 + prefix.len())
                }
            }
        })
        .collect()
}

proptest! {
    /// The tree finds what comparing all rules finds.
    #[test]
    fn the_rule_found_is_the_most_specific(
        texts in prop::collection::vec("[ab](=[xy]{0,2}\\*?)?( [ab](=[xy]{0,2}\\*?)?)?", 0..12),
        descriptor in "[ab](=[xy]{0,3})?( [ab](=[xy]{0,3})?)?",
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let rules = rules(&texts);
        let entries = entries(&descriptor);
        let mut best: Option<(Vec<usize>, &str)> = None;
        for text in &texts {
            if let Some(specificity) = specificity(text, &entries)
                && best.as_ref().is_none_or(|(known, _)| *known < specificity)
            {
                best = Some((specificity, text));
            }
        }
        let found = rules.find("edge", &entries).map(|(rule, _)| rule.rule.name.as_str());
        prop_assert_eq!(found, best.map(|(_, text)| text));
    }
}
