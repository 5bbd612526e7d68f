//! Invitations to a tenant.

use std::sync::Arc;

use crate::time::earlier;
use crate::{Email, InviteToken, Link, Role, TenantId, UnixSecs, UserId};

/// An invitation: whoever brings its token may join, once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invite {
    /// Where to. Never changes.
    pub tenant: TenantId,
    /// What whoever joins is there. Only ever becomes less.
    pub role: Role,
    /// Its token's hash, which never changes, and its end, which only ever becomes earlier.
    pub link: Link,
    /// Whom it was made for, as a note: the token alone opens it. Never changes.
    pub email: Option<Email>,
    /// Who made it: `operator`, or the id of a user. Never changes.
    pub made_by: Arc<str>,
    /// When. Never changes.
    pub made_at: UnixSecs,
    /// When it was used, and by whom.
    pub used: Option<(UnixSecs, UserId)>,
    /// When it was withdrawn.
    pub withdrawn_at: Option<UnixSecs>,
}

/// Whether an invitation may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InviteState {
    /// It may.
    Open,
    /// Somebody has used it.
    Used(UserId),
    /// Not any more since then.
    Withdrawn(UnixSecs),
    /// Not any more since then.
    Expired(UnixSecs),
}

impl Invite {
    /// Whether it may be used now.
    #[must_use]
    pub fn state(&self, now: UnixSecs) -> InviteState {
        match (self.used, self.withdrawn_at) {
            (Some((_, user)), _) => InviteState::Used(user),
            (None, Some(at)) => InviteState::Withdrawn(at),
            (None, None) if self.link.expires_at <= now => {
                InviteState::Expired(self.link.expires_at)
            }
            (None, None) => InviteState::Open,
        }
    }

    /// Whether this token opens it now. Whoever brings another, or a used, withdrawn or expired one, is told the same.
    #[must_use]
    pub fn is_opened_by(&self, now: UnixSecs, token: &InviteToken) -> bool {
        self.link.opens(now, &token.hash()) & (self.state(now) == InviteState::Open)
    }

    /// What two versions say together: one that was used or withdrawn in either is. Of two uses the earlier is told.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        Self {
            tenant: self.tenant.min(other.tenant),
            role: self.role.max(other.role),
            link: Link {
                secret: self.link.secret.min(other.link.secret),
                expires_at: self.link.expires_at.min(other.link.expires_at),
            },
            email: self.email.clone().min(other.email.clone()),
            made_by: self.made_by.clone().min(other.made_by.clone()),
            made_at: self.made_at.min(other.made_at),
            used: earlier(self.used, other.used),
            withdrawn_at: earlier(self.withdrawn_at, other.withdrawn_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::InviteId;

    fn at(secs: u64) -> UnixSecs {
        UnixSecs::new(secs)
    }

    fn token() -> InviteToken {
        InviteToken::draw(InviteId::new([1; 10]), [2; 20])
    }

    fn versions() -> impl Strategy<Value = Invite> {
        let role = (0..4_usize).prop_map(|role| Role::ALL[role]);
        let used = prop::option::of((0..4_u64, 0..3_u8));
        let withdrawn = prop::option::of((0..4_u64).prop_map(at));
        (role, 0..4_u64, used, withdrawn).prop_map(|(role, expires, used, withdrawn_at)| Invite {
            tenant: TenantId::new([1; 10]),
            role,
            link: Link {
                secret: token().hash(),
                expires_at: at(expires),
            },
            email: None,
            made_by: "operator".into(),
            made_at: at(1),
            used: used.map(|(when, user)| (at(when), UserId::new([user; 10]))),
            withdrawn_at,
        })
    }

    /// What its token gives at a time.
    fn gives(invite: &Invite, now: UnixSecs) -> Option<Role> {
        invite.is_opened_by(now, &token()).then_some(invite.role)
    }

    proptest! {
        #[test]
        fn versions_meet_in_any_order(a in versions(), b in versions(), c in versions()) {
            prop_assert_eq!(a.meet(&b), b.meet(&a));
            prop_assert_eq!(a.meet(&b).meet(&c), a.meet(&b.meet(&c)));
            prop_assert_eq!(a.meet(&a), a);
        }

        #[test]
        fn both_together_grant_no_more_than_either(a in versions(), b in versions()) {
            for now in (0..6).map(at) {
                if let Some(role) = gives(&a.meet(&b), now) {
                    prop_assert!(gives(&a, now).is_some_and(|of_a| of_a <= role));
                    prop_assert!(gives(&b, now).is_some_and(|of_b| of_b <= role));
                }
            }
        }
    }

    #[test]
    fn an_invitation_is_used_once() {
        let user = UserId::new([3; 10]);
        let open = Invite {
            tenant: TenantId::new([1; 10]),
            role: Role::Developer,
            link: Link {
                secret: token().hash(),
                expires_at: at(1) + Link::INVITE,
            },
            email: Some("a@b".parse().unwrap()),
            made_by: "operator".into(),
            made_at: at(1),
            used: None,
            withdrawn_at: None,
        };
        let last = at(Link::INVITE);
        assert_eq!(open.state(last), InviteState::Open);
        assert_eq!(open.state(last + 1), InviteState::Expired(last + 1));
        let (mut used, mut withdrawn) = (open.clone(), open.clone());
        used.used = Some((at(2), user));
        withdrawn.withdrawn_at = Some(at(2));
        assert_eq!(used.state(last + 1), InviteState::Used(user));
        assert_eq!(withdrawn.state(last + 1), InviteState::Withdrawn(at(2)));
        assert_eq!(used.meet(&withdrawn).state(at(3)), InviteState::Used(user));
        assert!(open.is_opened_by(last, &token()));
        for closed in [&used, &withdrawn, &used.meet(&open)] {
            assert!(!closed.is_opened_by(last, &token()));
        }
        let mut again = used.clone();
        again.used = Some((at(3), UserId::new([2; 10])));
        assert_eq!(used.meet(&again), used);
        let other = InviteToken::draw(InviteId::new([1; 10]), [3; 20]);
        assert!(!open.is_opened_by(last, &other));
    }
}
