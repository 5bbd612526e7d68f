//! Sessions of people, which every node accepts and none keeps: what is known of one is in its cookie.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::derive::derive;
use crate::{SessionId, UnixSecs, User, UserId};

/// What a signed text begins with. Another way of writing it has another number.
const VERSION: &str = "v1";

/// Seconds after which a session is signed again, so that not every answer sets a cookie: 5 min, the shortest idle time.
const SEEN_AGAIN: u64 = 5 * 60;

/// Most seconds that any cluster lets a session live: 90 days.
const LONGEST: u64 = 90 * 24 * 60 * 60;

/// The keys with which the nodes of a cluster sign what they give to browsers, derived from the cookie of the cluster.
pub struct SessionKeys {
    session: Hmac<Sha256>,
    session_form: Hmac<Sha256>,
    visitor_form: Hmac<Sha256>,
    device: Hmac<Sha256>,
}

impl SessionKeys {
    /// Those of the cluster with this cookie, all bytes of it.
    #[must_use]
    pub fn derive(cookie: &[u8]) -> Self {
        let key = |label| {
            let key: [u8; 32] = derive(cookie, label);
            Hmac::new_from_slice(&key).expect("HMAC takes keys of any length")
        };
        Self {
            session: key("weir session 1"),
            session_form: key("weir session form 1"),
            visitor_form: key("weir visitor form 1"),
            device: key("weir device 1"),
        }
    }

    /// What the browser of a session brings: `v1.` payload `.` mac, 114 characters of `0-9A-Za-z._-`.
    #[must_use]
    pub fn sign(&self, session: &Session) -> String {
        seal(&self.session, &session.to_bytes())
    }

    /// The session that a browser brings. `None`: no node of this cluster has signed it. Whether it is [valid](Session::check)
    /// is another question.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<Session> {
        open(&self.session, text).map(Session::of_bytes)
    }

    /// What a form, or a request that changes something, must bring beside the cookie of this session.
    #[must_use]
    pub fn form_token(&self, session: &Session) -> FormToken {
        FormToken(mac(&self.session_form, &session.random))
    }

    /// What a form must bring beside the cookie of somebody who has not logged in.
    #[must_use]
    pub fn visitor_form_token(&self, visitor: &Visitor) -> FormToken {
        FormToken(mac(&self.visitor_form, &visitor.0))
    }

    /// What a browser that has logged in brings from then on: 93 characters, written as [a session](Self::sign) is.
    #[must_use]
    pub fn sign_device(&self, device: &Device) -> String {
        seal(&self.device, &device.to_bytes())
    }

    /// The device that a browser brings. `None`: no node of this cluster has signed it.
    #[must_use]
    pub fn read_device(&self, text: &str) -> Option<Device> {
        open(&self.device, text).map(Device::of_bytes)
    }
}

/// Without the secrets.
impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKeys")
    }
}

fn mac(key: &Hmac<Sha256>, of: &[u8]) -> [u8; 32] {
    let mut mac = key.clone();
    mac.update(of);
    mac.finalize().into_bytes().into()
}

/// A payload, signed: `v1.` payload `.` mac of all before its dot.
fn seal(key: &Hmac<Sha256>, payload: &[u8]) -> String {
    let text = format!("{VERSION}.{}", BASE64.encode(payload));
    let mac = BASE64.encode(mac(key, text.as_bytes()));
    format!("{text}.{mac}")
}

/// The payload of a text that this key has signed.
fn open<const N: usize>(key: &Hmac<Sha256>, text: &str) -> Option<[u8; N]> {
    let (text, brought) = text.rsplit_once('.')?;
    let brought = BASE64.decode(brought).ok()?;
    let mut mac = key.clone();
    mac.update(text.as_bytes());
    mac.verify_slice(&brought).ok()?;
    let payload = text.strip_prefix(VERSION)?.strip_prefix('.')?;
    BASE64.decode(payload).ok()?.try_into().ok()
}

/// Takes the next bytes of a payload, which has as many as it needs.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (bytes, after) = rest.split_first_chunk().expect("a payload is whole");
    *rest = after;
    *bytes
}

