//! What whoever can read the cookie of a cluster proves it with.

use std::fmt;

use subtle::ConstantTimeEq as _;

use crate::api_key::spell;
use crate::derive::derive;

/// What every operator token begins with.
const PREFIX: &str = "weir_op_";

/// Symbols behind it, of 5.95 bits each: 256 bits.
const SYMBOLS: usize = 43;

/// Bytes of an operator token.
const LENGTH: usize = PREFIX.len() + SYMBOLS;

/// Names this way of deriving it. Another way has another number.
const LABEL: &str = "weir operator 1";

/// The token of a cluster's operator, which is derived from the cookie of the cluster: `weir_op_` and 43 of `0-9A-Za-z`.
///
/// Every node and whoever can read the cookie derive the same one; nothing is kept of it, and another cookie is the only way
/// to end it. It tells nothing about the cookie to who cannot guess that.
///
/// ```
/// # use accounts::OperatorToken;
/// let token = OperatorToken::derive(b"a cookie of at least 128 random bits");
/// assert_eq!(token.reveal(), "weir_op_HUw6cseomRvP5SodyItav3uRy0DxSEzlnqbczQ6tmPt");
/// assert!(token.matches(token.reveal()));
/// assert!(!token.matches("weir_op_"));
/// ```
#[derive(Clone)]
pub struct OperatorToken([u8; LENGTH]);

impl OperatorToken {
    /// That of the cluster with this cookie, all bytes of it.
    #[must_use]
    pub fn derive(cookie: &[u8]) -> Self {
        let random: [u8; 2 * SYMBOLS] = derive(cookie, LABEL);
        let mut token = [0; LENGTH];
        let (prefix, symbols) = token.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        spell(&random, symbols);
        Self(token)
    }

    /// All of it: to be sent to a node, or shown to whoever can read the cookie.
    #[must_use]
    pub fn reveal(&self) -> &str {
        std::str::from_utf8(&self.0).expect("symbols are ASCII")
    }

    /// Whether `text` is this token, in a time that does not tell how much of it is right. All tokens are of one length.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.ct_eq(text.as_bytes()).into()
    }
}

/// Without the secret.
impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_token_is_that_of_its_cookie(one: Vec<u8>, other: Vec<u8>) {
            let token = OperatorToken::derive(&one);
            let text = token.reveal();
            prop_assert_eq!(text.len(), 51);
            prop_assert!(text[8..].bytes().all(|symbol| symbol.is_ascii_alphanumeric()));
            prop_assert!(token.matches(OperatorToken::derive(&one).reveal()));
            // HMAC fills short keys up with zeros, so that a cookie and the same with zeros behind it are one.
            let bare = |cookie: &[u8]| cookie.iter().rposition(|byte| *byte != 0).map(|last| cookie[..=last].to_vec());
            prop_assume!(bare(&one) != bare(&other));
            prop_assert!(!token.matches(OperatorToken::derive(&other).reveal()));
        }

        #[test]
        fn a_token_with_another_character_is_none(cookie: [u8; 16], at in 0..51_usize, other in "[0-9A-Za-z_]") {
            let token = OperatorToken::derive(&cookie);
            let mut text = token.reveal().to_owned();
            prop_assume!(text[at..=at] != other);
            text.replace_range(at..=at, &other);
            prop_assert!(!token.matches(&text));
        }
    }

    #[test]
    fn no_part_of_a_token_is_one() {
        let token = OperatorToken::derive(b"cookie");
        let text = token.reveal();
        for text in ["", PREFIX, &text[..50], &text[1..], &format!("{text}0")] {
            assert!(!token.matches(text), "{text}");
        }
        assert_eq!(format!("{token:?}"), "OperatorToken");
    }
}
