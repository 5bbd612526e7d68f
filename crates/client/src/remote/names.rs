//! What hits are called, so that each counts once however often it is asked.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::header::HeaderValue;

/// Most limits of which it is noted that their hits can have no names. Of more, each hit is asked twice.
const NAMELESS_MAX: usize = 1_024;

/// Names hits: a number that nobody else has, and a count.
pub(super) struct Names {
    origin: u128,
    next: AtomicU64,
    /// Limits whose hits can have no names, since their strategy remembers none.
    nameless: Mutex<HashSet<String>>,
}

impl Names {
    pub(super) fn new() -> Self {
        let mut origin = [0; 16];
        // A system that has no random bytes yet gives no program that asks over a network.
        getrandom::fill(&mut origin).expect("the system has random bytes");
        Self {
            origin: u128::from_le_bytes(origin),
            next: AtomicU64::new(0),
            nameless: Mutex::default(),
        }
    }

    /// The name of another hit on `limit`. `None`: its hits can have none.
    pub(super) fn next(&self, limit: &str) -> Option<HeaderValue> {
        if self.nameless().contains(limit) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{:032x}-{number:x}", self.origin);
        Some(HeaderValue::try_from(name).expect("digits can be in a header"))
    }

    /// A node has said that hits on `limit` can have no names.
    pub(super) fn on_nameless(&self, limit: &str) {
        let mut nameless = self.nameless();
        if nameless.len() < NAMELESS_MAX {
            nameless.insert(limit.to_owned());
        }
    }

    fn nameless(&self) -> MutexGuard<'_, HashSet<String>> {
        self.nameless.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_hits_of_any_two_programs_are_called_the_same() {
        let (one, two) = (Names::new(), Names::new());
        let names: HashSet<_> = (0..100)
            .flat_map(|_| [one.next("a"), one.next("b"), two.next("a")])
            .map(|name| name.unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names.len(), 300);
        assert!(names.iter().all(|name| name.len() <= 128));
    }

    #[test]
    fn a_limit_whose_hits_can_have_no_names_is_asked_without() {
        let names = Names::new();
        names.on_nameless("local");
        assert!(names.next("local").is_none() && names.next("owner").is_some());
    }
}
