//! How it went, in a few lines.

use super::story::{NAMES, Story};
use crate::units::{millis, seconds};

/// Lines to end with.
pub(crate) fn summary(story: &Story) -> Vec<String> {
    let mut lines = vec![String::new()];
    if story.victim.is_some() {
        let facts = facts(story);
        lines.extend(
            facts
                .iter()
                .map(|(name, value)| format!("{name:<22}{value}")),
        );
    }
    lines.push(story.verdict());
    if !story.last_words.is_empty() {
        lines.push("It said last:".to_owned());
        lines.extend(story.last_words.iter().map(|line| format!("  {line}")));
    }
    lines
}

/// What is known of the death and of the hits, each with its name; `-` while it is not.
pub(crate) fn facts(story: &Story) -> Vec<(String, String)> {
    let unknown = || "-".to_owned();
    let totals = story.totals();
    let takeover = story.takeover.as_ref();
    let keys = match takeover {
        Some(takeover) => takeover.keys().len().to_string(),
        None => "keys".to_owned(),
    };
    let victim = story.victim.map_or("node", |victim| NAMES[victim]);
    let after = |time: Option<std::time::Duration>| time.map_or_else(unknown, millis);
    let fact = |name: &str, value: String| (name.to_owned(), value);
    vec![
        fact(
            "killed",
            story
                .victim
                .map_or_else(unknown, |victim| NAMES[victim].to_owned()),
        ),
        fact(
            "first key taken over",
            after(takeover.and_then(|takeover| takeover.first())),
        ),
        fact(
            &format!("all {keys} taken over"),
            after(takeover.and_then(|takeover| takeover.all())),
        ),
        fact(
            &format!("{victim} back after"),
            story.came_back.map_or_else(unknown, seconds),
        ),
        fact("longest wait", after(Some(story.slowest))),
        fact("admitted", totals.admitted.to_string()),
        fact("denied", totals.denied.to_string()),
        fact(
            "died unanswered",
            totals
                .unanswered
                .saturating_sub(story.failed_elsewhere)
                .to_string(),
        ),
        fact("failed on survivors", story.failed_elsewhere.to_string()),
        fact(
            "forgotten",
            match story.audited() {
                true => totals.forgotten.to_string(),
                false => unknown(),
            },
        ),
        fact("over-admitted", totals.over_admitted.to_string()),
    ]
}
