//! Whether an event is Stripe's own: the header `Stripe-Signature`, as in
//! [Stripe's documentation](https://docs.stripe.com/webhooks#verify-manually).

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What signs the events of an endpoint, such as `whsec_1a2b`. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(String);

impl WebhookSecret {
    /// This one.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself, for whoever is to keep it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

/// Seconds that the time in a signature may be away from that of this node.
pub const TOLERANCE: u64 = 300;

/// Not signed by any of the secrets, or not now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "t=TIME,v1=SIGNATURE of the body by the secret of this endpoint, at most {TOLERANCE} s old"
)]
pub struct BadSignature;

/// Checks the header of a body as it came, byte by byte. `now` is seconds since the epoch.
///
/// # Errors
///
/// [`BadSignature`]
pub fn verify(
    header: &str,
    body: &[u8],
    secrets: &[WebhookSecret],
    now: u64,
) -> Result<(), BadSignature> {
    let items = || {
        header
            .split(',')
            .filter_map(|item| item.trim().split_once('='))
    };
    let mut times = items().filter(|(name, _)| *name == "t");
    let time = match (times.next(), times.next()) {
        (Some((_, time)), None) => time,
        _ => return Err(BadSignature),
    };
    let at: u64 = time.parse().map_err(|_| BadSignature)?;
    if TOLERANCE < now.abs_diff(at) {
        return Err(BadSignature);
    }
    let given = items().filter(|(name, _)| *name == "v1");
    let given = given.filter_map(|(_, signature)| hex::decode(signature).ok());
    let mut macs = secrets
        .iter()
        .map(|secret| signed(secret.expose(), time, body));
    let given: Vec<Vec<u8>> = given.collect();
    // Each against each: which of them it is tells nothing.
    let is_known = macs.any(|mac| {
        let mut given = given.iter();
        given.any(|given| mac.clone().verify_slice(given).is_ok())
    });
    is_known.then_some(()).ok_or(BadSignature)
}

fn signed(secret: &str, time: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key will do");
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000;
    const BODY: &[u8] = br#"{"id":"evt_1"}"#;

    fn header(secret: &str, at: u64) -> String {
        let mac = signed(secret, &at.to_string(), BODY);
        format!("t={at},v1={}", hex::encode(mac.finalize().into_bytes()))
    }

    fn is_taken(header: &str) -> bool {
        let secrets = ["whsec_new", "whsec_old"].map(|it| WebhookSecret::new(it.into()));
        verify(header, BODY, &secrets, NOW).is_ok()
    }

    /// By `hmac.new(b"whsec_test", b"1790000000." + body, "sha256")` of Python.
    #[test]
    fn it_is_what_others_make_of_it() {
        let known = "e32657f3e678d33b41ec084c16ac0e125d25480a06cb3902286dc5942c6fd259";
        assert_eq!(header("whsec_test", NOW), format!("t={NOW},v1={known}"));
    }

    #[test]
    fn either_secret_signs_and_any_of_several_signatures() {
        for (secret, is_one) in [
            ("whsec_new", true),
            ("whsec_old", true),
            ("whsec_other", false),
        ] {
            assert_eq!(is_taken(&header(secret, NOW)), is_one, "{secret}");
        }
        let header = header("whsec_new", NOW);
        let (_, good) = header.split_once(",v1=").unwrap();
        assert!(is_taken(&format!("t={NOW}, v1=00, v0=1, v1={good}")));
        assert!(!is_taken(&format!("t={NOW},v0={good}")));
        assert!(!is_taken(&format!("v1={good}")));
        assert!(!is_taken(&format!("t={NOW},t={NOW},v1={good}")));
        assert!(!is_taken(&format!("t={NOW},v1={}", &good[..62])));
        assert!(!is_taken(&format!("t={NOW},v1=zz")));
        for nothing in ["", ",", "t=,v1=", "t=-1,v1=00"] {
            assert!(!is_taken(nothing), "{nothing}");
        }
    }

    #[test]
    fn it_is_of_now() {
        for (at, is_one) in [
            (NOW - 300, true),
            (NOW - 301, false),
            (NOW + 300, true),
            (NOW + 301, false),
        ] {
            assert_eq!(is_taken(&header("whsec_new", at)), is_one, "{at}");
        }
    }

    #[test]
    fn another_body_is_another() {
        let header = header("whsec_new", NOW);
        let secret = WebhookSecret::new("whsec_new".into());
        assert!(verify(&header, b"{}", &[secret], NOW).is_err());
    }
}
