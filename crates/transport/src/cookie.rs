//! The secret that makes strangers into members, and the keys derived from it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// HMAC-SHA256, in which everything here is proven and derived.
pub(crate) type HmacSha256 = Hmac<Sha256>;

/// What all nodes of a cluster share, and nobody else knows. Never printed.
///
/// Take at least 128 random bits: whoever a node *dials* gets a proof that can be tried against guesses.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie(Vec<u8>);

impl Cookie {
    /// A cookie of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// A key for the use that `label` names: the HMAC-SHA256 of the label under the cookie.
    ///
    /// One key tells nothing about another or about the cookie, so that a leak of, say, the key
    /// hashing secret does not open the cluster.
    #[must_use]
    pub fn secret(&self, label: &str) -> [u8; 32] {
        let mut mac = HmacSha256::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(b"weir secret ");
        mac.update(label.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_label_and_each_cookie_has_its_own_secret() {
        let cookie = Cookie::new("a");
        assert_eq!(cookie.secret("x"), Cookie::new(*b"a").secret("x"));
        assert_ne!(cookie.secret("x"), cookie.secret("y"));
        assert_ne!(cookie.secret("x"), Cookie::new("b").secret("x"));
    }

    #[test]
    fn debug_hides_the_cookie() {
        assert!(!format!("{:?}", Cookie::new("hunter2")).contains("hunter2"));
    }
}
