//! What is known of a person.

use crate::{Dated, Email, Link, PasswordHash, ResetToken, SecretHash, UnixSecs};

/// Whether somebody can set a new password by a link. Of two that were set in the same second the one that grants less stays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ResetLink {
    /// Whoever has the token can, until it expires.
    Open(Link),
    /// Nobody can: it was used, or none was made.
    Closed,
}

/// What is known of a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The address that the user registered. Who has the address is what its [claim](crate::EmailClaim) says: after a split
    /// two users may name one.
    pub email: Dated<Email>,
    /// Of the password. `None`: it has not been set yet, and a link is the only way in.
    pub password: Dated<Option<PasswordHash>>,
    /// Of the recovery code. `None`: there is none yet.
    pub recovery: Dated<Option<SecretHash>>,
    /// By which a new password can be set.
    pub reset: Dated<ResetLink>,
    /// Sessions of another epoch are not valid. Only ever becomes more.
    pub epoch: u64,
    /// Browsers that logged in under another one are strangers. Only ever becomes more.
    pub device_generation: u64,
    /// Nobody may log in as this user.
    pub is_disabled: bool,
    /// When the user was made. Never changes.
    pub made_at: UnixSecs,
}

impl User {
    /// A new one, without a password.
    #[must_use]
    pub const fn new(now: UnixSecs, email: Email) -> Self {
        Self {
            email: Dated::new(now, email),
            password: Dated::new(now, None),
            recovery: Dated::new(now, None),
            reset: Dated::new(now, ResetLink::Closed),
            epoch: 0,
            device_generation: 0,
            is_disabled: false,
            made_at: now,
        }
    }

    /// Whether what was typed logs in. `None`: nobody has the address; it takes as long to find out, as it does for who has no
    /// password or is disabled.
    ///
    /// Hashes: see [`PasswordHash`] for what it costs.
    #[must_use]
    pub fn logs_in(user: Option<&Self>, typed: &str) -> bool {
        let hash = user.and_then(|user| user.password.get().clone());
        let matches = hash.unwrap_or_else(PasswordHash::nobodys).matches(typed);
        matches && user.is_some_and(|user| !user.is_disabled)
    }

    /// Sets the password: all sessions end, and no link sets another one.
    pub fn set_password(&mut self, now: UnixSecs, hash: PasswordHash) {
        self.password.set(now, Some(hash));
        self.reset.set(now, ResetLink::Closed);
        self.end_sessions();
    }

    /// Ends all sessions.
    pub const fn end_sessions(&mut self) {
        self.epoch = self.epoch.saturating_add(1);
    }

    /// Makes strangers of all browsers that have logged in.
    pub const fn forget_devices(&mut self) {
        self.device_generation = self.device_generation.saturating_add(1);
    }

    /// Has nothing that was known open it any more: password, recovery code, link, sessions and devices. Only a link that is
    /// made after it does.
    pub fn shut(&mut self, now: UnixSecs) {
        self.password.set(now, None);
        self.recovery.set(now, None);
        self.reset.set(now, ResetLink::Closed);
        self.end_sessions();
        self.forget_devices();
    }

    /// Whether this token sets a new password now.
    #[must_use]
    pub fn is_reset_by(&self, now: UnixSecs, token: &ResetToken) -> bool {
        match self.reset.get() {
            ResetLink::Open(link) => link.opens(now, &token.hash()) && !self.is_disabled,
            ResetLink::Closed => false,
        }
    }

    /// What two versions say together: sessions that either ended are ended, who is disabled in either is; of the rest the
    /// newer, one by one.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        Self {
            email: self.email.newer(&other.email),
            password: self.password.newer(&other.password),
            recovery: self.recovery.newer(&other.recovery),
            reset: self.reset.newer(&other.reset),
            epoch: self.epoch.max(other.epoch),
            device_generation: self.device_generation.max(other.device_generation),
            is_disabled: self.is_disabled | other.is_disabled,
            made_at: self.made_at.min(other.made_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Device, Password, Session, SessionSpans, UserId};

    const ID: UserId = UserId::new([7; 10]);

    fn at(secs: u64) -> UnixSecs {
        UnixSecs::new(secs)
    }

    fn token(random: u8) -> ResetToken {
        ResetToken::draw(ID, [random; 20])
    }

    fn open(random: u8, expires: u64) -> ResetLink {
        ResetLink::Open(Link {
            secret: token(random).hash(),
            expires_at: at(expires),
        })
    }

    /// A hash that costs nothing to make.
    fn hash(salt: u8) -> PasswordHash {
        let text = PasswordHash::nobodys().as_str().to_owned();
        text.replacen("$A", if salt == 0 { "$A" } else { "$B" }, 1)
            .parse()
            .unwrap()
    }

    fn versions() -> impl Strategy<Value = User> {
        let email = "[ab]@b".prop_map(|email| email.parse().unwrap());
        let password = prop::option::of((0..2_u8).prop_map(hash));
        let recovery = prop::option::of((0..2_u8).prop_map(|byte| SecretHash::new([byte; 32])));
        let reset = prop::option::of((0..2_u8, 0..3_u64)).prop_map(|reset| match reset {
            Some((random, expires)) => open(random, expires),
            None => ResetLink::Closed,
        });
        let times = [0..3_u64, 0..3, 0..3, 0..3];
        let counts = (0..3_u64, 0..3_u64, any::<bool>());
        (times, email, password, recovery, reset, counts).prop_map(
            |(times, email, password, recovery, reset, counts)| User {
                email: Dated::new(at(times[0]), email),
                password: Dated::new(at(times[1]), password),
                recovery: Dated::new(at(times[2]), recovery),
                reset: Dated::new(at(times[3]), reset),
                epoch: counts.0,
                device_generation: counts.1,
                is_disabled: counts.2,
                made_at: at(1),
            },
        )
    }

