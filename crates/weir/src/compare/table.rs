//! The one table, for people: a column for each strategy.

use std::fmt::Write as _;
use std::time::Duration;

use super::facts::Part;
use super::trial::Trial;
use super::{Comparison, Row};
use crate::units::{millis, seconds};

/// What is not known.
const UNKNOWN: &str = "-";

/// The whole text: the workload, the table, and what could not be compared.
pub(crate) fn text(comparison: &Comparison) -> String {
    let mut text = heading(comparison);
    let rows = cells(&comparison.rows);
    let widths: Vec<usize> = (0..=comparison.rows.len())
        .map(|column| {
            let widths = rows.iter().filter_map(|row| row.get(column));
            widths.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            // Words to the left, figures to the right.
            let _ = match column {
                0 => write!(line, "{cell:width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for row in &comparison.rows {
        if let Err(why) = &row.outcome {
            let _ = writeln!(text, "\n{} was not compared: {why}", row.strategy.name());
        }
    }
    text
}

fn heading(comparison: &Comparison) -> String {
    let workload = &comparison.workload;
    let pace = match workload.rate {
        0 => "as fast as they are answered".to_owned(),
        rate => format!("{} hits a second", grouped(rate.into())),
    };
    let load = match comparison.machine.load_before {
        Some(load) => format!(", load {load:.1} before"),
        None => String::new(),
    };
    format!(
        "{} clients, {pace}; {} keys, skew {}, limit {}; {} s each; {} cores{load}\n\n",
        workload.clients,
        grouped(workload.keys.into()),
        workload.skew,
        grouped(workload.limit.into()),
        workload.seconds,
        comparison.machine.cores,
    )
}

/// Labels first, then a cell for each strategy.
fn cells(rows: &[Row]) -> Vec<Vec<String>> {
    let head = rows.iter().map(|row| row.strategy.name().to_owned());
    let head = std::iter::once(String::new()).chain(head).collect();
    let facts = FACTS.iter().map(|&(label, fact)| {
        let cells = rows.iter().map(|row| match (&row.outcome, fact) {
            (_, None) => String::new(),
            (Ok(trial), Some(fact)) => fact(trial),
            (Err(_), Some(_)) => UNKNOWN.to_owned(),
        });
        std::iter::once(label.to_owned()).chain(cells).collect()
    });
    std::iter::once(head).chain(facts).collect()
}

type Fact = fn(&Trial) -> String;

/// Everything that is told, with its label; a title where there is nothing to tell.
const FACTS: [(&str, Option<Fact>); 30] = [
    ("quiet", None),
    ("  decisions a second", Some(|it| rate(&it.facts.quiet))),
    ("  p50", Some(|it| time(it.facts.quiet.p50))),
    ("  p99", Some(|it| time(it.facts.quiet.p99))),
    ("  server CPU a decision", Some(|it| micros(it.cpu))),
    ("  failed", Some(|it| grouped(it.facts.failed_before))),
    ("the fault", None),
    ("  kill -9 of", Some(|it| it.victim.name())),
    (
        "  started again after",
        Some(|it| seconds(it.moments.restarted - it.moments.killed)),
    ),
    ("  decisions a second", Some(|it| rate(&it.facts.fault))),
    ("  p50", Some(|it| time(it.facts.fault.p50))),
    ("  p99", Some(|it| time(it.facts.fault.p99))),
    (
        "  longest wait",
        Some(|it| time(it.facts.fault.longest.max(it.facts.after.longest))),
    ),
    ("  nobody answered for", Some(|it| millis(it.facts.silence))),
    ("  failed", Some(|it| grouped(it.facts.failed))),
    ("    of these refused", Some(|it| grouped(it.facts.refused))),
    (
        "  by fail mode allow",
        Some(|it| grouped(it.facts.failed_open)),
    ),
    ("  by the owner instead", Some(|it| grouped(it.by_owner))),
    ("afterwards", None),
    (
        "  normal after the kill",
        Some(|it| {
            it.facts
                .normal_after
                .map_or_else(|| "not by the end".to_owned(), millis)
        }),
    ),
    ("  decisions a second", Some(|it| rate(&it.facts.after))),
    ("  p50", Some(|it| time(it.facts.after.p50))),
    ("  p99", Some(|it| time(it.facts.after.p99))),
    ("counts", None),
    ("  sent", Some(|it| grouped(it.totals.sent))),
    ("  should be admitted", Some(|it| grouped(it.totals.ideal))),
    ("  were admitted", Some(|it| grouped(it.totals.admitted))),
    ("  over the limit", Some(|it| grouped(it.totals.over))),
    (
        "  wrongly not admitted",
        Some(|it| grouped(it.totals.under)),
    ),
    (
        "  forgotten in the end",
        Some(|it| it.totals.forgotten.map_or_else(unknown, grouped)),
    ),
];

fn unknown() -> String {
    UNKNOWN.to_owned()
}

fn rate(part: &Part) -> String {
    grouped(part.per_second.round() as u64)
}

fn time(time: Option<Duration>) -> String {
    time.map_or_else(unknown, millis)
}

fn micros(time: Option<Duration>) -> String {
    time.map_or_else(unknown, |time| {
        format!("{:.0} µs", time.as_secs_f64() * 1e6)
    })
}

/// With a space between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if 0 < place && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::comparison;
    use super::*;

    #[test]
    fn thousands_are_told_apart() {
        let told = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(told, ["0", "999", "1 000", "1 234 567"]);
    }

    #[test]
    fn every_strategy_has_a_column_and_who_is_missing_is_named() {
        let text = text(&comparison());
        let line = |label: &str| {
            let line = text
                .lines()
                .find(|line| line.trim_start().starts_with(label));
            line.unwrap_or_else(|| panic!("{label} in\n{text}"))
                .to_owned()
        };
        let words = |label| {
            line(label)
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words("owner"), ["owner", "redis"]);
        assert_eq!(
            words("kill -9 of"),
            ["kill", "-9", "of", "node", "ada", "-"]
        );
        assert_eq!(
            words("should be admitted"),
            ["should", "be", "admitted", "14", "-"]
        );
        assert_eq!(
            words("forgotten"),
            ["forgotten", "in", "the", "end", "2", "-"]
        );
        assert!(
            text.ends_with("\nredis was not compared: redis-server is away\n"),
            "{text}"
        );
    }

    #[test]
    fn cells_of_one_strategy_end_in_one_column() {
        let text = text(&comparison());
        let table = text.lines().skip(2).take(FACTS.len() + 1);
        let ends: Vec<usize> = table
            .filter(|line| line.ends_with(" -") || line.ends_with(" redis"))
            .map(|line| line.chars().count())
            .collect();
        assert!(
            1 < ends.len() && ends.iter().all(|end| *end == ends[0]),
            "{text}"
        );
    }
}
