//! Addresses, by which people are found.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use icu_normalizer::ComposingNormalizerBorrowed;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// An e-mail address in the one form in which it is a key: NFC, 3 to 254 bytes, the local part in lower case and the domain
/// in lower-case ASCII.
///
/// It is a name and no proof: whoever registers one has not shown to read what is sent there.
///
/// ```
/// # use accounts::Email;
/// let email: Email = " Anna.Berg+weir@Bücher.example".parse().unwrap();
/// assert_eq!(email.as_str(), "anna.berg+weir@xn--bcher-kva.example");
/// assert_eq!(email.local_part(), "anna.berg+weir");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Email(Arc<str>);

/// Not an e-mail address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an e-mail address of at most 254 bytes")]
pub struct NoEmail;

impl Email {
    /// Most bytes of one: a path of [RFC 5321](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.3) has 256, with its
    /// angle brackets.
    pub const MAX: usize = 254;

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the `@`.
    #[must_use]
    pub fn local_part(&self) -> &str {
        self.0.split('@').next().unwrap_or_default()
    }
}

impl FromStr for Email {
    type Err = NoEmail;

    /// Reads one as somebody typed it. White space around it is dropped; dots and what follows a `+` stay, since only some
    /// providers take addresses without them for the same.
    fn from_str(text: &str) -> Result<Self, NoEmail> {
        let nfc = ComposingNormalizerBorrowed::new_nfc();
        let text = nfc.normalize(text.trim());
        let is_visible = !text.chars().any(|c| c.is_control() || c.is_whitespace());
        let (local, domain) = text.split_once('@').ok_or(NoEmail)?;
        if local.is_empty() || Self::MAX < text.len() || !is_visible {
            return Err(NoEmail);
        }
        // A second `@` is none of the characters of a domain, and neither is what is mapped to one.
        let domain = Uts46::new()
            .to_ascii(
                domain.as_bytes(),
                AsciiDenyList::STD3,
                Hyphens::Allow,
                DnsLength::Verify,
            )
            .map_err(|_| NoEmail)?;
        // Lower-case letters may compose with marks that capitals do not compose with.
        let local = local.to_lowercase();
        let email = format!("{}@{domain}", nfc.normalize(&local));
        match email.len() <= Self::MAX {
            true => Ok(Self(email.into())),
            false => Err(NoEmail),
        }
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What was read is read as itself, so that everything that writes an address writes the same.
        #[test]
        fn an_address_is_read_as_it_is_told(text in r"\PC{1,12}@[a-zA-ZäÄßéΣ0-9-]{1,12}\.[a-z]{1,3}") {
            if let Ok(email) = text.parse::<Email>() {
                prop_assert_eq!(email.as_str().parse(), Ok(email.clone()));
                prop_assert_eq!(email.as_str().matches('@').count(), 1);
                prop_assert!(email.as_str().len() <= Email::MAX);
            }
        }

        #[test]
        fn capitals_and_white_space_around_make_no_other_address(text in "[a-z.+]{1,9}@[a-z]{1,9}") {
            let email: Email = text.parse().unwrap();
            prop_assert_eq!(email.as_str(), &text);
            prop_assert_eq!(format!(" {}\n", text.to_uppercase()).parse(), Ok(email));
        }

        #[test]
        fn no_text_is_a_panic(text: String) {
            let _ = text.parse::<Email>();
        }
    }

    #[test]
    fn an_address_has_one_form() {
        for (typed, kept) in [
            ("a@b", "a@b"),
            (" Anna@Example.COM\t", "anna@example.com"),
            ("an.na+x@example.com", "an.na+x@example.com"),
            ("anna@BÜCHER.example", "anna@xn--bcher-kva.example"),
            ("anna@XN--BCHER-KVA.example", "anna@xn--bcher-kva.example"),
            // The accent by itself, and composed.
            ("Rene\u{301}@example.com", "ren\u{e9}@example.com"),
            // There is no J with a caron in one character, but a j.
            ("J\u{30c}@b", "\u{1f0}@b"),
            // The sign of Kelvin is a K.
            ("\u{212a}@example.com", "k@example.com"),
            // IDNA's mapping: full-width letters, the ideographic full stop.
            ("a@ｅxample\u{3002}com", "a@example.com"),
        ] {
            let email: Email = typed.parse().unwrap_or_else(|_| panic!("{typed}"));
            assert_eq!(email.as_str(), kept, "{typed}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = |bytes: usize| format!("{}@{}.example", "a".repeat(bytes - 21), "b".repeat(12));
        assert_eq!(long(254).parse::<Email>().unwrap().as_str().len(), 254);
        // 361 bytes as it is typed, and fewer once the accents are composed.
        let accents = format!("{}@b", "e\u{301}".repeat(119) + "ab");
        assert_eq!(accents.parse::<Email>().unwrap().as_str().len(), 242);
        for text in [
            "",
            "a",
            "a@",
            "@b",
            "@",
            "a@b@c",
            "a@b\u{ff20}c",
            "a\u{ff20}b",
            "a\u{7}b@c",
            "a@b\u{0}",
            "a\nb@c",
            "a b@c",
            "a@b c",
            "a@b.",
            "a@.b",
            "a@b..c",
            "a@b/c",
            "a@[127.0.0.1]",
            "a@xn--",
            "a@\u{ad}",
            &format!("a@{}.example", "b".repeat(64)),
            &long(255),
            // 253 bytes as it is typed, and more in ASCII.
            &format!("{}@{}example", "a".repeat(227), "ü.".repeat(6)),
        ] {
            assert_eq!(text.parse::<Email>(), Err(NoEmail), "{text}");
        }
    }
}