/// Somebody who has logged in, with one browser.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    random: [u8; 16],
    user: UserId,
    epoch: u64,
    issued_at: UnixSecs,
    seen_at: UnixSecs,
}

/// How long sessions live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionSpans {
    /// Seconds that one lives in which nobody uses it.
    pub idle: u64,
    /// Seconds that one lives in any case: at most 90 days.
    pub max: u64,
}

/// Those of a file that does not say: 12 hours idle, 30 days in any case.
impl Default for SessionSpans {
    fn default() -> Self {
        Self {
            idle: 12 * 60 * 60,
            max: 30 * 24 * 60 * 60,
        }
    }
}

/// Why a session is not valid. Whoever brings it is told the same of all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SessionError {
    /// The user may not log in.
    #[error("its user is disabled")]
    Disabled,
    /// All sessions of the user were ended since it was made.
    #[error("all sessions of its user were ended")]
    Epoch,
    /// It was ended.
    #[error("it was ended")]
    Ended,
    /// It has lived for as long as any may.
    #[error("it is too old")]
    Old,
    /// It was not used for too long.
    #[error("it was not used for too long")]
    Idle,
}

impl Session {
    /// Bytes of a payload: 128 random bits, user, epoch, issued, seen.
    const BYTES: usize = 16 + 10 + 8 + 8 + 8;

    /// A new one of this user, of random bytes: with every login and every change of the password.
    #[must_use]
    pub fn new(now: UnixSecs, id: UserId, user: &User, random: [u8; 16]) -> Self {
        Self {
            random,
            user: id,
            epoch: user.epoch,
            issued_at: now,
            seen_at: now,
        }
    }

    /// What it is called. No secret: it has 80 of its 128 random bits, and nobody can sign it.
    #[must_use]
    pub fn id(&self) -> SessionId {
        let (id, _) = self.random.split_first_chunk().expect("16 bytes have 10");
        SessionId::new(*id)
    }

    /// Whose it is.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The epoch of its user in which it was made.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When it was made.
    #[must_use]
    pub const fn issued_at(&self) -> UnixSecs {
        self.issued_at
    }

    /// When it was last used, to about 5 minutes.
    #[must_use]
    pub const fn seen_at(&self) -> UnixSecs {
        self.seen_at
    }

    /// From when on it is not valid if nobody uses it.
    #[must_use]
    pub fn expires_at(&self, spans: SessionSpans) -> UnixSecs {
        (self.issued_at + spans.max).min(self.seen_at + spans.idle)
    }

    /// Whether it may be used now, which `user` is its [user](Self::user), and `ended` whether it is among the ended ones.
    ///
    /// # Errors
    ///
    /// [`SessionError`], of several that hold the first in its order.
    pub fn check(
        &self,
        now: UnixSecs,
        spans: SessionSpans,
        user: &User,
        ended: bool,
    ) -> Result<(), SessionError> {
        if user.is_disabled {
            return Err(SessionError::Disabled);
        }
        if self.epoch != user.epoch {
            return Err(SessionError::Epoch);
        }
        if ended {
            return Err(SessionError::Ended);
        }
        // Another node's clock may run ahead of this one's: what is from the future is from now.
        if spans.max <= now.since(self.issued_at) {
            return Err(SessionError::Old);
        }
        if spans.idle <= now.since(self.seen_at) {
            return Err(SessionError::Idle);
        }
        Ok(())
    }

    /// The same, used now, to be signed again. `None`: it was used less than 5 minutes ago, and stays as it is.
    #[must_use]
    pub fn seen(&self, now: UnixSecs) -> Option<Self> {
        (SEEN_AGAIN < now.since(self.seen_at)).then(|| Self {
            seen_at: now,
            ..self.clone()
        })
    }

    /// What is kept once it is ended.
    #[must_use]
    pub fn ended(&self) -> EndedSession {
        EndedSession::of(self.issued_at)
    }

    fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.extend(self.random);
        bytes.extend(self.user.to_bytes());
        bytes.extend(self.epoch.to_be_bytes());
        bytes.extend(self.issued_at.get().to_be_bytes());
        bytes.extend(self.seen_at.get().to_be_bytes());
        bytes.try_into().expect("so many were written")
    }

    fn of_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let mut rest = &bytes[..];
        Self {
            random: take(&mut rest),
            user: UserId::new(take(&mut rest)),
            epoch: u64::from_be_bytes(take(&mut rest)),
            issued_at: UnixSecs::new(u64::from_be_bytes(take(&mut rest))),
            seen_at: UnixSecs::new(u64::from_be_bytes(take(&mut rest))),
        }
    }
}

