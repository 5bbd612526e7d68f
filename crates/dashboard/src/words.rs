//! Times and numbers as people read them.

use std::time::{SystemTime, UNIX_EPOCH};

use accounts::UnixSecs;

/// By the clock of this machine.
pub(crate) fn now() -> UnixSecs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixSecs::new(since.map_or(0, |since| since.as_secs()))
}

/// `8 h 42 min`, of whole seconds.
pub(crate) fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// `2026-11-21 10:00 UTC`, of a time of RFC 3339 in UTC. Something else stays as it is.
pub(crate) fn minute(time: &str) -> String {
    match (
        time.get(..10),
        time.get(10..11),
        time.get(11..16),
        time.ends_with('Z'),
    ) {
        (Some(day), Some("T"), Some(clock), true) => format!("{day} {clock} UTC"),
        _ => time.to_owned(),
    }
}

/// A number with a thin space between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (place, digit) in digits.chars().enumerate() {
        if place != 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_times_and_numbers_are_told_shortly() {
        assert_eq!(
            [5, 61, 31_337, 90_000].map(span),
            ["5 s", "1 min", "8 h 42 min", "1 d 1 h"]
        );
        assert_eq!(minute("2026-11-21T10:00:07Z"), "2026-11-21 10:00 UTC");
        assert_eq!(minute("soon"), "soon");
        let grouped = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(
            grouped,
            ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
    }
}
