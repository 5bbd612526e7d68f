use proptest::prelude::*;

use super::*;
use crate::descriptor::Entry;
use crate::rule::Bound;

fn read_one(text: &str) -> (Rules, Vec<String>) {
    let (mut rules, mut problems) = (Rules::default(), Vec::new());
    read("edge.yaml", text, &mut rules, &mut problems);
    let problems = problems.iter().map(ToString::to_string);
    (rules, problems.collect())
}

fn entries(text: &str) -> Vec<Entry> {
    let entries = text.split_whitespace().map(|entry| {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        Entry {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    });
    entries.collect()
}

/// The rule of a descriptor and its key as text: `edge.path_/login 5 per 60s, key 10.0.0.1`.
fn found(rules: &Rules, domain: &str, descriptor: &str) -> String {
    let entries = entries(descriptor);
    let Some((in_force, captured)) = rules.find(domain, &entries) else {
        return "none".to_owned();
    };
    let rule = &in_force.rule;
    let bound = match &rule.bound {
        Bound::Everything => "unlimited".to_owned(),
        Bound::Nothing(period) => format!("nothing per {}s", period.ceil_secs()),
        Bound::Named(name) => format!("the limit {name}"),
        Bound::Limit(limit) => {
            assert_eq!(limit.name(), rule.name);
            let limit = &limit.policy().limit;
            let (units, period) = (limit.units(), limit.period());
            format!("{units} per {}s", period.ceil_secs())
        }
    };
    let shadow = if rule.is_shadow { " in shadow" } else { "" };
    format!("{} {bound}{shadow}, key {}", rule.name, captured.key())
}

#[track_caller]
fn check(text: &str, expected: &[(&str, &str)]) {
    let (rules, problems) = read_one(text);
    assert!(problems.is_empty(), "{problems:#?}");
    for (descriptor, rule) in expected {
        assert_eq!(found(&rules, "edge", descriptor), *rule, "{descriptor}");
    }
}

#[test]
fn the_first_entry_that_matches_is_followed_and_no_other() {
    check(
        "
domain: edge
descriptors:
  - key: ip
    rate_limit: {unit: second, requests_per_unit: 10}
  - key: ip
    value: 50.0.0.5
    rate_limit: {unit: second, requests_per_unit: 0}
  - key: kind
    value: marketing
    descriptors:
      - key: number
        rate_limit: {unit: day, requests_per_unit: 5}
  - key: kind
    descriptors:
      - key: number
        value: '1'
        rate_limit: {unit: day, requests_per_unit: 7}
      - key: other
        rate_limit: {unit: day, requests_per_unit: 9}
",
        &[
            ("ip=1", "edge.ip 10 per 1s, key 1"),
            ("ip=50.0.0.5", "edge.ip_50.0.0.5 nothing per 1s, key values"),
            ("ip", "edge.ip 10 per 1s, key values:"),
            (
                "kind=marketing number=1",
                "edge.kind_marketing.number 5 per 86400s, key 1",
            ),
            ("kind=x number=1", "edge.kind.number_1 7 per 86400s, key x"),
            (
                "kind=x other=2",
                "edge.kind.other 9 per 86400s, key values:x,2",
            ),
            // `kind=marketing` is followed, and has no `other` below it.
            ("kind=marketing other=2", "none"),
            ("kind=marketing", "none"),
            ("ip=1 number=1", "none"),
        ],
    );
}

#[test]
fn wildcards_stand_anywhere_in_a_value_and_are_tried_in_their_order() {
    check(
        "
domain: edge
descriptors:
  - key: path
    value: /api/*/act
    rate_limit: {unit: second, requests_per_unit: 1}
  - key: path
    value: /api/*
    rate_limit: {unit: second, requests_per_unit: 2}
  - key: path
    value: /api/v1/*
    rate_limit: {unit: second, requests_per_unit: 3}
  - key: path
    value: /api/v1
    rate_limit: {unit: second, requests_per_unit: 4}
  - key: path
    rate_limit: {unit: second, requests_per_unit: 5}
",
        &[
            (
                "path=/api/x/act",
                "edge.path_/api/*/act 1 per 1s, key /api/x/act",
            ),
            ("path=/api/v1/x", "edge.path_/api/* 2 per 1s, key /api/v1/x"),
            ("path=/api/v1", "edge.path_/api/v1 4 per 1s, key values"),
            ("path=/", "edge.path 5 per 1s, key /"),
        ],
    );
}