/// By its id.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id())
            .field("user", &self.user)
            .field("epoch", &self.epoch)
            .field("issued_at", &self.issued_at)
            .field("seen_at", &self.seen_at)
            .finish_non_exhaustive()
    }
}

/// That a session was ended. While there is one, its session is not valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndedSession {
    /// From then on the session is too old in any case, also if the file lets sessions live longer by then.
    pub remember_until: UnixSecs,
}

impl EndedSession {
    /// That of a session which was made then.
    pub(crate) fn of(made_at: UnixSecs) -> Self {
        Self {
            remember_until: made_at + LONGEST,
        }
    }

    /// What two versions say together: it is remembered for the longer time.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        Self {
            remember_until: self.remember_until.max(other.remember_until),
        }
    }
}

/// What a form or a request must bring beside a cookie, since pages of others can send the cookie and cannot read this: 256
/// bits.
#[derive(Clone)]
pub struct FormToken([u8; 32]);

impl FormToken {
    /// All of it: 43 characters of `0-9A-Za-z_-`, for the page of whoever has the cookie.
    #[must_use]
    pub fn reveal(&self) -> String {
        BASE64.encode(self.0)
    }

    /// Whether `text` is this token, in a time that does not tell how much of it is right.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.reveal().as_bytes().ct_eq(text.as_bytes()).into()
    }
}

/// Without the secret.
impl fmt::Debug for FormToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FormToken")
    }
}

/// A browser whose user has not logged in: the forms for login and sign-up are bound to it, so that nobody can be logged in
/// as somebody else by a page of others.
#[derive(Clone, PartialEq, Eq)]
pub struct Visitor([u8; 16]);

impl Visitor {
    /// A new one, of random bytes.
    #[must_use]
    pub const fn draw(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// Reads one. `None`: it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let random = BASE64.decode(text).ok()?;
        random.try_into().ok().map(Self)
    }

    /// All of it, for its browser: 22 characters of `0-9A-Za-z_-`.
    #[must_use]
    pub fn reveal(&self) -> String {
        BASE64.encode(self.0)
    }
}

/// Without the secret.
impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Visitor")
    }
}

/// A browser with which a user has logged in before: wrong passwords from it are counted apart from those of strangers, who
/// so cannot lock the user out.
#[derive(Clone, PartialEq, Eq)]
pub struct Device {
    random: [u8; 16],
    user: UserId,
    generation: u64,
}

impl Device {
    /// Bytes of a payload: 128 random bits, user, generation.
    const BYTES: usize = 16 + 10 + 8;

    /// A new one of this user, of random bytes.
    #[must_use]
    pub const fn new(id: UserId, user: &User, random: [u8; 16]) -> Self {
        Self {
            random,
            user: id,
            generation: user.device_generation,
        }
    }

    /// What it is counted by: its random bits. Nobody can sign it.
    #[must_use]
    pub const fn to_count(&self) -> [u8; 16] {
        self.random
    }

    /// Whether this user has logged in with it and has not had devices forgotten since.
    #[must_use]
    pub fn is_known(&self, id: UserId, user: &User) -> bool {
        self.user == id && self.generation == user.device_generation
    }

    fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.extend(self.random);
        bytes.extend(self.user.to_bytes());
        bytes.extend(self.generation.to_be_bytes());
        bytes.try_into().expect("so many were written")
    }

    fn of_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let mut rest = &bytes[..];
        Self {
            random: take(&mut rest),
            user: UserId::new(take(&mut rest)),
            generation: u64::from_be_bytes(take(&mut rest)),
        }
    }
}

