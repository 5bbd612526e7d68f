//! What the limits of a tenant have decided on this node in the second that is not over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use series::{Counts, LIMITS_MAX};

/// What the limits of a tenant have decided since it was [taken](Self::take) last.
#[derive(Default)]
pub(super) struct Gathered(Mutex<Open>);

/// What was decided, by limit.
#[derive(Default)]
pub(super) struct Open {
    pub(super) limits: HashMap<Arc<str>, Counts>,
    /// By limits beyond those that are told apart.
    pub(super) others: Counts,
}

/// How a decision went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Went {
    Allowed,
    Denied,
}

impl Gathered {
    /// A limit has decided something that was asked then.
    pub(super) fn add(&self, limit: &Arc<str>, went: Went, began: Instant) {
        let micros = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
        let (allowed, denied) = match went {
            Went::Allowed => (1, 0),
            Went::Denied => (0, 1),
        };
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Open { limits, others } = &mut *open;
        let has_room = limits.len() < LIMITS_MAX;
        let counts = match limits.get_mut(limit) {
            Some(known) => known,
            None if has_room => limits.entry(Arc::clone(limit)).or_default(),
            None => others,
        };
        counts.add(allowed, denied, micros);
    }

    /// What there is of it. `None`: nothing.
    pub(super) fn take(&self) -> Option<Open> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.limits.is_empty() {
            return None;
        }
        Some(std::mem::take(&mut *open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_tells_a_hundred_limits_apart_and_counts_all() {
        let gathered = Gathered::default();
        assert!(gathered.take().is_none());
        let now = Instant::now();
        for number in 0..150 {
            let name: Arc<str> = number.to_string().into();
            gathered.add(&name, Went::Allowed, now);
            gathered.add(&name, Went::Denied, now);
        }
        let open = gathered.take().expect("there is something");
        let (mut allowed, mut denied) = (open.others.allowed, open.others.denied);
        assert_eq!((allowed, denied), (50, 50));
        assert_eq!(open.limits.len(), LIMITS_MAX);
        for counts in open.limits.values() {
            allowed += counts.allowed;
            denied += counts.denied;
        }
        assert_eq!((allowed, denied), (150, 150));
        assert!(gathered.take().is_none(), "it was taken");
    }
}
