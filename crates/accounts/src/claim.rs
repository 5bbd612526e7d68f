//! Who has an address.

use std::cmp::Reverse;

use crate::{UnixSecs, UserId};

/// Who has an address. Nobody can have one that another has, and of two who registered it while they could not know of each
/// other the earlier has it: a later registration must not take an account over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EmailClaim {
    generation: u64,
    claimed_at: UnixSecs,
    holder: Option<UserId>,
}

impl EmailClaim {
    /// That of the first who registers an address.
    #[must_use]
    pub const fn new(now: UnixSecs, user: UserId) -> Self {
        Self {
            generation: 0,
            claimed_at: now,
            holder: Some(user),
        }
    }

    /// As it was kept.
    #[must_use]
    pub const fn of_parts(generation: u64, claimed_at: UnixSecs, holder: Option<UserId>) -> Self {
        Self {
            generation,
            claimed_at,
            holder,
        }
    }

    /// How often the address was released or registered again. Only ever becomes more.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// When it became what it is.
    #[must_use]
    pub const fn claimed_at(&self) -> UnixSecs {
        self.claimed_at
    }

    /// Whose it is. `None`: it was released, and anybody may register it.
    #[must_use]
    pub const fn holder(&self) -> Option<UserId> {
        self.holder
    }

    /// What it is once `user` registers it. `None`: another has it. Whose it is already keeps it as it is.
    #[must_use]
    pub fn claimed(&self, now: UnixSecs, user: UserId) -> Option<Self> {
        match self.holder {
            Some(holder) => (holder == user).then_some(*self),
            None => Some(Self::of_parts(
                self.generation.saturating_add(1),
                now,
                Some(user),
            )),
        }
    }

    /// What it is once `user` releases it, who deletes the account or takes another address. Who does not have it changes
    /// nothing.
    #[must_use]
    pub fn released(&self, now: UnixSecs, user: UserId) -> Self {
        match self.holder == Some(user) {
            true => Self::of_parts(self.generation.saturating_add(1), now, None),
            false => *self,
        }
    }

    /// What two versions say together: that of the higher generation, and within one the earlier. Of two in the same second the
    /// one that is free, or of the lower id, so that it is the same one everywhere.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let by = |claim: &Self| (claim.generation, Reverse((claim.claimed_at, claim.holder)));
        match by(self) < by(other) {
            true => *other,
            false => *self,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(secs: u64) -> UnixSecs {
        UnixSecs::new(secs)
    }

    fn versions() -> impl Strategy<Value = EmailClaim> {
        let holder = prop::option::of((0..3_u8).prop_map(|user| UserId::new([user; 10])));
        (0..3_u64, 0..3_u64, holder).prop_map(|(generation, claimed_at, holder)| {
            EmailClaim::of_parts(generation, at(claimed_at), holder)
        })
    }

    proptest! {
        #[test]
        fn versions_meet_in_any_order(a in versions(), b in versions(), c in versions()) {
            prop_assert_eq!(a.meet(&b), b.meet(&a));
            prop_assert_eq!(a.meet(&b).meet(&c), a.meet(&b.meet(&c)));
            prop_assert_eq!(a.meet(&a), a);
        }

        /// It is one of them, no other of its generation is earlier, and none is of a higher one.
        #[test]
        fn the_earlier_of_a_generation_has_it(a in versions(), b in versions()) {
            let met = a.meet(&b);
            prop_assert!(met == a || met == b);
            for claim in [a, b] {
                prop_assert!(claim.generation <= met.generation);
                prop_assert!(claim.generation < met.generation || met.claimed_at <= claim.claimed_at);
            }
        }
    }

    #[test]
    fn an_address_is_registered_released_and_registered_again() {
        let [one, other] = [UserId::new([1; 10]), UserId::new([2; 10])];
        let claim = EmailClaim::new(at(1), one);
        assert_eq!(claim.claimed(at(2), other), None);
        assert_eq!(claim.claimed(at(2), one), Some(claim));
        assert_eq!(claim.released(at(2), other), claim);
        let free = claim.released(at(3), one);
        assert_eq!((free.holder(), free.claimed_at()), (None, at(3)));
        assert_eq!(free.released(at(4), one), free);
        let again = free.claimed(at(4), other).unwrap();
        assert_eq!((again.holder(), again.claimed_at()), (Some(other), at(4)));
        assert_eq!(claim.meet(&free), free);
        assert_eq!(claim.meet(&again), again);
        assert_eq!(claim.meet(&free).meet(&again), again);
    }

    #[test]
    fn of_two_sides_of_a_split_the_earlier_has_it() {
        let [one, other] = [UserId::new([1; 10]), UserId::new([2; 10])];
        let (late, early) = (EmailClaim::new(at(9), one), EmailClaim::new(at(8), other));
        assert_eq!(late.meet(&early), early);
        let free = late.meet(&early).released(at(10), other);
        let (late, early) = (
            free.claimed(at(21), other).unwrap(),
            free.claimed(at(20), one).unwrap(),
        );
        assert_eq!(late.meet(&early), early);
    }
}