    proptest! {
        #[test]
        fn versions_meet_in_any_order(a in versions(), b in versions(), c in versions()) {
            prop_assert_eq!(a.meet(&b), b.meet(&a));
            prop_assert_eq!(a.meet(&b).meet(&c), a.meet(&b.meet(&c)));
            prop_assert_eq!(a.meet(&a), a.clone());
        }

        /// A session that was made before, and ended in either version, is ended; who is disabled in either has none.
        #[test]
        fn no_session_comes_back(made in versions(), ended in 0..2_u64, disabled: bool, b in versions()) {
            let session = Session::new(at(1), ID, &made, [1; 16]);
            let mut a = made.clone();
            for _ in 0..ended {
                a.end_sessions();
            }
            a.is_disabled |= disabled;
            let mut b = b;
            b.epoch = b.epoch.max(made.epoch);
            let is_valid = |user: &User| session.check(at(2), SessionSpans::default(), user, false).is_ok();
            if is_valid(&a.meet(&b)) {
                prop_assert!(is_valid(&a) && is_valid(&b));
            }
        }

        /// A link that was used in one version opens nothing in both together, whatever else was changed since it was made.
        #[test]
        fn a_used_link_stays_so(made in versions(), used in 0..3_u64, other in versions()) {
            let mut made = made;
            made.reset = Dated::new(at(1), open(9, 100));
            let mut a = made.clone();
            a.set_password(at(1 + used), hash(1));
            let mut b = other;
            b.reset = made.reset.clone();
            prop_assert!(!a.meet(&b).is_reset_by(at(50), &token(9)));
        }

        #[test]
        fn a_device_that_was_forgotten_is_a_stranger(a in versions(), b in versions()) {
            let met = a.meet(&b);
            prop_assert!(a.device_generation <= met.device_generation);
            prop_assert!(b.device_generation <= met.device_generation);
        }
    }

    #[test]
    fn only_the_password_of_who_is_not_disabled_logs_in() {
        let email: Email = "a@b".parse().unwrap();
        let password = Password::choose("ein gutes Wort", &email, None).unwrap();
        let mut user = User::new(at(1), email);
        assert!(!User::logs_in(Some(&user), "ein gutes Wort"));
        assert!(!User::logs_in(None, "ein gutes Wort"));
        user.set_password(at(2), PasswordHash::new(&password, &[1; 16]));
        assert!(User::logs_in(Some(&user), "ein gutes Wort"));
        assert!(!User::logs_in(Some(&user), "kein gutes Wort"));
        user.is_disabled = true;
        assert!(!User::logs_in(Some(&user), "ein gutes Wort"));
    }

    #[test]
    fn a_new_password_ends_sessions_and_closes_the_link() {
        let mut user = User::new(at(1), "a@b".parse().unwrap());
        user.reset.set(at(1), open(1, 100));
        assert!(user.is_reset_by(at(99), &token(1)));
        assert!(!user.is_reset_by(at(100), &token(1)));
        assert!(!user.is_reset_by(at(99), &token(2)));
        let (epoch, generation) = (user.epoch, user.device_generation);
        user.set_password(at(2), hash(1));
        assert!(!user.is_reset_by(at(99), &token(1)));
        assert_eq!(user.epoch, epoch + 1);
        assert_eq!(user.device_generation, generation);
        user.forget_devices();
        assert_eq!(user.device_generation, generation + 1);
        user.reset.set(at(3), open(1, 100));
        user.is_disabled = true;
        assert!(!user.is_reset_by(at(99), &token(1)));
    }

    #[test]
    fn what_was_shut_is_opened_by_a_later_link_alone() {
        let mut user = User::new(at(1), "a@b".parse().unwrap());
        user.set_password(at(2), hash(1));
        user.recovery.set(at(2), Some(SecretHash::new([1; 32])));
        user.reset.set(at(2), open(1, 100));
        let session = Session::new(at(2), ID, &user, [1; 16]);
        let device = Device::new(ID, &user, [1; 16]);
        user.shut(at(2));
        assert_eq!((user.password.get(), user.recovery.get()), (&None, &None));
        assert!(!user.is_reset_by(at(3), &token(1)));
        assert!(
            session
                .check(at(3), SessionSpans::default(), &user, false)
                .is_err()
        );
        assert!(!device.is_known(ID, &user));
        user.reset.set(at(2), open(2, 100));
        assert!(user.is_reset_by(at(3), &token(2)) && !user.is_reset_by(at(3), &token(1)));
    }

    #[test]
    fn nothing_of_the_hashes_is_shown() {
        let mut user = User::new(at(1), "a@b".parse().unwrap());
        user.password.set(at(2), Some(hash(1)));
        user.reset.set(at(2), open(1, 100));
        let shown = format!("{user:?}");
        assert!(!shown.contains("argon2") && !shown.contains('['), "{shown}");
    }
}