#[test]
fn everything_that_a_limit_may_say_is_read() {
    check(
        "
domain: edge
descriptors:
  - {key: a, rate_limit: {unit: MINUTE, requests_per_unit: 1_000, name: named}}
  - {key: b, rate_limit: {unlimited: yes}}
  - {key: c, shadow_mode: true, detailed_metric: true, rate_limit: {unit: week, requests_per_unit: 0x10}}
  - {key: d, rate_limit: {unit: month, requests_per_unit: 1, replaces: [{name: named}]}}
  - {key: e, value: 404, rate_limit: {unit: year, requests_per_unit: 4294967295}}
  - {key: f, value: ~, rate_limit: ~, descriptors: ~}
",
        &[
            ("a=1", "named 1000 per 60s, key 1"),
            ("b=1", "edge.b unlimited, key 1"),
            ("c=1", "edge.c 16 per 604800s in shadow, key 1"),
            ("d=1", "edge.d 1 per 2592000s, key 1"),
            ("e=404", "edge.e_404 2147483647 per 31536000s, key values"),
            ("f=1", "none"),
        ],
    );
}

#[test]
fn anchors_are_followed() {
    check(
        "
domain: edge
descriptors:
  - key: a
    rate_limit: &ten
      unit: second
      requests_per_unit: 10
  - key: b
    rate_limit: *ten
  - key: c
    rate_limit:
      <<: *ten
      unit: hour
",
        &[
            ("b=1", "edge.b 10 per 1s, key 1"),
            ("c=1", "edge.c 10 per 3600s, key 1"),
        ],
    );
}

