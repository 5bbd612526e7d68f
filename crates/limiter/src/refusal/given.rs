//! What a client gave that was not accepted, as it is given back.

use std::borrow::Cow;
use std::fmt;

/// What a client gave that was not accepted, as it is given back: cut, so that an answer is no echo of anything long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Given {
    /// Text: its first 100 characters.
    Text(String),
    /// A number, `true`, `false` or `null`, as JSON writes it.
    Literal(String),
}

/// Most characters of a text that is given back: enough to recognise it by.
const GIVEN_MAX: usize = 100;

impl Given {
    /// Bytes that may be no text: what is none is replaced.
    #[must_use]
    pub fn lossy(bytes: &[u8]) -> Self {
        // Four bytes a character at most: what stands behind is cut anyway.
        let head = &bytes[..bytes.len().min(4 * GIVEN_MAX + 4)];
        Self::from(String::from_utf8_lossy(head))
    }
}

impl From<&str> for Given {
    fn from(text: &str) -> Self {
        match text.char_indices().nth(GIVEN_MAX) {
            Some((end, _)) => Self::Text(format!("{}…", &text[..end])),
            None => Self::Text(text.to_owned()),
        }
    }
}

impl From<String> for Given {
    fn from(text: String) -> Self {
        Self::from(&*text)
    }
}

impl From<Cow<'_, str>> for Given {
    fn from(text: Cow<'_, str>) -> Self {
        Self::from(&*text)
    }
}

macro_rules! from_numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for Given {
            fn from(number: $number) -> Self {
                Self::Literal(number.to_string())
            }
        }
    )*};
}

from_numbers!(u32, u64, i64, usize);

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Text(text) | Self::Literal(text)) = self;
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(Given::from("é".repeat(100)).to_string(), "é".repeat(100));
        let cut = format!("{}…", "é".repeat(100));
        assert_eq!(Given::from("é".repeat(101)).to_string(), cut);
        assert_eq!(Given::lossy("é".repeat(1_000).as_bytes()).to_string(), cut);
    }
}
