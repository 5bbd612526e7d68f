//! API keys: the credential that a client brings, and what is kept of it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::time::earlier;
use crate::{Dated, Scopes, TenantId, UnixSecs};

/// What every credential begins with. Underscores: a double click selects all of it.
const PREFIX: &str = "weir_key_";
const ID_LENGTH: usize = 12;
const SECRET_LENGTH: usize = 32;
const CHECK_LENGTH: usize = 6;

/// Bytes of a credential.
const LENGTH: usize = PREFIX.len() + ID_LENGTH + SECRET_LENGTH + CHECK_LENGTH;

const SYMBOLS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random bytes that a credential is drawn from.
pub(crate) const RANDOM_BYTES: usize = 2 * (ID_LENGTH + SECRET_LENGTH);

/// Symbols of `0-9A-Za-z` for random bytes: 16 bits for each, so that none is likelier than another by more than a thousandth.
pub(crate) fn spell(random: &[u8], symbols: &mut [u8]) {
    let (pairs, _) = random.as_chunks::<2>();
    for (symbol, pair) in symbols.iter_mut().zip(pairs) {
        let scaled = u32::from(u16::from_le_bytes(*pair)) * SYMBOLS.len() as u32;
        *symbol = SYMBOLS[(scaled >> 16) as usize];
    }
}

/// Names an API key. No secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKeyId([u8; ID_LENGTH]);

impl ApiKeyId {
    /// What every one begins with, as it is told.
    pub const PREFIX: &str = "key_";

    /// Its symbols, without the prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("symbols are ASCII")
    }
}

impl fmt::Display for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, self.as_str())
    }
}

impl fmt::Debug for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not the id of an API key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an id such as key_3fK9mQ2bXw7L")]
pub struct NoApiKeyId;

impl FromStr for ApiKeyId {
    type Err = NoApiKeyId;

    fn from_str(text: &str) -> Result<Self, NoApiKeyId> {
        let symbols = text.strip_prefix(Self::PREFIX).ok_or(NoApiKeyId)?;
        let symbols: [u8; ID_LENGTH] = symbols.as_bytes().try_into().map_err(|_| NoApiKeyId)?;
        match symbols.iter().all(u8::is_ascii_alphanumeric) {
            true => Ok(Self(symbols)),
            false => Err(NoApiKeyId),
        }
    }
}

/// The credential of an API key, as a client brings it: `weir_key_`, the id, the secret and a check of what stands before it.
///
/// ```
/// # use accounts::Credential;
/// let text = "weir_key_3fK9mQ2bXw7L8hTq0sVfYcRzE1uGnAaB6dJkP4iWoN5v1wtbid";
/// let credential = Credential::parse(text).unwrap();
/// assert_eq!(credential.id().to_string(), "key_3fK9mQ2bXw7L");
/// assert_eq!(credential.hint().to_string(), "weir_key_3fK9…tbid");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    id: ApiKeyId,
    secret: [u8; SECRET_LENGTH],
}

impl Credential {
    /// A new one, of random bytes: 71 bits name it and 190 are its secret.
    #[must_use]
    pub fn draw(random: &[u8; 88]) -> Self {
        const { assert!(RANDOM_BYTES == 88) };
        let mut symbols = [0; ID_LENGTH + SECRET_LENGTH];
        spell(random, &mut symbols);
        let (id, secret) = symbols.split_at(ID_LENGTH);
        Self {
            id: ApiKeyId(id.try_into().expect("it was split there")),
            secret: secret.try_into().expect("it was split there"),
        }
    }

    /// Reads one. `None`: it is none, or has been mistyped, as its check tells.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: &[u8; LENGTH] = text.as_bytes().try_into().ok()?;
        let symbols = bytes.strip_prefix(PREFIX.as_bytes())?;
        if !symbols.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        let (id, rest) = symbols.split_first_chunk()?;
        let (secret, check) = rest.split_first_chunk()?;
        let credential = Self {
            id: ApiKeyId(*id),
            secret: *secret,
        };
        (credential.check() == check).then_some(credential)
    }

    /// Which API key it is of.
    #[must_use]
    pub const fn id(&self) -> ApiKeyId {
        self.id
    }

    /// What is kept of its secret. The secret has enough random bits for a fast hash.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.secret)
    }

    /// What is shown of it later.
    #[must_use]
    pub fn hint(&self) -> Hint {
        let check = self.check();
        Hint {
            first: *self.id.0.first_chunk().expect("an id has 12 symbols"),
            last: *check.last_chunk().expect("a check has 6 symbols"),
        }
    }

    /// All of it: to be shown once, to whoever made it.
    #[must_use]
    pub fn reveal(&self) -> String {
        let mut text = self.without_check();
        text.extend(self.check().map(char::from));
        text
    }

    fn without_check(&self) -> String {
        let mut text = String::with_capacity(LENGTH);
        text.push_str(PREFIX);
        text.push_str(self.id.as_str());
        text.extend(self.secret.map(char::from));
        text
    }

    /// CRC-32 (IEEE) of all before it, in base 62.
    fn check(&self) -> [u8; CHECK_LENGTH] {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(PREFIX.as_bytes());
        hasher.update(&self.id.0);
        hasher.update(&self.secret);
        let mut rest = hasher.finalize() as usize;
        let mut check = [0; CHECK_LENGTH];
        for symbol in check.iter_mut().rev() {
            *symbol = SYMBOLS[rest % SYMBOLS.len()];
            rest /= SYMBOLS.len();
        }
        check
    }
}

