//! Passwords: which may be chosen, and what is kept of them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use argon2::password_hash::phc;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::{Email, TenantName};

/// The commonest of those that are long enough, sorted, in lower case. `common-passwords.md` says where they are from.
const COMMON: &str = include_str!("common-passwords.txt");

/// A password that may be chosen, exactly as it was typed: 12 to 128 characters of any kind. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<str>);

/// Why a password may not be chosen. Never tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PasswordError {
    /// It is shorter or longer.
    #[error("12 to 128 characters")]
    Length,
    /// It is the local part of the address, or the address is in it.
    #[error("a password without your address")]
    Address,
    /// It is the name of the tenant.
    #[error("a password other than the tenant's name")]
    TenantName,
    /// It begins with the name of this program.
    #[error("a password that does not begin with weir")]
    Product,
    /// Many have it.
    #[error("a password that is not among the commonest")]
    Common,
}

impl Password {
    /// Fewest characters. With fewer, composition would have to make up for what is missing; with so many any may be taken.
    pub const MIN: usize = 12;
    /// Most characters: more than any sentence that somebody remembers, and little to hash.
    pub const MAX: usize = 128;

    /// The one that somebody with this address chose, who makes or joins this tenant. `None`: a tenant's name is not at hand.
    /// Capitals make no difference to what is refused.
    ///
    /// # Errors
    ///
    /// [`PasswordError`], of several that hold the first in its order.
    pub fn choose(
        text: &str,
        email: &Email,
        tenant: Option<&TenantName>,
    ) -> Result<Self, PasswordError> {
        if !(Self::MIN..=Self::MAX).contains(&text.chars().count()) {
            return Err(PasswordError::Length);
        }
        let lower = text.to_lowercase();
        if lower == email.local_part() || lower.contains(email.as_str()) {
            return Err(PasswordError::Address);
        }
        if tenant.is_some_and(|tenant| lower == tenant.as_str().to_lowercase()) {
            return Err(PasswordError::TenantName);
        }
        if lower.starts_with("weir") {
            return Err(PasswordError::Product);
        }
        // To look through 58 KB takes a four-hundredth of the time of the hash that follows.
        if COMMON.lines().any(|common| common == lower) {
            return Err(PasswordError::Common);
        }
        Ok(Self(text.into()))
    }
}

/// Without the secret.
impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// Memory of one hash in KiB: 19 MiB, passes over it, lanes: what [OWASP] asks for at the least.
///
/// [OWASP]: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
const MEMORY: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Bytes of a hash, without its salt.
const OUTPUT: usize = 32;

/// Most that a hash may cost which is taken from elsewhere, in KiB times passes: eight times what one costs here. A record
/// of another node must not take the memory of this one.
const COST_MAX: u32 = 8 * MEMORY * PASSES;

/// What is kept of a password: its argon2id hash, with the salt and what it costs.
///
/// To make one and to compare with one take some 30 ms of a core and 19 MiB: at most a few at a time, on a thread that may block.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PasswordHash(Arc<str>);

/// Not an argon2id hash in the form of a PHC string, or one that costs too much.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an argon2id hash")]
pub struct NoPasswordHash;

impl PasswordHash {
    /// The hash of a password, with a salt of 16 random bytes.
    #[must_use]
    pub fn new(password: &Password, salt: &[u8; 16]) -> Self {
        Self::of(&password.0, salt, MEMORY, PASSES)
    }

    /// The hash of what was typed and [matches](Self::matches) this one, at what a hash [costs now](Self::is_outdated).
    #[must_use]
    pub fn renewed(typed: &str, salt: &[u8; 16]) -> Self {
        Self::of(typed, salt, MEMORY, PASSES)
    }

    fn of(text: &str, salt: &[u8; 16], memory: u32, passes: u32) -> Self {
        let params = Params::new(memory, passes, LANES, Some(OUTPUT));
        let params = params.expect("they are within what argon2 takes");
        let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_with_salt(text.as_bytes(), salt)
            .expect("a salt of 16 bytes and a password of any length can be hashed");
        Self(hash.to_string().into())
    }

