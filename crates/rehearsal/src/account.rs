//! What clients were told of one key, against what the cluster counts.

/// The books of one key, in hits that cost 1.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Account {
    /// Hits that clients were told are counted.
    pub admitted: u64,
    /// Hits that clients were told are not counted, being over the limit.
    pub denied: u64,
    /// Hits of which clients do not know.
    pub unknown: u64,
    /// Hits that the cluster counts now.
    pub counted: u64,
}

impl Account {
    /// Admitted, and no longer counted.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.admitted.saturating_sub(self.counted)
    }

    /// Counted, although no client was told so.
    #[must_use]
    pub fn untold(&self) -> u64 {
        self.counted.saturating_sub(self.admitted)
    }

    /// Counted, and sent by nobody.
    #[must_use]
    pub fn invented(&self) -> u64 {
        self.counted.saturating_sub(self.admitted + self.unknown)
    }

    /// Admitted beyond a limit of so many.
    #[must_use]
    pub fn over(&self, limit: u64) -> u64 {
        self.admitted.saturating_sub(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_held_against_what_was_told() {
        let account = |admitted, unknown, counted| Account {
            admitted,
            denied: 3,
            unknown,
            counted,
        };
        for (it, forgotten, untold, invented) in [
            (account(5, 0, 5), 0, 0, 0),
            (account(5, 2, 4), 1, 0, 0),
            (account(5, 2, 7), 0, 2, 0),
            (account(5, 2, 8), 0, 3, 1),
        ] {
            let found = (it.forgotten(), it.untold(), it.invented());
            assert_eq!(found, (forgotten, untold, invented), "{it:?}");
        }
        assert_eq!((account(5, 0, 5).over(4), account(5, 0, 5).over(6)), (1, 0));
    }
}