/// Without the secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credential").field(&self.id).finish()
    }
}

/// SHA-256 of a secret that has enough random bits for a fast hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// That of a secret.
    pub(crate) fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// As it was kept.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// To be kept.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Whether they are the same, in a time that does not tell how much of them is.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash")
    }
}

/// The ends of a credential, by which people tell theirs apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Hint {
    first: [u8; 4],
    last: [u8; 4],
}

impl Hint {
    /// As it was kept. `None`: there are no such symbols in a credential.
    #[must_use]
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        let (first, last) = bytes.split_first_chunk()?;
        let hint = Self {
            first: *first,
            last: last.try_into().ok()?,
        };
        bytes.iter().all(u8::is_ascii_alphanumeric).then_some(hint)
    }

    /// To be kept.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.first);
        bytes[4..].copy_from_slice(&self.last);
        bytes
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |symbols| std::str::from_utf8(symbols).expect("symbols are ASCII");
        let (first, last) = (text(&self.first), text(&self.last));
        write!(f, "{PREFIX}{first}…{last}")
    }
}

/// What is known of an API key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiKey {
    /// Whose it is. Never changes.
    pub tenant: TenantId,
    /// Of its secret. Never changes.
    pub secret: SecretHash,
    /// What is shown of its credential. Never changes.
    pub hint: Hint,
    /// What people call it: 1 to 64 printable characters.
    pub name: Dated<Arc<str>>,
    /// What it may do. Only ever becomes less.
    pub scopes: Scopes,
    /// Who made it: `operator`, or the id of an API key or a user. Never changes.
    pub made_by: Arc<str>,
    /// When. Never changes.
    pub made_at: UnixSecs,
    /// Nobody may use it from then on. Only ever becomes earlier.
    pub expires_at: Option<UnixSecs>,
    /// It was revoked then.
    pub revoked_at: Option<UnixSecs>,
    /// The one that it was made in place of. Never changes.
    pub replaces: Option<ApiKeyId>,
    /// The one that was made in its place.
    pub replaced_by: Option<ApiKeyId>,
    /// The minute in which it was used last, as far as nodes have told. Grants nothing.
    pub last_used_at: Option<UnixSecs>,
}

/// Whether an API key may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApiKeyState {
    /// It may.
    Valid,
    /// Not since then.
    Revoked(UnixSecs),
    /// Not since then.
    Expired(UnixSecs),
}

impl ApiKey {
    /// Most characters of a name.
    pub const NAME_MAX: usize = 64;

    /// Whether this may be its name.
    #[must_use]
    pub fn may_be_called(name: &str) -> bool {
        (1..=Self::NAME_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control)
    }

    /// Whether it may be used now.
    #[must_use]
    pub fn state(&self, now: UnixSecs) -> ApiKeyState {
        match (self.revoked_at, self.expires_at) {
            (Some(at), _) => ApiKeyState::Revoked(at),
            (None, Some(at)) if at <= now => ApiKeyState::Expired(at),
            (None, _) => ApiKeyState::Valid,
        }
    }

    /// What two versions say together: whatever either forbids is forbidden. What never changes is the same in both.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        Self {
            tenant: self.tenant.min(other.tenant),
            secret: self.secret.min(other.secret),
            hint: self.hint.min(other.hint),
            name: self.name.newer(&other.name),
            scopes: self.scopes.meet(other.scopes),
            made_by: self.made_by.clone().min(other.made_by.clone()),
            made_at: self.made_at.min(other.made_at),
            expires_at: earlier(self.expires_at, other.expires_at),
            revoked_at: earlier(self.revoked_at, other.revoked_at),
            replaces: self.replaces.max(other.replaces),
            replaced_by: self.replaced_by.max(other.replaced_by),
            last_used_at: self.last_used_at.max(other.last_used_at),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Versions of one API key.
    pub(crate) fn versions() -> impl Strategy<Value = ApiKey> {
        let at = || (0..4_u64).prop_map(UnixSecs::new);
        let some = || prop::option::of(at());
        let id = || prop::option::of((b'a'..=b'c').prop_map(|symbol| ApiKeyId([symbol; 12])));
        (0..3_u64, "[ab]", any::<u8>(), some(), some(), id(), some()).prop_map(
            |(named_at, name, scopes, expires_at, revoked_at, replaced_by, last_used_at)| ApiKey {
                tenant: TenantId::new([1; 10]),
                secret: SecretHash([2; 32]),
                hint: Hint::new(*b"3fK9tbid").unwrap(),
                name: Dated::new(UnixSecs::new(named_at), name.into()),
                scopes: Scopes::of_bits(scopes),
                made_by: "operator".into(),
                made_at: UnixSecs::new(1),
                expires_at,
                revoked_at,
                replaces: None,
                replaced_by,
                last_used_at,
            },
        )
    }

