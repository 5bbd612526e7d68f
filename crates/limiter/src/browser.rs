//! Telling browsers apart by a signed cookie.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderValue;
use sha2::Sha256;

use crate::Key;

/// Name of the cookie.
pub(crate) const COOKIE: &str = "weir_browser";

/// Signs and checks browsers' cookies.
///
/// A cookie is an id, a dot, and the HMAC-SHA256 of the id, both in hex: a browser that makes up an id is found out,
/// and any node that has the key can tell.
pub(crate) struct BrowserKey(Hmac<Sha256>);

/// A browser's id: 32 hex digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrowserId(String);

impl BrowserId {
    /// An id that nobody has had: 128 random bits.
    ///
    /// `None` if the system has no randomness to give.
    pub(crate) fn random() -> Option<Self> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).ok()?;
        Some(Self(hex(&bits)))
    }

    /// What is counted.
    pub(crate) fn key(&self) -> Key<'static> {
        Key::of_browser(&self.0)
    }
}

impl BrowserKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    /// The id in the value of a cookie. `None` if it was not signed with this key.
    pub(crate) fn verify(&self, cookie: &str) -> Option<BrowserId> {
        let (id, signature) = cookie.split_once('.')?;
        let mut mac = self.0.clone();
        mac.update(id.as_bytes());
        // In constant time.
        mac.verify_slice(&unhex(signature)?).ok()?;
        Some(BrowserId(id.to_owned()))
    }

    /// The value of a `Set-Cookie` that gives a browser its id.
    ///
    /// For a year, as nothing is gained by forgetting; unreadable for scripts, and not sent along by other sites.
    pub(crate) fn set_cookie(&self, id: &BrowserId) -> HeaderValue {
        let mut mac = self.0.clone();
        mac.update(id.0.as_bytes());
        let signature = hex(&mac.finalize().into_bytes());
        let cookie = format!(
            "{COOKIE}={}.{signature}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax",
            id.0
        );
        HeaderValue::from_str(&cookie).expect("hex digits are visible ASCII")
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from_digit(digit.into(), 16).expect("four bits are a hex digit"))
        .collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(cookie: &HeaderValue) -> String {
        let (pair, _) = cookie.to_str().unwrap().split_once(';').unwrap();
        pair.strip_prefix("weir_browser=").unwrap().to_owned()
    }

    #[test]
    fn a_cookie_is_believed_under_its_own_key_only() {
        let (ours, theirs) = (BrowserKey::new(&[1; 32]), BrowserKey::new(&[2; 32]));
        let id = BrowserId::random().unwrap();
        let cookie = value(&ours.set_cookie(&id));
        assert_eq!(ours.verify(&cookie), Some(id));
        assert_eq!(theirs.verify(&cookie), None);
    }

    #[test]
    fn a_forged_cookie_is_none() {
        let key = BrowserKey::new(&[1; 32]);
        let cookie = value(&key.set_cookie(&BrowserId::random().unwrap()));
        let (id, signature) = cookie.split_once('.').unwrap();
        for forged in [
            String::new(),
            id.to_owned(),
            format!("{id}."),
            format!("{id}.{}", &signature[2..]),
            format!("{id}.é{signature}"),
            format!("0{id}.{signature}"),
            format!("{}.{signature}", BrowserId::random().unwrap().0),
        ] {
            assert_eq!(key.verify(&forged), None, "{forged}");
        }
    }
}
