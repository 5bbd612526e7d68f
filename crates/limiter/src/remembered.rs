//! Limits that are put together once, not for every hit.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use arc_swap::ArcSwap;

use crate::Selected;

/// Limits that are remembered. A program uses a handful; so many take some 300 KiB.
const REMEMBERED_MAX: usize = 1_024;

/// Limits that were put together before, by what they were put together from. Read without a lock; a change copies the
/// map, which takes some 30 µs when it is full.
pub(crate) struct Remembered<K> {
    known: ArcSwap<HashMap<K, Selected>>,
    when_full: WhenFull,
}

/// What becomes of one that comes when there is no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WhenFull {
    /// It takes the place of another: for what operators make, most of which is asked again.
    Replaces,
    /// It is put together for every hit, which takes 0.3 µs longer: for what clients make up, so that one who makes up
    /// more and more does not slow everybody down.
    IsNotKept,
}

impl<K: Clone + Eq + Hash> Remembered<K> {
    /// None yet.
    pub(crate) fn new(when_full: WhenFull) -> Self {
        Self {
            known: ArcSwap::default(),
            when_full,
        }
    }

    /// The limit of `key`, or what `make` makes for it.
    pub(crate) fn select(&self, key: K, make: impl FnOnce(&K) -> Selected) -> Selected {
        self.get(&key).unwrap_or_else(|| {
            let made = make(&key);
            self.keep(key, made)
        })
    }

    /// The limit of `key`, if it is remembered.
    #[inline]
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<Selected>
    where
        K: Borrow<Q>,
    {
        self.known.load().get(key).cloned()
    }

    /// Remembers the limit of `key`, in place of an earlier one, and returns it.
    pub(crate) fn keep(&self, key: K, made: Selected) -> Selected {
        let has_room =
            |known: &HashMap<K, Selected>| known.len() < REMEMBERED_MAX || known.contains_key(&key);
        if self.when_full == WhenFull::Replaces || has_room(&self.known.load()) {
            self.known.rcu(|known| {
                let mut changed = HashMap::clone(known);
                if !has_room(known)
                    && let Some(any) = known.keys().next()
                {
                    changed.remove(any);
                }
                changed.insert(key.clone(), made.clone());
                changed
            });
        }
        made
    }

    /// Forgets the limit of `key`, if it is remembered.
    pub(crate) fn forget<Q: Eq + Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if self.known.load().contains_key(key) {
            self.known.rcu(|known| {
                let mut changed = HashMap::clone(known);
                changed.remove(key);
                changed
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use coordinator::{FailMode, Policy, Strategy};
    use quota::{Algorithm, Limit, Nanos};

    use super::*;

    fn made(units: &u32) -> Selected {
        let policy = Policy {
            namespace: "default".into(),
            name: units.to_string().into(),
            limit: Limit::new(Algorithm::Gcra, *units, Nanos::from_secs(60)).unwrap(),
            strategy: Strategy::Owner,
            on_failure: FailMode::Deny,
            top_keys: false,
        };
        Selected::named(policy)
    }

    /// Whether `key` is found, not made again.
    fn is_kept(remembered: &Remembered<u32>, key: u32) -> bool {
        let [one, again] = [(), ()].map(|()| remembered.select(key, made));
        Arc::ptr_eq(&one.policy().name, &again.policy().name)
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        for (when_full, late_is_kept) in [(WhenFull::Replaces, true), (WhenFull::IsNotKept, false)]
        {
            let remembered = Remembered::new(when_full);
            let max = u32::try_from(REMEMBERED_MAX).unwrap();
            for key in 1..=max + 2 {
                assert_eq!(
                    &*remembered.select(key, made).policy().name,
                    key.to_string()
                );
            }
            assert_eq!(remembered.known.load().len(), REMEMBERED_MAX);
            assert_eq!(is_kept(&remembered, max + 3), late_is_kept, "{when_full:?}");
            assert_eq!(remembered.known.load().len(), REMEMBERED_MAX);
        }
    }

    #[test]
    fn what_is_forgotten_makes_room() {
        let remembered = Remembered::new(WhenFull::IsNotKept);
        for key in 1..=u32::try_from(REMEMBERED_MAX).unwrap() {
            remembered.select(key, made);
        }
        remembered.forget(&7);
        assert_eq!(remembered.get(&7).map(|it| it.name().to_owned()), None);
        assert!(is_kept(&remembered, 9_999));
    }
}