/// Each limit counts by itself, whatever their keys and values are made of.
#[test]
fn no_two_descriptors_share_a_counter() {
    let (rules, problems) = read_one(
        "
domain: edge
descriptors:
  - {key: a, value: 'b,c', rate_limit: {unit: second, requests_per_unit: 1}}
  - {key: 'a,b', value: c, rate_limit: {unit: second, requests_per_unit: 1}}
  - {key: a, value: b, descriptors: [{key: c, rate_limit: {unit: second, requests_per_unit: 1}}]}
",
    );
    assert!(problems.is_empty(), "{problems:#?}");
    let names = ["a=b,c", "a,b=c", "a=b c=1"].map(|descriptor| {
        let entries = entries(descriptor);
        let (in_force, _) = rules.find("edge", &entries).unwrap();
        match &in_force.rule.bound {
            Bound::Limit(limit) => limit.policy().name.to_string(),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(
        names,
        [
            "@ratelimit:edge,a,b\\,c",
            "@ratelimit:edge,a\\,b,c",
            "@ratelimit:edge,a,b,c,"
        ]
    );
}

#[track_caller]
fn refused(text: &str, problems: &[&str]) {
    assert_eq!(read_one(text).1, problems, "{text}");
}

/// A descriptor with this in it.
fn of_descriptor(text: &str) -> String {
    format!("domain: edge\ndescriptors:\n  - key: a\n    {text}\n")
}

#[test]
fn what_is_not_read_is_refused_by_name_and_line() {
    const IN_DESCRIPTOR: &str = "key, value, shadow_mode, detailed_metric, rate_limit, descriptors";
    for name in [
        "quota_mode",
        "value_to_metric",
        "share_threshold",
        "metadata",
    ] {
        let problem = format!(
            "edge.yaml:4: descriptors[0].{name}: not in this version; accepted: {IN_DESCRIPTOR}"
        );
        refused(&of_descriptor(&format!("{name}: true")), &[&problem]);
    }
    let problem =
        format!("edge.yaml:4: descriptors[0].ratelimit: unknown key; accepted: {IN_DESCRIPTOR}");
    refused(
        &of_descriptor("ratelimit: {unit: second, requests_per_unit: 1}"),
        &[&problem],
    );
    refused(
        "domain: edge\nlimits: []",
        &["edge.yaml:2: limits: unknown key; accepted: domain, descriptors"],
    );
    refused(
        &of_descriptor("rate_limit: {unit: second, requests_per_unit: 1, burst: 2}"),
        &[
            "edge.yaml:4: descriptors[0].rate_limit.burst: unknown key; accepted: name, replaces, unlimited, unit, \
             requests_per_unit",
        ],
    );
}

#[test]
fn what_is_wrong_is_told_all_at_once_with_its_place() {
    const UNITS: &str = "second, minute, hour, day, week, month, year";
    const REQUESTS: &str = "a whole number from 0 to 4294967295";
    let in_limit = "edge.yaml:4: descriptors[0].rate_limit";
    for (text, what) in [
        (
            "{requests_per_unit: 1}",
            format!("{in_limit}.unit: no unit; accepted: {UNITS}"),
        ),
        (
            "{unit: seconds, requests_per_unit: 1}",
            format!("{in_limit}.unit: found \"seconds\"; accepted: {UNITS}"),
        ),
        (
            "{unit: unknown, requests_per_unit: 1}",
            format!("{in_limit}.unit: found \"unknown\"; accepted: {UNITS}"),
        ),
        (
            "{unit: second}",
            format!("{in_limit}.requests_per_unit: no requests_per_unit; accepted: {REQUESTS}"),
        ),
        (
            "{unlimited: true, unit: second}",
            format!("{in_limit}.unit: found \"second\" beside unlimited; accepted: one of them"),
        ),
        (
            "{unit: second, requests_per_unit: 1, unlimited: maybe}",
            format!("{in_limit}.unlimited: found \"maybe\"; accepted: true or false"),
        ),
        (
            "{unit: second, requests_per_unit: 1, replaces: [{}]}",
            format!("{in_limit}.replaces[0].name: no name; accepted: the name of another limit"),
        ),
        (
            "{unit: second, requests_per_unit: 1, name: n, replaces: [{name: n}]}",
            format!(
                "{in_limit}.replaces[0].name: found \"n\", the limit's own; accepted: the name of another limit"
            ),
        ),
        (
            "{unit: second, requests_per_unit: 1, replaces: n}",
            format!("{in_limit}.replaces: found \"n\"; accepted: a list"),
        ),
        ("10", format!("{in_limit}: found \"10\"; accepted: a map")),
    ] {
        refused(&of_descriptor(&format!("rate_limit: {text}")), &[&what]);
    }
    for number in [
        "-1",
        "1.5",
        "ten",
        "\"10\"",
        "010",
        "4294967296",
        "[1]",
        "1e3",
        "",
    ] {
        let found = match number {
            "[1]" => "a list".to_owned(),
            number => format!("{:?}", number.trim_matches('"')),
        };
        let text = of_descriptor(&format!(
            "rate_limit: {{unit: second, requests_per_unit: {number}}}"
        ));
        let what = format!("{in_limit}.requests_per_unit: found {found}; accepted: {REQUESTS}");
        refused(&text, &[&what]);
    }
    refused(
        "descriptors:\n  - value: 1\n  - key: a*\n  - 7\n  - key: a\n  - key: a\n",
        &[
            "edge.yaml:1: domain: no domain; accepted: a name that is not empty",
            "edge.yaml:2: descriptors[0].key: no key; accepted: a key that is not empty",
            "edge.yaml:3: descriptors[1].key: found \"a*\"; accepted: a key without *; a value may have them",
            "edge.yaml:4: descriptors[2]: found \"7\"; accepted: a map",
            "edge.yaml:6: descriptors[4]: the key \"a\" with the value \"\" again; accepted: each once in a list",
        ],
    );
}

#[test]
fn what_is_no_file_of_this_kind_is_refused() {
    refused(
        "",
        &["edge.yaml:1: an empty file; accepted: domain and descriptors"],
    );
    refused("- a", &["edge.yaml:1: found a list; accepted: a map"]);
    refused(
        "domain: [edge]",
        &[
            "edge.yaml:1: domain: found a list; accepted: text",
            "edge.yaml:1: domain: no domain; accepted: a name that is not empty",
        ],
    );
    refused(
        "a: b: c",
        &["edge.yaml:1: not YAML: mapping values are not allowed in this context"],
    );
    refused(
        "domain: a\ndomain: b",
        &["edge.yaml:2: `domain` again, after line 1"],
    );
}

#[test]
fn levels_that_no_request_reaches_are_refused() {
    let mut text = "domain: edge\n".to_owned();
    for depth in 0..9 {
        let indent = "    ".repeat(depth);
        text.push_str(&format!("{indent}descriptors:\n{indent}  - key: a\n"));
    }
    let path = ["descriptors[0]"; 9].join(".");
    let problem = format!(
        "edge.yaml:19: {path}: nested deeper than 8; accepted: at most 8: no request has more entries"
    );
    refused(&text, &[&problem]);
}

#[test]
fn a_domain_is_told_once() {
    let (mut rules, mut problems) = (Rules::default(), Vec::new());
    for name in ["a.yaml", "b.yaml"] {
        read(name, "domain: edge\n", &mut rules, &mut problems);
    }
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "b.yaml:1: domain: the domain \"edge\" again, after a.yaml; accepted: a domain of its own"
        ]
    );
}

#[test]
fn folders_are_read_by_the_names_of_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let file = |name: &str, domain: &str| {
        let text = format!(
            "domain: {domain}\ndescriptors: [{{key: a, rate_limit: {{unit: day, requests_per_unit: 1}}}}]"
        );
        std::fs::write(path(name), text).unwrap();
    };
    file("b.yml", "b");
    file("a.yaml", "a");
    file("notes.txt", "c");
    std::fs::create_dir(path("d.yaml")).unwrap();
    let mut rules = Rules::default();
    load(&[folder.path().to_owned()], &mut rules).unwrap();
    let known = ["a", "b", "c"].map(|domain| rules.has_domain(domain));
    assert_eq!(known, [true, true, false]);

    let problems = load(&[path("d.yaml"), path("absent")], &mut rules).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_eq!(problems[0].what, "no file in this folder");
    assert!(
        problems[1].place.ends_with("absent") && problems[1].what.starts_with("cannot be read")
    );
}

