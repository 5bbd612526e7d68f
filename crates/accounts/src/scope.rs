//! What an API key may do.

use std::fmt;
use std::str::FromStr;

/// One thing that an API key may do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// Check, in every protocol.
    Check,
    /// Refund and reset.
    Adjust,
    /// Read limits.
    LimitsRead,
    /// Make, change and remove limits.
    LimitsWrite,
    /// Read how much was used.
    UsageRead,
    /// Read API keys.
    KeysRead,
    /// Make, change and revoke API keys.
    KeysWrite,
}

impl Scope {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 7] = [
        Self::Check,
        Self::Adjust,
        Self::LimitsRead,
        Self::LimitsWrite,
        Self::UsageRead,
        Self::KeysRead,
        Self::KeysWrite,
    ];

    /// Its name, which is stable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Adjust => "adjust",
            Self::LimitsRead => "limits.read",
            Self::LimitsWrite => "limits.write",
            Self::UsageRead => "usage.read",
            Self::KeysRead => "keys.read",
            Self::KeysWrite => "keys.write",
        }
    }
}

/// What may stand for a scope.
pub const SCOPES_ACCEPTED: &str =
    "check, adjust, limits.read, limits.write, usage.read, keys.read or keys.write";

/// There is no such scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{SCOPES_ACCEPTED}")]
pub struct NoScope;

impl FromStr for Scope {
    type Err = NoScope;

    fn from_str(text: &str) -> Result<Self, NoScope> {
        let named = |scope: &Self| scope.name() == text;
        Self::ALL.into_iter().find(named).ok_or(NoScope)
    }
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

impl Scopes {
    /// None.
    pub const NONE: Self = Self(0);
    /// Every one.
    pub const ALL: Self = Self((1 << Scope::ALL.len()) - 1);

    /// Whether this is among them.
    #[must_use]
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// Those that both have.
    #[must_use]
    pub const fn meet(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether `other` has all of these.
    #[must_use]
    pub const fn are_within(self, other: Self) -> bool {
        self.0 & other.0 == self.0
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// In order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }

    /// One bit for each.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Those of these bits; one that is not known here, of a later version, is left out.
    #[must_use]
    pub const fn of_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let bits = scopes
            .into_iter()
            .fold(0, |bits, scope| bits | 1 << scope as u8);
        Self(bits)
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Scope::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_sets() {
        let some: Scopes = [Scope::Check, Scope::KeysWrite].into_iter().collect();
        assert!(some.has(Scope::Check) && !some.has(Scope::Adjust));
        assert!(some.are_within(Scopes::ALL) && !Scopes::ALL.are_within(some));
        assert_eq!(some.meet(Scopes::ALL), some);
        assert_eq!(
            some.meet([Scope::Adjust].into_iter().collect()),
            Scopes::NONE
        );
        assert!(Scopes::NONE.is_empty() && Scopes::NONE.are_within(some));
        assert_eq!(Scopes::of_bits(u8::MAX), Scopes::ALL);
        assert_eq!(Scopes::of_bits(some.bits()), some);
        assert_eq!(Scopes::ALL.iter().count(), Scope::ALL.len());
    }

    #[test]
    fn a_scope_is_read_as_it_is_told() {
        for (place, scope) in Scope::ALL.into_iter().enumerate() {
            assert_eq!(scope.name().parse(), Ok(scope));
            assert_eq!(scope as usize, place);
        }
        assert_eq!("limits".parse::<Scope>(), Err(NoScope));
        let accepted = SCOPES_ACCEPTED.replace(" or", ",");
        assert_eq!(accepted, Scope::ALL.map(Scope::name).join(", "));
    }
}
