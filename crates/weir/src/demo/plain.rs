//! The story as lines, for pipes and logs.

use std::io::{self, Write as _};
use std::time::Duration;

use super::story::{NAMES, Node, Phase, Speaker, Story};
use crate::units::millis;

/// How often the figures are told while nothing else happens.
const FIGURES_EVERY: Duration = Duration::from_secs(1);

/// What has been printed so far.
#[derive(Debug)]
pub(crate) struct Plain {
    lines: usize,
    figures_at: Duration,
}

impl Plain {
    /// Nothing has been printed.
    pub(crate) fn new() -> Self {
        Self {
            lines: 0,
            figures_at: Duration::ZERO,
        }
    }

    /// Prints what is new.
    ///
    /// # Errors
    ///
    /// When whoever reads has left.
    pub(crate) fn show(&mut self, story: &Story, now: Duration) -> io::Result<()> {
        print(&self.news(story, now))
    }

    fn news(&mut self, story: &Story, now: Duration) -> Vec<String> {
        let new_lines = story.log.since(self.lines);
        let mut news: Vec<String> = new_lines
            .map(|line| stamped(line.at, line.speaker, &line.text))
            .collect();
        self.lines = story.log.end();
        let has_figures = !matches!(story.phase, Phase::Starting | Phase::Over);
        if has_figures && self.figures_at + FIGURES_EVERY <= now {
            self.figures_at = now;
            news.push(stamped(now, Speaker::Demo, &figures(story, now)));
        }
        news
    }
}

fn stamped(at: Duration, speaker: Speaker, text: &str) -> String {
    let at = at.as_secs_f64();
    match speaker {
        Speaker::Demo => format!("[{at:6.3}] {text}"),
        Speaker::Node(node) => format!("[{at:6.3}]   {}: {text}", NAMES[node]),
    }
}

/// Who owns what and how much is going on, in one line.
fn figures(story: &Story, now: Duration) -> String {
    let each = story.nodes.iter().zip(NAMES).map(|(node, name)| {
        format!(
            "{name} {} {} shards {} hits/s",
            state(node),
            node.shards,
            node.answers.per_second(now)
        )
    });
    let each: Vec<String> = each.collect();
    let totals = story.totals();
    format!(
        "{} | lag {} | admitted {} denied {}",
        each.join(" | "),
        lag(story).map_or_else(|| "-".to_owned(), millis),
        totals.admitted,
        totals.denied
    )
}

/// The lag of the replicas that lag most.
fn lag(story: &Story) -> Option<Duration> {
    let lags = story.nodes.iter().filter_map(|node| node.seen.as_ref());
    lags.map(|seen| Duration::from_micros(seen.lag_us)).max()
}

/// What the demo knows of a node's process.
pub(crate) fn state(node: &Node) -> &'static str {
    match (&node.up, node.killed_run) {
        (Some(_), _) => "up",
        (None, Some(_)) => "dead",
        (None, None) => "starting",
    }
}

/// Prints lines at once.
///
/// # Errors
///
/// When whoever reads has left.
pub(crate) fn print(lines: &[String]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for line in lines {
        writeln!(stdout, "{line}")?;
    }
    stdout.flush()
}