    /// One that no password has: who is not known is compared with it, and takes as long to be refused as who is.
    #[must_use]
    pub fn nobodys() -> Self {
        let nothing = |bytes: usize| "A".repeat((8 * bytes).div_ceil(6));
        let (salt, output) = (nothing(16), nothing(OUTPUT));
        Self(format!("$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}${salt}${output}").into())
    }

    /// Whether it is that of what was typed, in a time that does not tell how much of it is right.
    #[must_use]
    pub fn matches(&self, typed: &str) -> bool {
        Argon2::default()
            .verify_password(typed.as_bytes(), &self.parsed())
            .is_ok()
    }

    /// Whether it was made at another cost than one that is made now: to be [renewed](Self::renewed) at the next login.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        let now = Self::nobodys().parsed();
        let this = self.parsed();
        let form = |hash: &phc::PasswordHash| {
            let output = hash.hash.as_ref().map(|output| output.len());
            (hash.version, hash.params.clone(), output)
        };
        form(&this) != form(&now)
    }

    /// To be kept: the PHC string, such as `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parsed(&self) -> phc::PasswordHash {
        phc::PasswordHash::new(&self.0).expect("it was made or read as one")
    }
}

/// As it was kept.
impl FromStr for PasswordHash {
    type Err = NoPasswordHash;

    fn from_str(text: &str) -> Result<Self, NoPasswordHash> {
        let hash = phc::PasswordHash::new(text).map_err(|_| NoPasswordHash)?;
        let params = Params::try_from(&hash).map_err(|_| NoPasswordHash)?;
        let is_whole = hash.salt.is_some() && hash.hash.is_some();
        let is_known = hash.algorithm == argon2::ARGON2ID_IDENT && hash.version == Some(19);
        let cost = params.m_cost().saturating_mul(params.t_cost());
        match is_whole && is_known && cost <= COST_MAX {
            true => Ok(Self(text.into())),
            false => Err(NoPasswordHash),
        }
    }
}