    /// Whether whatever `one` may, `other` may too, at every time.
    fn grants_no_more(one: &ApiKey, other: &ApiKey) -> bool {
        let may = |key: &ApiKey, now| match key.state(UnixSecs::new(now)) {
            ApiKeyState::Valid => key.scopes,
            _ => Scopes::NONE,
        };
        (0..6).all(|now| may(one, now).are_within(may(other, now)))
    }

    proptest! {
        #[test]
        fn versions_meet_in_any_order(a in versions(), b in versions(), c in versions()) {
            prop_assert_eq!(a.meet(&b), b.meet(&a));
            prop_assert_eq!(a.meet(&b).meet(&c), a.meet(&b.meet(&c)));
            prop_assert_eq!(a.meet(&a), a.clone());
            prop_assert!(grants_no_more(&a.meet(&b), &a));
        }

        #[test]
        fn a_credential_is_read_as_it_is_told(random: [u8; 88]) {
            let credential = Credential::draw(&random);
            let text = credential.reveal();
            prop_assert_eq!(text.len(), 59);
            prop_assert_eq!(Credential::parse(&text), Some(credential.clone()));
            let shown = format!("{credential:?}");
            prop_assert!(!shown.contains(&text[21..53]), "{}", shown);
        }

        /// One character that was mistyped, anywhere.
        #[test]
        fn a_credential_with_another_character_is_none(random: [u8; 88], at in 0..59_usize, other in "[0-9A-Za-z]") {
            let credential = Credential::draw(&random);
            let mut text = credential.reveal();
            prop_assume!(text[at..=at] != other);
            text.replace_range(at..=at, &other);
            prop_assert_eq!(Credential::parse(&text), None);
        }
    }

    const TEXT: &str = "weir_key_3fK9mQ2bXw7L8hTq0sVfYcRzE1uGnAaB6dJkP4iWoN5v1wtbid";

    #[test]
    fn the_check_is_that_of_the_specification() {
        let credential = Credential::parse(TEXT).unwrap();
        assert_eq!(credential.reveal(), TEXT);
        assert_eq!(credential.id().as_str(), "3fK9mQ2bXw7L");
        for text in [
            "",
            "weir_key_",
            &TEXT[..58],
            &format!("{TEXT}0"),
            &TEXT.replace('_', "-"),
        ] {
            assert_eq!(Credential::parse(text), None, "{text}");
        }
        let wide = format!("{}é", &TEXT[..57]);
        assert_eq!((wide.len(), Credential::parse(&wide)), (59, None));
    }

    #[test]
    fn only_the_same_secret_has_the_hash() {
        let [one, other] = [[1; 88], [200; 88]].map(|random| Credential::draw(&random));
        assert!(one.hash().matches(&one.hash()));
        assert!(!one.hash().matches(&other.hash()));
        assert_eq!(SecretHash::new(one.hash().to_bytes()), one.hash());
        assert_eq!(format!("{:?}", one.hash()), "SecretHash");
    }

    #[test]
    fn what_was_revoked_stays_so_whenever_it_would_expire() {
        let at = UnixSecs::new;
        let mut key = versions()
            .new_tree(&mut Default::default())
            .unwrap()
            .current();
        (key.expires_at, key.revoked_at) = (Some(at(10)), None);
        assert_eq!(key.state(at(9)), ApiKeyState::Valid);
        assert_eq!(key.state(at(10)), ApiKeyState::Expired(at(10)));
        key.revoked_at = Some(at(3));
        assert_eq!(key.state(at(20)), ApiKeyState::Revoked(at(3)));
    }

    #[test]
    fn a_name_is_up_to_64_characters_of_text() {
        for (name, may) in [
            ("edge", true),
            (&"é".repeat(64), true),
            ("", false),
            ("a\nb", false),
            (&"a".repeat(65), false),
        ] {
            assert_eq!(ApiKey::may_be_called(name), may, "{name}");
        }
    }

    #[test]
    fn an_id_is_read_as_it_is_told() {
        let id: ApiKeyId = "key_3fK9mQ2bXw7L".parse().unwrap();
        assert_eq!(id.to_string(), "key_3fK9mQ2bXw7L");
        for text in [
            "",
            "key_",
            "key_3fK9mQ2bXw7",
            "key_3fK9mQ2bXw7L0",
            "key_3fK9mQ2bXw7-",
            "tn_3fK9mQ2bXw7L",
        ] {
            assert_eq!(text.parse::<ApiKeyId>(), Err(NoApiKeyId), "{text}");
        }
        assert!(Hint::new(*b"3fK9tb-d").is_none());
    }

    use proptest::strategy::ValueTree as _;
}
