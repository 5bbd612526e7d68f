//! Query strings and percent-encoding, strictly: what does not decode to text is refused, not replaced.

use std::borrow::Cow;

use crate::Refusal;

/// The value of the parameter `name`. `None` when it is not there.
///
/// Other parameters are ignored.
///
/// # Errors
///
/// Given twice, it is refused: what one side takes to be the key, the other might not. So is what does not decode.
pub fn parameter<'q>(query: &'q str, name: &str) -> Result<Option<Cow<'q, str>>, Refusal> {
    let mut values = parameters(query, name);
    let first = values.next().transpose()?;
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Refusal::invalid(format!("{name} is given twice")).at(name.to_owned())),
    }
}

/// The values of the parameter `name`, in their order. What does not decode is refused.
pub fn parameters<'q>(
    query: &'q str,
    name: &str,
) -> impl Iterator<Item = Result<Cow<'q, str>, Refusal>> {
    query.split('&').filter_map(move |pair| {
        let (raw_name, raw_value) = pair.split_once('=').unwrap_or((pair, ""));
        // The name of another parameter may be anything, even what does not decode.
        let is_named = decode(raw_name, true).is_some_and(|decoded| decoded == name);
        let value = || {
            decode(raw_value, true)
                .ok_or_else(|| Refusal::field(name.to_owned(), raw_value, ENCODED))
        };
        is_named.then(value)
    })
}

/// What [`decode`] takes.
pub const ENCODED: &str = "percent-encoded UTF-8";

/// Undoes percent-encoding. `None` for a `%` without two hex digits, and for what is not UTF-8 afterwards.
#[must_use]
pub fn decode(text: &str, plus_is_space: bool) -> Option<Cow<'_, str>> {
    let plain = |byte: u8| byte != b'%' && !(plus_is_space && byte == b'+');
    if text.bytes().all(plain) {
        return Some(text.into());
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_text_is_decoded() {
        for (text, plain) in [
            ("", ""),
            ("a", "a"),
            ("a%2Fb", "a/b"),
            ("%e2%82%AC", "€"),
            ("a+b", "a b"),
            ("%2b", "+"),
            ("%00", "\0"),
        ] {
            assert_eq!(decode(text, true).as_deref(), Some(plain), "{text}");
        }
        assert_eq!(decode("a+b", false).as_deref(), Some("a+b"));
    }

    #[test]
    fn what_is_no_encoding_of_text_is_refused() {
        for text in ["%", "%a", "%zz", "%ff", "%c3%28", "a%", "%+1"] {
            assert_eq!(decode(text, true), None, "{text}");
        }
    }

    #[test]
    fn parameters_are_found_among_others() {
        assert_eq!(
            parameter("a=1&key=x%20y&b", "key").unwrap().as_deref(),
            Some("x y")
        );
        assert_eq!(parameter("a=1&%zz=%zz", "key").unwrap(), None);
        assert_eq!(parameter("key", "key").unwrap().as_deref(), Some(""));
        assert!(parameter("key=%ff", "key").is_err());
        assert!(parameter("key=a&key=a", "key").is_err());
    }
}
