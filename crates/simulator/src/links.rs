//! Single links of a network, each in one direction.

use std::fmt;

/// Most hosts of a network: their links fit into the bits of a number.
pub(crate) const HOSTS: usize = 9;

/// Some links between hosts, each in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Links(u128);

impl Links {
    /// No link.
    pub const NONE: Self = Self(0);

    /// These links and the one from `from` to `to`, hosts from 0 to 8.
    #[must_use]
    pub const fn with(self, from: usize, to: usize) -> Self {
        Self(self.0 | 1 << (from * HOSTS + to))
    }

    /// These links and those.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether the link from `from` to `to` is among them.
    #[must_use]
    pub const fn contains(self, from: usize, to: usize) -> bool {
        self.0 & 1 << (from * HOSTS + to) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether, with these links cut, any two of `hosts` still reach each other, or a third that reaches both.
    #[must_use]
    pub fn leave_detours(self, hosts: &[usize]) -> bool {
        let connects = |a: usize, b: usize| !self.contains(a, b) && !self.contains(b, a);
        let reach = |a: usize, b: usize| {
            connects(a, b) || hosts.iter().any(|&c| connects(a, c) && connects(c, b))
        };
        let mut pairs = hosts
            .iter()
            .flat_map(|&a| hosts.iter().map(move |&b| (a, b)));
        pairs.all(|(a, b)| reach(a, b))
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = (0..HOSTS).flat_map(|from| (0..HOSTS).map(move |to| (from, to)));
        let among = pairs.filter(|&(from, to)| self.contains(from, to));
        f.debug_list()
            .entries(among.map(|(from, to)| format!("{from}→{to}")))
            .finish()
    }
}
