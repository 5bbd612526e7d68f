//! What somebody may do in a tenant.

use std::fmt;
use std::str::FromStr;

use crate::UserId;

/// What a user is in a tenant. Each may what the next may, and more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Pays, and may end it all.
    Owner,
    /// Says who belongs to it.
    Admin,
    /// Says what its limits are, and makes API keys.
    Developer,
    /// Looks on.
    Viewer,
}

/// Something that is done in a tenant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Act {
    /// See the overview, limits, usage and who is in the team.
    See,
    /// Make, change and remove limits, reset and refund keys.
    ChangeLimits,
    /// See, make, rotate and revoke API keys.
    ManageApiKeys,
    /// See the audit.
    SeeAudit,
    /// Invite, change and remove people; [`Role::may_manage`] says whom.
    ManageTeam,
    /// See and change what is paid.
    ManageBilling,
    /// Rename or close the tenant.
    ManageTenant,
}

impl Act {
    /// All of them, in the order of the table in [`may`].
    pub const ALL: [Self; 7] = [
        Self::See,
        Self::ChangeLimits,
        Self::ManageApiKeys,
        Self::SeeAudit,
        Self::ManageTeam,
        Self::ManageBilling,
        Self::ManageTenant,
    ];

    /// The role that grants least of those that may.
    #[must_use]
    pub const fn least_role(self) -> Role {
        match self {
            Self::See => Role::Viewer,
            Self::ChangeLimits | Self::ManageApiKeys => Role::Developer,
            Self::SeeAudit | Self::ManageTeam => Role::Admin,
            Self::ManageBilling | Self::ManageTenant => Role::Owner,
        }
    }
}

/// Whether who has this role may do this.
///
/// | may | owner | admin | developer | viewer |
/// | --- | --- | --- | --- | --- |
/// | [`See`](Act::See) | yes | yes | yes | yes |
/// | [`ChangeLimits`](Act::ChangeLimits), [`ManageApiKeys`](Act::ManageApiKeys) | yes | yes | yes | – |
/// | [`SeeAudit`](Act::SeeAudit), [`ManageTeam`](Act::ManageTeam) | yes | yes | – | – |
/// | [`ManageBilling`](Act::ManageBilling), [`ManageTenant`](Act::ManageTenant) | yes | – | – | – |
#[must_use]
pub fn may(role: Role, act: Act) -> bool {
    role <= act.least_role()
}

impl Role {
    /// All of them, the one that may most first.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Admin, Self::Developer, Self::Viewer];

    /// Its name, which is stable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Developer => "developer",
            Self::Viewer => "viewer",
        }
    }

    /// Whether who has this role may invite, change or remove somebody with `other`, and give that role to somebody: those
    /// below one's own; owners also other owners.
    #[must_use]
    pub fn may_manage(self, other: Self) -> bool {
        may(self, Act::ManageTeam) && (self < other || self == Self::Owner)
    }

    /// Whether who has this role may make a link with which somebody with `other` sets a new password: those below one's
    /// own, if their only seat is here; else one tenant could take a user of another.
    #[must_use]
    pub fn may_reset(self, other: Self, seats: usize) -> bool {
        may(self, Act::ManageTeam) && self < other && seats == 1
    }
}

/// What may stand for a role.
pub const ROLES_ACCEPTED: &str = "owner, admin, developer or viewer";

/// There is no such role.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{ROLES_ACCEPTED}")]
pub struct NoRole;

impl FromStr for Role {
    type Err = NoRole;

    fn from_str(text: &str) -> Result<Self, NoRole> {
        let named = |role: &Self| role.name() == text;
        Self::ALL.into_iter().find(named).ok_or(NoRole)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a tenant with this team has an owner once `user` has `role`; `None`: once that user is gone.
pub fn keeps_an_owner(
    team: impl IntoIterator<Item = (UserId, Role)>,
    user: UserId,
    role: Option<Role>,
) -> bool {
    let mut others = team.into_iter().filter(|(id, _)| *id != user);
    role == Some(Role::Owner) || others.any(|(_, role)| role == Role::Owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_what_is_a_table() {
        let table = [
            (Act::See, [true, true, true, true]),
            (Act::ChangeLimits, [true, true, true, false]),
            (Act::ManageApiKeys, [true, true, true, false]),
            (Act::SeeAudit, [true, true, false, false]),
            (Act::ManageTeam, [true, true, false, false]),
            (Act::ManageBilling, [true, false, false, false]),
            (Act::ManageTenant, [true, false, false, false]),
        ];
        assert_eq!(table.map(|(act, _)| act), Act::ALL);
        for (act, roles) in table {
            assert_eq!(Role::ALL.map(|role| may(role, act)), roles, "{act:?}");
        }
    }

    #[test]
    fn people_manage_those_below_them_and_owners_owners() {
        use Role::{Admin, Developer, Owner, Viewer};
        for (role, managed) in [
            (Owner, &[Owner, Admin, Developer, Viewer][..]),
            (Admin, &[Developer, Viewer]),
            (Developer, &[]),
            (Viewer, &[]),
        ] {
            for other in Role::ALL {
                let may = managed.contains(&other);
                assert_eq!(role.may_manage(other), may, "{role} {other}");
                let may_reset = may && role != other;
                assert_eq!(role.may_reset(other, 1), may_reset, "{role} {other}");
                assert!(!role.may_reset(other, 2), "{role} {other}");
            }
        }
    }

    #[test]
    fn a_role_is_read_as_it_is_told() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        for text in ["", "Owner", "operator"] {
            assert_eq!(text.parse::<Role>(), Err(NoRole), "{text}");
        }
        let accepted = ROLES_ACCEPTED.replace(" or", ",");
        assert_eq!(accepted, Role::ALL.map(Role::name).join(", "));
    }

    #[test]
    fn a_tenant_keeps_an_owner() {
        let [one, other] = [UserId::new([1; 10]), UserId::new([2; 10])];
        let alone = [(one, Role::Owner), (other, Role::Admin)];
        for (user, role, keeps) in [
            (one, None, false),
            (one, Some(Role::Admin), false),
            (one, Some(Role::Owner), true),
            (other, None, true),
            (other, Some(Role::Owner), true),
        ] {
            assert_eq!(keeps_an_owner(alone, user, role), keeps, "{user} {role:?}");
        }
        let two = [(one, Role::Owner), (other, Role::Owner)];
        assert!(keeps_an_owner(two, one, None));
        assert!(!keeps_an_owner([], one, None));
    }
}
