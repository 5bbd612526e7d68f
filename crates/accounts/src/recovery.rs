//! What somebody who has forgotten a password kept on paper.

use std::fmt;

use crate::SecretHash;
use crate::id::symbol_value;

/// Symbols of a code, of 5 bits each.
const SYMBOLS: usize = 25;

/// Symbols between two dashes.
const GROUP: usize = 5;

/// A recovery code, with which a new password may be set once: 125 random bits, told as
/// `XXXXX-XXXXX-XXXXX-XXXXX-XXXXX` in `0-9A-HJKMNP-TV-Z`.
///
/// ```
/// # use accounts::RecoveryCode;
/// let code = RecoveryCode::parse("0123456789abcdefghjkmnpqr").unwrap();
/// assert_eq!(code.reveal(), "01234-56789-ABCDE-FGHJK-MNPQR");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode([u8; SYMBOLS]);

impl RecoveryCode {
    /// A new one, of random bytes, of which it takes 125 bits.
    #[must_use]
    pub fn draw(random: &[u8; 16]) -> Self {
        let number = u128::from_be_bytes(*random);
        let values = std::array::from_fn(|place| (number >> (5 * place)) as u8 % 32);
        Self(values)
    }

    /// Reads one as somebody typed it: in any case, with dashes and white space anywhere or nowhere, and with `O`, `I` and
    /// `L` for the digits that they look like. `None`: it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let typed = text.chars().filter(|c| *c != '-' && !c.is_whitespace());
        let mut values = [0; SYMBOLS];
        let mut count = 0;
        for c in typed {
            let c = match c.to_ascii_lowercase() {
                'o' => '0',
                'i' | 'l' => '1',
                c => c,
            };
            *values.get_mut(count)? = symbol_value(u8::try_from(c).ok()?)?;
            count += 1;
        }
        (count == SYMBOLS).then_some(Self(values))
    }

    /// What is kept of it: it has enough random bits for a fast hash.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }

    /// All of it: to be shown once, to whose it is.
    #[must_use]
    pub fn reveal(&self) -> String {
        let text = |group: &[u8]| group.iter().map(|value| symbol(*value)).collect::<String>();
        let groups: Vec<String> = self.0.chunks(GROUP).map(text).collect();
        groups.join("-")
    }
}

/// The symbol of 5 bits, in upper case, since a code is read from paper.
fn symbol(value: u8) -> char {
    char::from(crate::id::SYMBOLS[usize::from(value)]).to_ascii_uppercase()
}

/// Without the secret.
impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_code_is_read_as_it_is_told(random: [u8; 16]) {
            let code = RecoveryCode::draw(&random);
            let text = code.reveal();
            prop_assert_eq!(text.len(), 29);
            prop_assert!(text.bytes().enumerate().all(|(at, byte)| (byte == b'-') == (at % 6 == 5)));
            let bare = text.replace('-', "");
            for typed in [&text, &text.to_lowercase(), &bare, &format!(" {}\n", text.replace('-', " "))] {
                prop_assert_eq!(RecoveryCode::parse(typed), Some(code.clone()));
            }
            let shown = format!("{code:?}");
            prop_assert_eq!(shown, "RecoveryCode");
            prop_assert_eq!(RecoveryCode::parse(&bare[1..]), None);
            prop_assert_eq!(RecoveryCode::parse(&format!("{text}0")), None);
        }

        /// All bits but the three that are left out count.
        #[test]
        fn another_code_has_another_hash(random: [u8; 16], bit in 0..125_u32) {
            let other = u128::from_be_bytes(random) ^ (1 << bit);
            let [code, other] = [random, other.to_be_bytes()].map(|random| RecoveryCode::draw(&random));
            prop_assert!(code.hash().matches(&code.hash()));
            prop_assert!(!code.hash().matches(&other.hash()));
        }

        #[test]
        fn no_text_is_a_panic(text: String) {
            let _ = RecoveryCode::parse(&text);
        }
    }

    #[test]
    fn what_looks_like_a_digit_is_read_as_it() {
        let code = RecoveryCode::parse("00000-11111-11111-00000-00000").unwrap();
        for typed in [
            "OOOOO-IIIII-LLLLL-OOOOO-00000",
            "ooooo-iiiii-lllll-ooooo-00000",
            "--00000-11111 11111  0000000000-",
        ] {
            assert_eq!(RecoveryCode::parse(typed), Some(code.clone()), "{typed}");
        }
        for text in [
            "",
            "-",
            "UUUUU-11111-11111-00000-00000",
            "0000é-11111-11111-00000-00000",
            "0000ı-11111-11111-00000-00000",
        ] {
            assert_eq!(RecoveryCode::parse(text), None, "{text}");
        }
    }
}
