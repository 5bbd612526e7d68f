//! Who belongs to a tenant.

use crate::{Role, UnixSecs};

/// The place of one user in one tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seat {
    /// What the user is there. `None`: removed.
    pub role: Option<Role>,
    /// When the user joined. Never changes.
    pub joined_at: UnixSecs,
}

impl Seat {
    /// One of somebody who joins.
    #[must_use]
    pub const fn new(now: UnixSecs, role: Role) -> Self {
        Self {
            role: Some(role),
            joined_at: now,
        }
    }

    /// What two versions say together: the role that grants less, and nothing if either was removed.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let role = self.role.zip(other.role).map(|(one, other)| one.max(other));
        Self {
            role,
            joined_at: self.joined_at.min(other.joined_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Act, may};

    fn versions() -> impl Strategy<Value = Seat> {
        let role = prop::option::of((0..4_usize).prop_map(|role| Role::ALL[role]));
        role.prop_map(|role| Seat {
            role,
            joined_at: UnixSecs::new(1),
        })
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
            let may = |seat: &Seat, act| seat.role.is_some_and(|role| may(role, act));
            for act in Act::ALL {
                if may(&a.meet(&b), act) {
                    prop_assert!(may(&a, act) && may(&b, act), "{:?}", act);
                }
            }
        }
    }

    #[test]
    fn the_role_that_grants_less_stays() {
        use Role::{Admin, Developer, Owner, Viewer};
        let seat = |role| Seat {
            role,
            joined_at: UnixSecs::new(1),
        };
        let less = [
            Some(Owner),
            Some(Admin),
            Some(Developer),
            Some(Viewer),
            None,
        ];
        for (place, one) in less.into_iter().enumerate() {
            for other in &less[place..] {
                assert_eq!(seat(one).meet(&seat(*other)).role, *other);
            }
        }
    }
}
