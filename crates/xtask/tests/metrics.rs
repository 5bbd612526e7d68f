//! Every metric has a row in `docs/metrics.md`, and every row a metric.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names that follow `before`, each up to what no name has in it.
fn names<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = String> + 'a {
    text.split(before)
        .skip(1)
        .filter_map(|rest| name_at(rest.trim_start().trim_start_matches('"')))
}

/// The name that a text begins with.
fn name_at(text: &str) -> Option<String> {
    let ends = text.find(|c: char| c != '_' && !c.is_ascii_lowercase());
    let name = &text[..ends.unwrap_or(text.len())];
    name.starts_with("weir_").then(|| name.to_owned())
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn counted() -> BTreeSet<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let src = entry.unwrap().path().join("src");
        if src.is_dir() {
            sources(&src, &mut files);
        }
    }
    let macros = ["counter!(", "gauge!(", "histogram!("];
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    let in_text = |text: String| macros.map(|before| names(&text, before).collect::<Vec<_>>());
    texts.flat_map(in_text).flatten().collect()
}

/// Two dozen had none: an operator who met one of them in a graph could only guess.
#[test]
fn every_metric_is_documented_and_everything_documented_is_a_metric() {
    let text = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let documented: BTreeSet<String> = names(&text, "`").collect();
    let counted = counted();
    assert!(50 < counted.len(), "the search finds them: {counted:?}");
    assert_eq!(counted, documented);
}

/// A graph of a metric that was renamed is empty, and nobody notices.
#[test]
fn every_graph_is_of_metrics_that_there_are() {
    let text = fs::read_to_string(root().join("deploy/grafana.json")).unwrap();
    let places = text.match_indices("weir_");
    let named = places.filter_map(|(place, _)| name_at(&text[place..]));
    let counted = counted();
    let unknown: BTreeSet<String> = named
        .filter(|name| {
            // Of a histogram, its buckets.
            let family = name.strip_suffix("_bucket").unwrap_or(name);
            !counted.contains(name) && !counted.contains(family)
        })
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(20 < panels.len());
    for panel in panels {
        let asks = panel["targets"][0]["expr"].is_string();
        assert!(asks || panel["type"] == "row", "{}", panel["title"]);
    }
}

/// And says what it counts: a counter ends in `_total`, and nothing else does.
#[test]
fn every_metric_has_a_help() {
    let file = root().join("crates/node/src/families.rs");
    let text = fs::read_to_string(file).unwrap();
    let mut described = BTreeSet::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let [kind @ ("counter" | "gauge" | "histogram"), name, help] = words[..] else {
            continue;
        };
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        assert!(help.ends_with('.'), "{name}: {help}");
        described.insert(name.to_owned());
    }
    assert_eq!(described, counted());
}

/// An alert that nobody knows what to do about is noise, and one on a metric that is gone never fires.
#[test]
fn every_alert_has_a_page_and_metrics_that_there_are() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let (rules, page) = (read("deploy/alerts.yml"), read("docs/alerts.md"));
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(10 < alerts.len(), "the search finds them");
    let sections: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    assert_eq!(alerts, sections);
    let counted = counted();
    let words = rules.split(|c: char| c != '_' && !c.is_ascii_lowercase());
    let unknown: BTreeSet<&str> = words
        .filter(|word| word.starts_with("weir_") && !counted.contains(*word))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
