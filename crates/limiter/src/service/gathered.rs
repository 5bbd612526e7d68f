//! What the limits of a tenant have decided on this node in the second that is not over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use series::{Counts, LIMITS_MAX};

/// What the limits of a tenant have decided since it was [taken](Self::take) last.
#[derive(Default)]
pub(super) struct Gathered(Mutex<Open>);

/// What was decided in a second.
#[derive(Default)]
pub(super) struct Decided {
    /// By limit.
    pub(super) limits: HashMap<Arc<str>, Counts>,
    /// By limits beyond those that are told apart.
    pub(super) others: Counts,
}

#[derive(Default)]
struct Open {
    /// Those that have decided something in this second or the one before: the hits of a busy limit find a place.
    decided: Decided,
    /// Something was added since it was taken.
    is_touched: bool,
}

/// How a decision went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Went {
    Allowed,
    Denied,
}

impl Gathered {
    /// These limits have decided so, and each took as long. `true`: they are the first since it was taken.
    pub(super) fn add<'l>(
        &self,
        decided: impl IntoIterator<Item = (&'l Arc<str>, Went)>,
        micros: u32,
    ) -> bool {
        let mut open = self.open();
        let Open {
            decided: Decided { limits, others },
            is_touched,
        } = &mut *open;
        let was_touched = *is_touched;
        for (limit, went) in decided {
            *is_touched = true;
            let has_room = limits.len() < LIMITS_MAX;
            let counts = match limits.get_mut(limit) {
                Some(known) => known,
                None if has_room => limits.entry(Arc::clone(limit)).or_default(),
                None => &mut *others,
            };
            let (allowed, denied) = match went {
                Went::Allowed => (1, 0),
                Went::Denied => (0, 1),
            };
            counts.add(allowed, denied, micros);
        }
        *is_touched && !was_touched
    }

    /// What there is of it.
    pub(super) fn take(&self) -> Decided {
        let mut open = self.open();
        open.is_touched = false;
        let Decided { limits, others } = &mut open.decided;
        limits.retain(|_, counts| !counts.is_empty());
        let taken = limits
            .iter_mut()
            .map(|(name, counts)| (Arc::clone(name), std::mem::take(counts)));
        Decided {
            limits: taken.collect(),
            others: std::mem::take(others),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(decided: &Decided) -> (u32, u32) {
        let all = decided.limits.values().chain([&decided.others]);
        all.fold((0, 0), |(allowed, denied), counts| {
            (allowed + counts.allowed, denied + counts.denied)
        })
    }

    #[test]
    fn a_second_tells_a_hundred_limits_apart_and_counts_all() {
        let gathered = Gathered::default();
        let names: Vec<Arc<str>> = (0..150).map(|number| number.to_string().into()).collect();
        let both = |name| [(name, Went::Allowed), (name, Went::Denied)];
        assert!(gathered.add(names.iter().flat_map(both), 10));
        let decided = gathered.take();
        assert_eq!((decided.others.allowed, decided.others.denied), (50, 50));
        assert_eq!(decided.limits.len(), LIMITS_MAX);
        assert_eq!(sums(&decided), (150, 150));
        assert_eq!(sums(&gathered.take()), (0, 0), "it was taken");
    }

    #[test]
    fn the_first_of_a_second_says_so_and_a_silent_limit_makes_room() {
        let gathered = Gathered::default();
        let [one, other]: [Arc<str>; 2] = ["one", "other"].map(Into::into);
        assert!(!gathered.add([], 10), "nothing was decided");
        assert!(gathered.add([(&one, Went::Allowed)], 10));
        assert!(!gathered.add([(&one, Went::Allowed)], 10));
        assert_eq!(sums(&gathered.take()), (2, 0));
        assert!(gathered.add([(&other, Went::Denied)], 10));
        let decided = gathered.take();
        assert_eq!(sums(&decided), (0, 1));
        assert!(!decided.limits.contains_key(&one));
    }
}