/// Without the hash, which could be tried against guesses.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn choose(text: &str) -> Result<Password, PasswordError> {
        let email = "philomena.abel@example.com".parse().unwrap();
        let tenant = "Acme Incorporated".parse().unwrap();
        Password::choose(text, &email, Some(&tenant))
    }

    #[test]
    fn a_password_is_long_and_not_easily_thought_of() {
        for (text, is) in [
            ("ein gutes Wort", Ok(())),
            ("            ", Ok(())),
            ("🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀", Ok(())),
            (&"x".repeat(128), Ok(())),
            (&"é".repeat(128), Ok(())),
            ("", Err(PasswordError::Length)),
            ("ein gutes W", Err(PasswordError::Length)),
            (&"é".repeat(11), Err(PasswordError::Length)),
            (&"x".repeat(129), Err(PasswordError::Length)),
            ("philomena.abel@example.com", Err(PasswordError::Address)),
            ("1philomena.abel@EXAMPLE.com1", Err(PasswordError::Address)),
            ("Philomena.Abel", Err(PasswordError::Address)),
            ("philomena.abel1", Ok(())),
            ("acme incorporated", Err(PasswordError::TenantName)),
            ("acme incorporated 1", Ok(())),
            ("weir is a good one", Err(PasswordError::Product)),
            ("WEIR-is-a-good-one", Err(PasswordError::Product)),
            ("a good one is weir", Ok(())),
            ("1q2w3e4r5t6y", Err(PasswordError::Common)),
            ("1Q2w3e4r5t6y", Err(PasswordError::Common)),
            ("Photosynthetic", Err(PasswordError::Common)),
            ("1q2w3e4r5t6y photosynthetic", Ok(())),
        ] {
            assert_eq!(choose(text).map(|_| ()), is, "{text}");
        }
    }

    #[test]
    fn a_short_local_part_may_stand_in_a_password() {
        let email = "a@b".parse().unwrap();
        assert!(Password::choose("what a good one", &email, None).is_ok());
        assert_eq!(
            Password::choose("what a@b good one", &email, None),
            Err(PasswordError::Address)
        );
    }

    #[test]
    fn the_list_is_sorted_and_has_what_could_be_chosen() {
        let all: Vec<&str> = COMMON.lines().collect();
        assert_eq!(all.len(), 4_203);
        assert!(all.is_sorted_by(|one, next| one < next));
        for common in all {
            assert_eq!(choose(common), Err(PasswordError::Common), "{common}");
            assert_eq!(common, common.to_lowercase());
        }
    }

    #[test]
    fn a_hash_is_that_of_one_password_and_one_salt() {
        let password = choose("Ein gutes Wort").unwrap();
        let hash = PasswordHash::new(&password, &[1; 16]);
        let text = hash.as_str();
        assert!(
            text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{text}"
        );
        assert!(hash.matches("Ein gutes Wort"));
        for other in ["ein gutes Wort", "Ein gutes Wort ", ""] {
            assert!(!hash.matches(other), "{other}");
        }
        assert_eq!(text.parse(), Ok(hash.clone()));
        assert_ne!(PasswordHash::new(&password, &[2; 16]), hash);
        assert_eq!(PasswordHash::renewed("Ein gutes Wort", &[1; 16]), hash);
        assert!(!hash.is_outdated());
        assert_eq!(format!("{hash:?} {password:?}"), "PasswordHash Password");
    }

    /// As Python's argon2-cffi makes it.
    #[test]
    fn a_hash_is_argon2id() {
        let text = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$X/YEnf6pnApYFQgUetfXyBqyl/gYDBDyvUJrIpU5Y9Y";
        let hash = PasswordHash::of("ein gutes Wort", b"0123456789abcdef", MEMORY, PASSES);
        assert_eq!(hash.as_str(), text);
    }

    #[test]
    fn a_hash_at_another_cost_is_renewed() {
        for (memory, passes) in [(64, 1), (MEMORY, PASSES + 1), (2 * MEMORY, PASSES)] {
            let old = PasswordHash::of("ein gutes Wort", &[1; 16], memory, passes);
            assert!(old.is_outdated(), "{memory} {passes}");
            assert!(old.matches("ein gutes Wort"));
            assert!(!old.matches("ein gutes Wort."));
        }
    }

    #[test]
    fn nobody_has_nobodys_hash() {
        let hash = PasswordHash::nobodys();
        assert_eq!(hash.as_str().parse(), Ok(hash.clone()));
        assert!(!hash.is_outdated());
        assert!(!hash.matches("") && !hash.matches("ein gutes Wort"));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let good = PasswordHash::nobodys();
        let good = good.as_str();
        let (head, output) = good.rsplit_once('$').unwrap();
        for text in [
            "",
            "ein gutes Wort",
            "$argon2id$",
            head,
            head.rsplit_once('$').unwrap().0,
            &good.replace("argon2id", "argon2i"),
            &good.replace("argon2id", "scrypt"),
            &good.replace("v=19$", ""),
            &good.replace("v=19", "v=16"),
            &good.replace("m=19456", "m=4194304"),
            &good.replace("t=2", "t=4000000000"),
            &good.replace("p=1", "p=0"),
            &good.replace(output, "A!"),
        ] {
            assert_eq!(text.parse::<PasswordHash>(), Err(NoPasswordHash), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_error_never_tells_the_password(text in r"\PC{1,11}") {
            let error = choose(&text).unwrap_err();
            prop_assert_eq!(error.to_string(), "12 to 128 characters");
            prop_assert_eq!(format!("{error:?}"), "Length");
        }

        #[test]
        fn no_text_is_a_panic(text: String) {
            let _ = text.parse::<PasswordHash>();
        }
    }
}
