//! The most denied keys of five minutes.

use std::collections::HashMap;
use std::sync::Arc;

use super::{TopKey, TopKeys};

/// Keys of a slot: five times as many as a page shows. A key that has more than a hundredth of all denials is among them,
/// however many others there are.
pub(super) const KEYS_MAX: usize = 100;

/// About what a key takes beside its bytes: its counts, its place in a map that is half empty, and the head of its text.
const KEY_BYTES: usize = 104;

/// What a slot takes that has one key.
const SLOT_BYTES: usize = 256;

/// The most denied keys of five minutes, by Space-Saving: one that finds no room takes that of the least denied one, and its count.
#[derive(Debug)]
pub(super) struct Slot {
    number: u32,
    counts: Vec<Count>,
    /// Where each key stands among the counts.
    places: HashMap<Arc<str>, usize>,
    bytes: usize,
}

#[derive(Debug)]
struct Count {
    key: Arc<str>,
    allowed: u32,
    denied: u32,
    /// What it has of the one whose place it took.
    error: u32,
}

impl Slot {
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            counts: Vec::new(),
            places: HashMap::new(),
            bytes: SLOT_BYTES,
        }
    }

    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// About how many bytes it takes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn deny(&mut self, key: &str) {
        if let Some(count) = self.count(key) {
            count.denied = count.denied.saturating_add(1);
            return;
        }
        let least = self.least();
        let error = least.map_or(0, |place| self.counts[place].denied);
        let key: Arc<str> = key.into();
        let count = Count {
            key: Arc::clone(&key),
            allowed: 0,
            denied: error.saturating_add(1),
            error,
        };
        self.bytes += KEY_BYTES + key.len();
        let place = match least {
            Some(place) => {
                let gone = std::mem::replace(&mut self.counts[place], count);
                self.places.remove(&gone.key);
                self.bytes -= KEY_BYTES + gone.key.len();
                place
            }
            None => {
                self.counts.push(count);
                self.counts.len() - 1
            }
        };
        self.places.insert(key, place);
    }

    /// Counts it if the key is among those that were denied.
    pub(super) fn allow(&mut self, key: &str) {
        if let Some(count) = self.count(key) {
            count.allowed = count.allowed.saturating_add(1);
        }
    }

    pub(super) fn keys(&self) -> TopKeys {
        let keys = self.counts.iter().map(|count| TopKey {
            key: Arc::clone(&count.key),
            allowed: count.allowed.into(),
            denied: count.denied.into(),
            error: count.error.into(),
        });
        let rest = self.least().map_or(0, |place| self.counts[place].denied);
        TopKeys {
            keys: keys.collect(),
            rest: rest.into(),
        }
    }

    fn count(&mut self, key: &str) -> Option<&mut Count> {
        let place = *self.places.get(key)?;
        Some(&mut self.counts[place])
    }

    /// Where the least denied key stands, once there is no room for another. It looks at each of a hundred numbers, and only a key
    /// that is new to a full table pays for it: a list in order would cost every denial.
    fn least(&self) -> Option<usize> {
        let is_full = KEYS_MAX <= self.counts.len();
        let places = is_full.then_some(0..self.counts.len())?;
        places.min_by_key(|&place| self.counts[place].denied)
    }
}
