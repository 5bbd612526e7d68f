//! Amounts of memory as people write them: a part of the machine, or a whole number and a unit.

/// What keys may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryMax {
    /// Hundredths of the memory of the machine, or of the container if that may use less. 1 to 100.
    Percent(u8),
    /// So many bytes.
    Bytes(u64),
}

/// What [`parse`] understands.
pub(crate) const ACCEPTED: &str = "a part of the machine's memory from \"1%\" to \"100%\", or at least \"1MB\" as a whole number and MB, GB, MiB or GiB";

/// The least that may be given: 12 000 keys.
const BYTES_MIN: u64 = 1_000_000;

/// Reads `25%`, `512MiB` or `2GB`. `None` for anything else.
pub(crate) fn parse(text: &str) -> Option<MemoryMax> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent = digits(percent)?.parse().ok()?;
        return (1..=100)
            .contains(&percent)
            .then_some(MemoryMax::Percent(percent));
    }
    let units = [
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];
    let (number, unit) = units
        .iter()
        .find_map(|&(name, bytes)| Some((text.strip_suffix(name)?, bytes)))?;
    let bytes = digits(number)?.parse::<u64>().ok()?.checked_mul(unit)?;
    (BYTES_MIN <= bytes).then_some(MemoryMax::Bytes(bytes))
}

/// The text, if it is nothing but digits: a number's own reader takes a sign.
fn digits(text: &str) -> Option<&str> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(text)
}

#[cfg(test)]
mod tests {
    use super::{MemoryMax, parse};

    #[test]
    fn parts_and_amounts_are_read() {
        for (text, expected) in [
            ("1%", MemoryMax::Percent(1)),
            ("25%", MemoryMax::Percent(25)),
            ("100%", MemoryMax::Percent(100)),
            ("1MB", MemoryMax::Bytes(1_000_000)),
            ("512MiB", MemoryMax::Bytes(536_870_912)),
            ("2GB", MemoryMax::Bytes(2_000_000_000)),
            ("3GiB", MemoryMax::Bytes(3_221_225_472)),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "%",
            "0%",
            "101%",
            "+5%",
            "2.5%",
            "25",
            "0MB",
            "MB",
            "1 GB",
            "+1GB",
            "-1GB",
            "1gb",
            "1KB",
            "1024",
            "1TB",
            "0.5GB",
            "20000000000GiB",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