/// By its user.
impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("user", &self.user)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(secs: u64) -> UnixSecs {
        UnixSecs::new(secs)
    }

    fn user() -> User {
        User::new(at(1), "a@b".parse().unwrap())
    }

    const ID: UserId = UserId::new([7; 10]);

    fn sessions() -> impl Strategy<Value = Session> {
        (
            any::<[u8; 16]>(),
            any::<[u8; 10]>(),
            any::<u64>(),
            any::<[u64; 2]>(),
        )
            .prop_map(|(random, user, epoch, [issued_at, seen_at])| Session {
                random,
                user: UserId::new(user),
                epoch,
                issued_at: at(issued_at),
                seen_at: at(seen_at),
            })
    }

    proptest! {
        #[test]
        fn a_session_is_read_as_it_is_signed(session in sessions()) {
            let text = SessionKeys::derive(b"cookie").sign(&session);
            prop_assert_eq!(text.len(), 114);
            prop_assert_eq!(SessionKeys::derive(b"cookie").read(&text), Some(session.clone()));
            prop_assert_eq!(SessionKeys::derive(b"another").read(&text), None);
            prop_assert_eq!(SessionKeys::derive(b"cookie").read_device(&text), None);
        }

        /// One character that is another, anywhere.
        #[test]
        fn a_session_that_was_altered_is_none(session in sessions(), place: prop::sample::Index, other in "[0-9A-Za-z._-]") {
            let keys = SessionKeys::derive(b"cookie");
            let mut text = keys.sign(&session);
            let at = place.index(text.len());
            prop_assume!(text[at..=at] != other);
            text.replace_range(at..=at, &other);
            prop_assert_eq!(keys.read(&text), None);
        }

        #[test]
        fn no_text_is_a_panic(text: String) {
            let keys = SessionKeys::derive(b"cookie");
            prop_assert_eq!(keys.read(&text), None);
            prop_assert_eq!(keys.read_device(&text), None);
            let _ = Visitor::parse(&text);
        }

        #[test]
        fn a_device_is_read_as_it_is_signed(random: [u8; 16], of: [u8; 10], generation: u64) {
            let mut user = user();
            user.device_generation = generation;
            let id = UserId::new(of);
            let device = Device::new(id, &user, random);
            let keys = SessionKeys::derive(b"cookie");
            let text = keys.sign_device(&device);
            prop_assert_eq!(text.len(), 93);
            prop_assert_eq!(keys.read_device(&text), Some(device.clone()));
            prop_assert_eq!(keys.read(&text), None);
            prop_assert_eq!(SessionKeys::derive(b"another").read_device(&text), None);
            prop_assert!(device.is_known(id, &user));
            user.device_generation = generation.wrapping_add(1);
            prop_assert!(!device.is_known(id, &user));
        }

        #[test]
        fn a_form_belongs_to_one_browser(one: [u8; 16], other: [u8; 16]) {
            prop_assume!(one != other);
            let keys = SessionKeys::derive(b"cookie");
            let [one, other] = [one, other].map(|random| Session::new(at(1), ID, &user(), random));
            let token = keys.form_token(&one);
            let text = token.reveal();
            prop_assert_eq!(text.len(), 43);
            prop_assert!(token.matches(&text));
            prop_assert!(keys.form_token(&one.seen(at(1_000)).unwrap()).matches(&text));
            prop_assert!(!keys.form_token(&other).matches(&text));
            prop_assert!(!token.matches(&text[1..]));
            prop_assert!(!token.matches(""));
            prop_assert!(!SessionKeys::derive(b"another").form_token(&one).matches(&text));

            let visitor = Visitor::draw(one.random);
            prop_assert_eq!(Visitor::parse(&visitor.reveal()), Some(visitor.clone()));
            let token = keys.visitor_form_token(&visitor);
            prop_assert!(token.matches(&token.reveal()));
            prop_assert!(!token.matches(&text));
        }

        /// It is valid exactly until it expires, whatever was set.
        #[test]
        fn a_session_is_valid_until_it_expires(issued in 0..50_u64, seen in 0..50_u64, idle in 1..50_u64, max in 1..50_u64, now in 0..100_u64) {
            let session = Session { issued_at: at(issued), seen_at: at(issued + seen), ..Session::new(at(0), ID, &user(), [0; 16]) };
            let spans = SessionSpans { idle, max };
            let is_valid = session.check(at(now), spans, &user(), false).is_ok();
            prop_assert_eq!(is_valid, at(now) < session.expires_at(spans));
        }

        #[test]
        fn versions_of_an_end_meet_in_any_order(ends: [u64; 3]) {
            let [a, b, c] = ends.map(|until| EndedSession { remember_until: at(until) });
            prop_assert_eq!(a.meet(&b), b.meet(&a));
            prop_assert_eq!(a.meet(&b).meet(&c), a.meet(&b.meet(&c)));
            prop_assert_eq!(a.meet(&a), a);
            prop_assert!(a.remember_until <= a.meet(&b).remember_until);
        }
    }

    #[test]
    fn what_is_not_signed_whole_is_none() {
        let keys = SessionKeys::derive(b"cookie");
        let session = Session::new(at(1), ID, &user(), [1; 16]);
        let text = keys.sign(&session);
        let (payload, mac) = text.rsplit_once('.').unwrap();
        let signed = |text: &str| {
            let mac = BASE64.encode(super::mac(&keys.session, text.as_bytes()));
            format!("{text}.{mac}")
        };
        assert_eq!(keys.read(&signed(payload)), Some(session));
        for text in [
            "",
            ".",
            "..",
            payload,
            mac,
            &format!("{payload}."),
            &format!("{payload}.{}", &mac[..42]),
            &format!("{text}A"),
            &format!(" {text}"),
            // Signed with the key, of another form.
            &signed(&payload.replacen("v1", "v2", 1)),
            &signed(&payload.replacen("v1.", "v1", 1)),
            &signed("v1."),
            &signed(&payload[..payload.len() - 4]),
            &signed(&format!("{payload}AAAA")),
            &signed("v1.!"),
        ] {
            assert_eq!(keys.read(text), None, "{text}");
        }
    }

    #[test]
    fn what_ends_a_session_is_told_apart() {
        let session = Session::new(at(1_000), ID, &user(), [1; 16]);
        let (spans, now) = (SessionSpans::default(), at(2_000));
        let check = |now, user: &User, ended| session.check(now, spans, user, ended);
        assert_eq!(check(now, &user(), false), Ok(()));
        assert_eq!(check(at(0), &user(), false), Ok(()));
        assert_eq!(check(now, &user(), true), Err(SessionError::Ended));
        let mut disabled = user();
        disabled.is_disabled = true;
        assert_eq!(check(now, &disabled, false), Err(SessionError::Disabled));
        let mut later = user();
        later.end_sessions();
        assert_eq!(check(now, &later, false), Err(SessionError::Epoch));
        let idle = at(1_000) + 12 * 60 * 60;
        assert_eq!(check(idle, &user(), false), Err(SessionError::Idle));
        let old = at(1_000) + 30 * 24 * 60 * 60;
        assert_eq!(check(old, &user(), false), Err(SessionError::Old));
    }

    #[test]
    fn a_session_is_signed_again_after_five_minutes() {
        let session = Session::new(at(1_000), ID, &user(), [1; 16]);
        assert_eq!(session.seen(at(1_300)), None);
        assert_eq!(session.seen(at(0)), None);
        let seen = session.seen(at(1_301)).unwrap();
        assert_eq!(
            (seen.issued_at(), seen.seen_at(), seen.id(), seen.user()),
            (at(1_000), at(1_301), session.id(), ID)
        );
        assert_eq!(seen.ended(), session.ended());
        assert_eq!(seen.ended().remember_until, at(1_000) + LONGEST);
    }

    #[test]
    fn nothing_that_proves_anything_is_shown() {
        let keys = SessionKeys::derive(b"cookie");
        let session = Session::new(at(1), ID, &user(), [0xab; 16]);
        let shown = format!(
            "{keys:?} {session:?} {:?} {:?} {:?}",
            keys.form_token(&session),
            Visitor::draw([0xab; 16]),
            Device::new(ID, &user(), [0xab; 16])
        );
        let id = session.id();
        assert_eq!(
            shown,
            format!(
                "SessionKeys Session {{ id: {id}, user: {ID}, epoch: 0, issued_at: UnixSecs(1), seen_at: UnixSecs(1), .. }} \
                 FormToken Visitor Device {{ user: {ID}, generation: 0, .. }}"
            )
        );
    }
}
