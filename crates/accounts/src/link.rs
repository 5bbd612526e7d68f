//! Links that work once: invitations, and links by which a new password is set.

use std::fmt;

use crate::id::{Bits, symbol_value};
use crate::{InviteId, SecretHash, UnixSecs, UserId};

/// Random bytes of the secret of a token.
const SECRET: usize = 20;

/// Bytes of a token: what it is of, and the secret. As many bits as symbols of 5 have.
const BYTES: usize = size_of::<Bits>() + SECRET;

/// Symbols of a token.
const LENGTH: usize = 8 * BYTES / 5;

fn write(bytes: &[u8; BYTES]) -> String {
    let (groups, _) = bytes.as_chunks::<5>();
    let mut text = String::with_capacity(LENGTH);
    for group in groups {
        let number = group
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte));
        for place in (0..8).rev() {
            let value = (number >> (5 * place)) as usize % 32;
            text.push(crate::id::SYMBOLS[value].into());
        }
    }
    text
}

fn read(text: &str) -> Option<[u8; BYTES]> {
    let symbols: &[u8; LENGTH] = text.as_bytes().try_into().ok()?;
    let (groups, _) = symbols.as_chunks::<8>();
    let mut bytes = [0; BYTES];
    let (places, _) = bytes.as_chunks_mut::<5>();
    for (group, place) in groups.iter().zip(places) {
        let mut number = 0;
        for symbol in group {
            number = number << 5 | u64::from(symbol_value(*symbol)?);
        }
        *place = *number
            .to_be_bytes()
            .last_chunk()
            .expect("a number of 8 bytes has 5");
    }
    Some(bytes)
}

/// Defines the type of tokens of links.
macro_rules! token {
    ($(#[$doc:meta])* $name:ident, $of:ident, $label:literal) => {
        $(#[$doc])*
        ///
        /// 48 symbols of `0-9a-hjkmnp-tv-z`: the id by which its record is found, and 160 random bits.
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name {
            of: $of,
            secret: [u8; SECRET],
        }

        impl $name {
            /// A new one, of random bytes.
            #[must_use]
            pub const fn draw(of: $of, random: [u8; 20]) -> Self {
                Self { of, secret: random }
            }

            /// Reads one. `None`: it is none.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let bytes = read(text)?;
                let (of, secret) = bytes.split_first_chunk()?;
                let secret = secret.try_into().ok()?;
                Some(Self { of: $of::new(*of), secret })
            }

            /// What it is of.
            #[must_use]
            pub const fn of(&self) -> $of {
                self.of
            }

            /// What is kept of it: it has enough random bits for a fast hash.
            #[must_use]
            pub fn hash(&self) -> SecretHash {
                let of = self.of.to_bytes();
                SecretHash::of(&[$label.as_slice(), &of, &self.secret].concat())
            }

            /// All of it: to be shown once, to who made it.
            #[must_use]
            pub fn reveal(&self) -> String {
                let mut bytes = [0; BYTES];
                let (of, secret) = bytes.split_at_mut(size_of::<Bits>());
                of.copy_from_slice(&self.of.to_bytes());
                secret.copy_from_slice(&self.secret);
                write(&bytes)
            }
        }

        /// Without the secret.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.of).finish()
            }
        }
    };
}

token!(
    /// The token of an invitation: whoever brings it may join, once.
    InviteToken,
    InviteId,
    b"invite"
);

token!(
    /// The token by which a user may set a new password, once.
    ResetToken,
    UserId,
    b"reset"
);

/// What is kept of a link: the hash of its token, and until when it works.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Link {
    /// Of its token.
    pub secret: SecretHash,
    /// It does not work from then on.
    pub expires_at: UnixSecs,
}

impl Link {
    /// Seconds that an invitation works: 7 days.
    pub const INVITE: u64 = 7 * 24 * 60 * 60;
    /// Seconds that a link for a new password works: 1 h.
    pub const RESET: u64 = 60 * 60;

    /// Whether the token with this hash opens it now. That it has not been used is for the record to say which holds it.
    #[must_use]
    pub fn opens(&self, now: UnixSecs, token: &SecretHash) -> bool {
        // The hash is compared however late it is, so that the time of an answer tells nothing of the token.
        self.secret.matches(token) & (now < self.expires_at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_is_read_as_it_is_told(of: [u8; 10], random: [u8; 20]) {
            let token = ResetToken::draw(UserId::new(of), random);
            let text = token.reveal();
            prop_assert_eq!(text.len(), 48);
            prop_assert_eq!(&UserId::new(of).to_string()[3..], &text[..16]);
            prop_assert_eq!(ResetToken::parse(&text), Some(token.clone()));
            prop_assert_eq!(token.of(), UserId::new(of));
            let shown = format!("{token:?}");
            prop_assert!(!shown.contains(&text[16..]), "{}", shown);
        }

        /// One symbol that is another, anywhere, in whosever id or secret.
        #[test]
        fn a_token_with_another_symbol_is_another(of: [u8; 10], random: [u8; 20], at in 0..48_usize, other in "[0-9a-hjkmnp-tv-z]") {
            let token = InviteToken::draw(InviteId::new(of), random);
            let mut text = token.reveal();
            prop_assume!(text[at..=at] != other);
            text.replace_range(at..=at, &other);
            let other = InviteToken::parse(&text).unwrap();
            prop_assert!(!token.hash().matches(&other.hash()));
            prop_assert!(token.hash().matches(&token.hash()));
        }

        #[test]
        fn no_text_is_a_panic(text: String) {
            let _ = InviteToken::parse(&text);
        }
    }

    #[test]
    fn a_token_of_another_kind_opens_nothing() {
        let invite = InviteToken::draw(InviteId::new([1; 10]), [2; 20]);
        let reset = ResetToken::parse(&invite.reveal()).unwrap();
        assert!(!invite.hash().matches(&reset.hash()));
    }

    #[test]
    fn a_link_works_until_it_expires() {
        let token = ResetToken::draw(UserId::new([1; 10]), [2; 20]);
        let other = ResetToken::draw(UserId::new([1; 10]), [3; 20]);
        let at = UnixSecs::new;
        let link = Link {
            secret: token.hash(),
            expires_at: at(10),
        };
        assert!(link.opens(at(9), &token.hash()));
        assert!(!link.opens(at(10), &token.hash()));
        assert!(!link.opens(at(9), &other.hash()));
    }

    #[test]
    fn what_is_no_token_is_none() {
        let token = InviteToken::draw(InviteId::new([255; 10]), [255; 20]).reveal();
        assert_eq!(token, "z".repeat(48));
        for text in [
            "",
            &token[1..],
            &format!("{token}0"),
            &token.to_uppercase(),
            &token.replacen('z', "u", 1),
            &format!("{}é", &token[2..]),
        ] {
            assert_eq!(InviteToken::parse(text), None, "{text}");
        }
    }
}
