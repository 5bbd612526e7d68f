//! What the limits of a tenant have decided on this node in the second that is not over.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use accounts::ApiKeyId;
use series::{Counts, Decided, NAMES_MAX};

/// What the limits of a tenant have decided since it was [taken](Self::take) last.
#[derive(Default)]
pub(super) struct Gathered(Mutex<Open>);

#[derive(Default)]
struct Open {
    /// Those that have decided something in this second or the one before: the hits of a busy limit find a place.
    limits: HashMap<Arc<str>, Counts>,
    /// By limits beyond those that are told apart.
    others: Counts,
    /// For those that have asked in this second or the one before.
    api_keys: HashMap<ApiKeyId, Counts>,
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
    /// These limits have decided so, for an API key if it was one that asked, and each took as long. `true`: they are the first since
    /// it was taken.
    pub(super) fn add<'l>(
        &self,
        decided: impl IntoIterator<Item = (&'l Arc<str>, Went)>,
        by: Option<ApiKeyId>,
        micros: u32,
    ) -> bool {
        let mut open = self.open();
        let Open {
            limits,
            others,
            api_keys,
            is_touched,
        } = &mut *open;
        let was_touched = *is_touched;
        let mut of_key = (0, 0);
        for (limit, went) in decided {
            *is_touched = true;
            let (allowed, denied) = match went {
                Went::Allowed => (1, 0),
                Went::Denied => (0, 1),
            };
            of_key = (of_key.0 + allowed, of_key.1 + denied);
            if !count(limits, limit, (allowed, denied), micros) {
                others.add(allowed, denied, micros);
            }
        }
        if let Some(id) = by
            && of_key != (0, 0)
        {
            // One that has no room is told of by its limits alone.
            let _has_room = count(api_keys, &id, of_key, micros);
        }
        *is_touched && !was_touched
    }

    /// What there is of it.
    pub(super) fn take(&self) -> Decided {
        let mut open = self.open();
        open.is_touched = false;
        Decided {
            limits: taken(&mut open.limits, Arc::clone),
            others: std::mem::take(&mut open.others),
            api_keys: taken(&mut open.api_keys, |id| id.to_string().into()),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts what was decided for one of these, by one look at the map where it is known. `false`: it has no room.
fn count<K: Clone + Eq + Hash>(
    counts: &mut HashMap<K, Counts>,
    of: &K,
    (allowed, denied): (u32, u32),
    micros: u32,
) -> bool {
    let has_room = counts.len() < NAMES_MAX;
    let of = match counts.get_mut(of) {
        Some(known) => known,
        None if has_room => counts.entry(of.clone()).or_default(),
        None => return false,
    };
    of.add(allowed, denied, micros);
    true
}

/// What has decided nothing since it was taken last makes room.
fn taken<K: Eq + Hash>(
    counts: &mut HashMap<K, Counts>,
    name: impl Fn(&K) -> Arc<str>,
) -> HashMap<Arc<str>, Counts> {
    counts.retain(|_, counts| !counts.is_empty());
    let taken = counts.iter_mut();
    taken
        .map(|(of, counts)| (name(of), std::mem::take(counts)))
        .collect()
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
        assert!(gathered.add(names.iter().flat_map(both), None, 10));
        let decided = gathered.take();
        assert_eq!((decided.others.allowed, decided.others.denied), (50, 50));
        assert_eq!(decided.limits.len(), NAMES_MAX);
        assert_eq!(sums(&decided), (150, 150));
        assert_eq!(sums(&gathered.take()), (0, 0), "it was taken");
    }

    #[test]
    fn the_first_of_a_second_says_so_and_a_silent_limit_makes_room() {
        let gathered = Gathered::default();
        let [one, other]: [Arc<str>; 2] = ["one", "other"].map(Into::into);
        assert!(!gathered.add([], None, 10), "nothing was decided");
        assert!(gathered.add([(&one, Went::Allowed)], None, 10));
        assert!(!gathered.add([(&one, Went::Allowed)], None, 10));
        assert_eq!(sums(&gathered.take()), (2, 0));
        assert!(gathered.add([(&other, Went::Denied)], None, 10));
        let decided = gathered.take();
        assert_eq!(sums(&decided), (0, 1));
        assert!(!decided.limits.contains_key(&one));
    }

    #[test]
    fn what_an_api_key_has_asked_is_told_beside() {
        let gathered = Gathered::default();
        let key: ApiKeyId = "key_3fK9mQ2bXw7L".parse().unwrap();
        let limit: Arc<str> = "login".into();
        let decided = [(&limit, Went::Allowed), (&limit, Went::Denied)];
        gathered.add(decided, Some(key), 10);
        gathered.add([(&limit, Went::Allowed)], None, 10);
        let told = gathered.take();
        assert_eq!(sums(&told), (2, 1));
        let of_key = &told.api_keys[&*key.to_string()];
        assert_eq!((of_key.allowed, of_key.denied), (1, 1));
        assert!(gathered.take().api_keys.is_empty());
    }
}
