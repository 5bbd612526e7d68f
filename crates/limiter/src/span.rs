//! Spans of time as people write them: a whole number and `ms`, `s`, `m`, `h` or `d`.

use quota::Nanos;

/// What [`parse`] understands.
pub const ACCEPTED: &str = "a whole number and ms, s, m, h or d, such as \"1m\", from 1ms to 366d";

/// Milliseconds per unit, the largest first.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads `250ms`, `1m` or `30d`. `None` for anything else, and for more than fits 64 bits of milliseconds.
#[must_use]
pub fn parse(text: &str) -> Option<Nanos> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, millis_per_unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let millis = number.parse::<u64>().ok()?.checked_mul(*millis_per_unit)?;
    Some(Nanos::from_millis(millis))
}

/// Writes whole milliseconds in the largest unit that needs no fraction.
#[must_use]
pub fn format(span: Nanos) -> String {
    let millis = span.get() / 1_000_000;
    let (unit, millis_per_unit) = UNITS
        .iter()
        .find(|(_, millis_per_unit)| millis.is_multiple_of(*millis_per_unit))
        .expect("every number is a multiple of one");
    format!("{}{unit}", millis / millis_per_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (text, millis) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("1m", 60_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse(text), Some(Nanos::from_millis(millis)), "{text}");
            assert_eq!(format(Nanos::from_millis(millis)), text);
        }
        assert_eq!(format(Nanos::from_millis(90_000)), "90s");
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
            "١s",
            "1€",
            "99999999999999999999s",
            "999999999999999999d",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
