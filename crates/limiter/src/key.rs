//! Keys: as they come from outside, and as they are counted.

use std::borrow::Cow;

use crate::{Given, Refusal};

/// What is counted: 1 to 1 024 bytes of UTF-8 without NUL. Borrowed from the request where that can be.
///
/// Keys are text in every protocol. Redis clients and Envoy may send other bytes: they are refused by name rather than
/// replaced, so that two clients never share a counter by what was lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key<'a>(Cow<'a, str>);

impl<'a> Key<'a> {
    /// Longest key, in bytes.
    pub const BYTES_MAX: usize = 1_024;
    /// What [`new`](Self::new) takes.
    pub const ACCEPTED: &'static str = "1 to 1024 bytes of text without NUL";

    /// A key as it was given in `field`.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidRequest`](crate::Kind::InvalidRequest) for one that no counter may have.
    pub fn new(key: impl Into<Cow<'a, str>>, field: &'static str) -> Result<Self, Refusal> {
        let key = key.into();
        if key.is_empty() || Self::BYTES_MAX < key.len() || key.contains('\0') {
            return Err(Refusal::field(field, &*key, Self::ACCEPTED));
        }
        Ok(Self(key))
    }

    /// A key as the bytes that were given in `field`.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidRequest`](crate::Kind::InvalidRequest) for what is not UTF-8, too, and for one that no counter may
    /// have.
    pub fn from_bytes(key: &'a [u8], field: &'static str) -> Result<Self, Refusal> {
        match std::str::from_utf8(key) {
            Ok(key) => Self::new(key, field),
            Err(_) => Err(Refusal::field(field, Given::lossy(key), "UTF-8")),
        }
    }

    /// The key as it is counted.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same key, borrowed from nobody.
    #[must_use]
    pub fn into_owned(self) -> Key<'static> {
        Key(Cow::Owned(self.0.into_owned()))
    }
}

/// What the key of somebody who was identified begins with.
const NAME: &str = "name:";
const COOKIE: &str = "cookie:";
const PEER: &str = "peer:";
const BROWSER: &str = "browser:";

/// Keys of those who are told apart by what their requests bring. Of what was given, each takes no more than a key may be
/// long; with what stands before it, it may be longer.
impl Key<'static> {
    /// The key of somebody who gives a name, in a header or in the query: the name itself.
    ///
    /// A name that begins like one of the keys below gets `name:` before it, so that nobody becomes an address or a
    /// browser by calling himself so. Every other name is the key that `/v1/check` and `weir reset` know it by.
    pub(crate) fn of_name(name: &str) -> Self {
        let reserved = [NAME, COOKIE, PEER, BROWSER];
        Self(Cow::Owned(
            match reserved.iter().any(|prefix| name.starts_with(prefix)) {
                true => format!("{NAME}{name}"),
                false => name.to_owned(),
            },
        ))
    }

    /// The key of whoever holds a cookie. Its name has no `=`, so that two cookies never share a key.
    pub(crate) fn of_cookie(cookie: &str, value: &str) -> Self {
        Self(Cow::Owned(format!("{COOKIE}{cookie}={value}")))
    }

    /// The key of an address, or of a network of them.
    pub(crate) fn of_peer(address: &str) -> Self {
        Self(Cow::Owned(format!("{PEER}{address}")))
    }

    /// The key of a browser with an id: hex digits, which no address is.
    pub(crate) fn of_browser(id: &str) -> Self {
        Self(Cow::Owned(format!("{BROWSER}{id}")))
    }

    /// The key of a browser without one, by its address and a digest of what it calls itself.
    pub(crate) fn of_origin(address: &str, agent: &str) -> Self {
        Self(Cow::Owned(format!("{BROWSER}{address}:{agent}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_up_to_a_kibibyte_of_text() {
        for good in ["a", " ", "€", &"k".repeat(1024)] {
            assert_eq!(Key::new(good, "key").unwrap().as_str(), good);
            assert!(Key::from_bytes(good.as_bytes(), "key").is_ok());
        }
        for bad in ["", "a\0b", &"k".repeat(1025)] {
            let refusal = Key::new(bad, "key").unwrap_err();
            assert_eq!(refusal.accepted(), Some(Key::ACCEPTED));
            assert_eq!(Key::from_bytes(bad.as_bytes(), "key"), Err(refusal));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_as_such() {
        let refusal = Key::from_bytes(b"a\xff", "key").unwrap_err();
        assert_eq!(refusal.detail(), "key must be UTF-8");
        assert_eq!(refusal.given(), Some(&Given::Text("a\u{fffd}".into())));
    }

    #[test]
    fn nobody_becomes_another_by_the_name_he_gives() {
        for (name, key) in [
            ("ada", "ada"),
            ("peer:10.0.0.1", "name:peer:10.0.0.1"),
            ("browser:00", "name:browser:00"),
            ("cookie:sid=1", "name:cookie:sid=1"),
            ("name:ada", "name:name:ada"),
        ] {
            assert_eq!(Key::of_name(name).as_str(), key);
        }
    }
}