/// What files are made of, so that what is drawn is often nearly one.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "domain: ",
        "edge",
        "descriptors:",
        "key: ",
        "value: ",
        "rate_limit: ",
        "unit: ",
        "second",
        "requests_per_unit: ",
        "10",
        "unlimited: ",
        "true",
        "replaces: ",
        "name: ",
        "\n",
        "\n  ",
        "\n    ",
        "\n      ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "*a",
        "&a ",
        "<<: ",
        "\"",
        "'",
        "#",
        "|",
        ">",
        "~",
        "*",
        "%",
        "? ",
        ": ",
        "!!str ",
        "---",
        "\t",
        "\0",
        "é",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Every text is rules or problems with a line, and never the end of the node.
    #[test]
    fn any_text_is_read_or_refused(text in prop_oneof![pieces(), ".{0,200}"]) {
        let (mut rules, mut problems) = (Rules::default(), Vec::new());
        read("f", &text, &mut rules, &mut problems);
        for problem in problems {
            prop_assert!(problem.place.starts_with("f:"), "{problem}");
        }
    }

    /// A file that is read says the same when it is written with other quotes and in one line.
    #[test]
    fn a_limit_is_found_by_the_values_that_it_was_written_for(
        values in prop::collection::btree_set("[a-z*/,.:]{1,4}", 1..6),
    ) {
        let limits = values.iter().enumerate().map(|(index, value)| {
            format!("{{key: k, value: '{value}', rate_limit: {{unit: day, requests_per_unit: {}}}}}", index + 1)
        });
        let limits: Vec<_> = limits.collect();
        let (rules, problems) =
            read_one(&format!("domain: edge\ndescriptors: [{}]", limits.join(", ")));
        prop_assert!(problems.is_empty(), "{problems:?}");
        for (index, value) in values.iter().enumerate() {
            if !value.contains('*') {
                let rule = found(&rules, "edge", &format!("k={value}"));
                prop_assert_eq!(rule, format!("edge.k_{value} {} per 86400s, key values", index + 1));
            }
        }
    }
}
