//! Spans of time as people write them: a whole number and `ms`, `s`, `m`, `h` or `d`.

use std::time::Duration;

/// What [`parse`] understands.
pub const ACCEPTED: &str = "a whole number and ms, s, m, h or d, such as \"250ms\" or \"1m\"";

/// Reads `250ms`, `1m` or `30d`. `None` for anything else, and for more than fits 64 bits of milliseconds.
pub fn parse(text: &str) -> Option<Duration> {
    let digits = text.len()
        - text
            .trim_start_matches(|char: char| char.is_ascii_digit())
            .len();
    let (number, unit) = text.split_at(digits);
    let millis_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let millis = number.parse::<u64>().ok()?.checked_mul(millis_per_unit)?;
    Some(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::{Duration, parse};

    #[test]
    fn whole_numbers_with_a_unit_are_spans() {
        for (text, millis) in [
            ("250ms", 250),
            ("0s", 0),
            ("10s", 10_000),
            ("1m", 60_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "1",
            "m",
            "1.5s",
            "-1s",
            "+1s",
            "1 m",
            " 1m",
            "1M",
            "1w",
            "1us",
            "99999999999999999999s",
            "999999999999999999d",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
