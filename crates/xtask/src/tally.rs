//! Counting what the test runners report.

use anyhow::{Context as _, Result};

/// Tests passed and failed, summed over runners.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// Counts what a step has done by itself, and says what came of it.
    pub(crate) fn did(&mut self, what: &str, result: Result<()>) -> Result<()> {
        println!("{what}: {}", if result.is_ok() { "ok" } else { "FAILED" });
        match result {
            Ok(()) => self.passed += 1,
            Err(_) => self.failed += 1,
        }
        result.with_context(|| what.to_owned())
    }

    /// Adds what `line` reports, if it is a summary: of `cargo nextest`, of `cargo test`, of pytest, of `node --test`, or a
    /// plain `N passed, N failed` as the simulator prints it.
    pub(crate) fn read(&mut self, line: &str) {
        let line = without_colour(line);
        let line = line.trim();
        if let Some((what, count)) = of_node(line) {
            match what {
                "pass" => self.passed += count,
                "fail" | "cancelled" => self.failed += count,
                _ => {}
            }
            return;
        }
        let is_summary = line.starts_with("Summary [")
            || line.starts_with("test result:")
            || is_plain(line)
            || is_of_pytest(line);
        if !is_summary {
            return;
        }
        self.passed += count_before(line, "passed");
        let failed = ["failed", "timed", "exec", "error", "errors"];
        self.failed += failed
            .iter()
            .map(|what| count_before(line, what))
            .sum::<u64>();
    }
}

/// What one line of the summary of `node --test` counts: `ℹ pass 12`.
fn of_node(line: &str) -> Option<(&str, u64)> {
    let (what, count) = line.strip_prefix("ℹ ")?.split_once(' ')?;
    Some((what, count.parse().ok()?))
}

/// `1 failed, 12 passed in 3.21s`, and longer ones with how many minutes that were.
fn is_of_pytest(line: &str) -> bool {
    let Some((counts, span)) = line.rsplit_once(" in ") else {
        return false;
    };
    let is_count = |part: &str| {
        let (count, what) = part.split_once(' ').unwrap_or_default();
        count.parse::<u64>().is_ok() && !what.is_empty() && !what.contains(' ')
    };
    let seconds = span
        .split(' ')
        .next()
        .and_then(|span| span.strip_suffix('s'));
    seconds.is_some_and(|seconds| seconds.parse::<f64>().is_ok())
        && counts.split(", ").all(is_count)
}

fn is_plain(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let mut count_of = |what: &str| {
        words
            .next()
            .is_some_and(|count| count.parse::<u64>().is_ok())
            && words.next() == Some(what)
    };
    count_of("passed,") && count_of("failed")
}

/// The number just before the word `what`, or 0.
fn count_before(line: &str, what: &str) -> u64 {
    let words: Vec<&str> = line
        .split([' ', ',', ';', '(', ')'])
        .filter(|word| !word.is_empty())
        .collect();
    words
        .windows(2)
        .find(|pair| pair[1] == what)
        .and_then(|pair| pair[0].parse().ok())
        .unwrap_or(0)
}

fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        if char == '\u{1b}' {
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(char);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::Tally;

    fn check(output: &str, passed: u64, failed: u64) {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.read(line));
        assert_eq!(tally, Tally { passed, failed }, "{output}");
    }

    #[test]
    fn summaries_of_every_runner_are_counted() {
        check(
            "     Summary [   0.021s] 12 tests run: 12 passed, 0 skipped",
            12,
            0,
        );
        check(
            "     Summary [   1.1s] 12 tests run: 10 passed (2 slow), 2 failed, 3 skipped",
            10,
            2,
        );
        check(
            "     Summary [   1.1s] 4/12 tests run: 1 passed, 1 failed, 1 timed out, 1 exec failed",
            1,
            3,
        );
        check(
            "\u{1b}[32;1m     Summary\u{1b}[0m [   0.02s] \u{1b}[1m3\u{1b}[0m tests run: \u{1b}[1m3\u{1b}[0m passed",
            3,
            0,
        );
        check(
            "test result: ok. 5 passed; 0 failed; 1 ignored\ntest result: FAILED. 1 passed; 2 failed",
            6,
            2,
        );
        check("1000 passed, 0 failed", 1000, 0);
        check("69 passed in 17.04s", 69, 0);
        check(
            "\u{1b}[31m1 failed, 58 passed, 2 errors in 92.66s (0:01:32)\u{1b}[0m",
            58,
            3,
        );
        check(
            "ℹ tests 9\nℹ pass 6\nℹ fail 2\nℹ cancelled 1\nℹ skipped 0\nℹ duration_ms 7300.5",
            6,
            3,
        );
    }

    #[test]
    fn other_lines_count_nothing() {
        check(
            "test a_spent_burst_comes_back ... ok\n3 passed by\n4 passed in time\nℹ pass\nseed 7 passed, 9 failed to matter",
            0,
            0,
        );
    }
}
