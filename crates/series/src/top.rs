//! Which keys a limit denies most, of however many: in a table of few.
//!
//! Each five minutes of a limit have a [`Slot`], a table by *Space-Saving* (Metwally, Agrawal, El Abbadi: Efficient computation
//! of frequent and top-k elements in data streams, ICDT 2005). What slots and nodes tell is added up as in *Mergeable summaries*
//! (Agarwal et al., PODS 2012): a key that one of them does not tell of was denied there as often as its smallest count at most.
//!
//! Unlike all else of this crate it holds keys as clients gave them, and for no longer than it tells of them.

mod keys;
mod slot;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

pub use keys::{TopKey, TopKeys};
use slot::Slot;

/// How long a slot is, in seconds: what is told begins between 55 and 60 minutes ago.
const SLOT_SECS: u32 = 5 * 60;

/// Slots of an hour.
const SLOTS: u32 = 60 * 60 / SLOT_SECS;

/// About how many bytes a node holds of all limits: some 470 whose slots are all full, of keys of 20 bytes, or 3 800 that deny
/// ten keys in each. It comes to 80 MB of memory, as the series of a node do; to 89 MB where namespaces deny a single key each
/// (`cargo run --release -p series --example full-top`).
const BYTES_MAX: usize = 64 << 20;

/// Of one namespace, that nobody pushes all others out: of six limits with keys of a KiB, or some 58 with keys of 20 bytes.
const NAMESPACE_BYTES_MAX: usize = BYTES_MAX / 8;

/// What is left of what is too much, in tenths: so that room is not made for each one more.
const LEFT: usize = 9;

/// What a limit takes beside its slots, and a namespace that has one: names, and places in maps.
const LIMIT_BYTES: usize = 640;

/// The number of the slot of a second.
const fn slot_of(second: u32) -> u32 {
    second / SLOT_SECS
}

/// Whether the slot `number` is told of while `now` is the one that is not over. One later: a clock that was a little ahead.
const fn is_recent(number: u32, now: u32) -> bool {
    now < number.saturating_add(SLOTS) && number <= now.saturating_add(1)
}

/// The last hour of one limit.
#[derive(Default, Debug)]
struct Hour {
    /// In their order, without those in which nothing was denied.
    slots: VecDeque<Slot>,
}

impl Hour {
    fn bytes(&self) -> usize {
        let slots = self.slots.iter().map(Slot::bytes);
        LIMIT_BYTES + slots.sum::<usize>()
    }

    fn last(&self) -> Option<u32> {
        self.slots.back().map(Slot::number)
    }

    /// Lets go of what is told no more, also of what lies ahead since the clock was set back.
    fn let_go(&mut self, now: u32) {
        self.slots.retain(|slot| is_recent(slot.number(), now));
    }

    fn deny(&mut self, now: u32, key: &str) {
        let last = self.last();
        // A clock that steps back a little goes on in the slot that was begun.
        let goes_on = last.is_some_and(|last| now <= last && is_recent(last, now));
        if !goes_on {
            match last {
                // It was set back: what was told comes again.
                Some(last) if now < last => self.slots.clear(),
                _ => self.let_go(now),
            }
            self.slots.push_back(Slot::new(now));
        }
        let open = self.slots.back_mut().expect("one was begun");
        open.deny(key);
    }

    fn keys(&self, now: u32) -> TopKeys {
        let recent = self
            .slots
            .iter()
            .filter(|slot| is_recent(slot.number(), now));
        TopKeys::together(recent.map(Slot::keys))
    }
}

/// The limits of one namespace.
#[derive(Default, Debug)]
struct Namespace {
    limits: HashMap<Arc<str>, Hour>,
    bytes: usize,
}

/// The most denied keys of the limits of a node, of the last hour. What is beyond its bound is let go of: of a namespace the limit
/// that has denied nothing for longest, of a node the namespace.
#[derive(Debug)]
pub struct Tops {
    namespaces: HashMap<Arc<str>, Namespace>,
    bytes: usize,
    bytes_max: usize,
    namespace_bytes_max: usize,
    /// The last slot that was begun anywhere.
    last: u32,
}

impl Default for Tops {
    fn default() -> Self {
        Self {
            namespaces: HashMap::new(),
            bytes: 0,
            bytes_max: BYTES_MAX,
            namespace_bytes_max: NAMESPACE_BYTES_MAX,
            last: 0,
        }
    }
}

impl Tops {
    /// A limit has denied a hit of this key in the second `now`.
    pub fn deny(&mut self, now: u32, namespace: &Arc<str>, limit: &Arc<str>, key: &str) {
        let of = match self.namespaces.get_mut(namespace) {
            Some(known) => known,
            None => self.namespaces.entry(Arc::clone(namespace)).or_default(),
        };
        self.bytes -= of.bytes;
        let hour = match of.limits.get_mut(limit) {
            Some(known) => known,
            None => {
                of.bytes += LIMIT_BYTES;
                of.limits.entry(Arc::clone(limit)).or_default()
            }
        };
        of.bytes -= hour.bytes();
        hour.deny(slot_of(now), key);
        of.bytes += hour.bytes();
        if self.namespace_bytes_max < of.bytes {
            of.make_room(self.namespace_bytes_max);
        }
        self.bytes += of.bytes;
        if self.bytes_max < self.bytes {
            self.make_room();
        }
    }

    /// A limit has allowed a hit of this key, which is told if the key was denied before in the slot that is not over.
    pub fn allow(&mut self, now: u32, namespace: &str, limit: &str, key: &str) {
        let of = self.namespaces.get_mut(namespace);
        let hour = of.and_then(|of| of.limits.get_mut(limit));
        let open = hour.and_then(|hour| hour.slots.back_mut());
        if let Some(open) = open.filter(|open| slot_of(now) <= open.number()) {
            open.allow(key);
        }
    }

    /// What a limit has denied in the hour that ends with the second `now`.
    #[must_use]
    pub fn keys(&self, namespace: &str, limit: &str, now: u32) -> TopKeys {
        let of = self.namespaces.get(namespace);
        let hour = of.and_then(|of| of.limits.get(limit));
        hour.map_or_else(TopKeys::default, |hour| hour.keys(slot_of(now)))
    }

    /// Lets go of keys that are told no more, once in a slot. To be called now and then: nothing is held for longer.
    pub fn on_second(&mut self, now: u32) {
        let now = slot_of(now);
        if std::mem::replace(&mut self.last, now) == now {
            return;
        }
        self.bytes = 0;
        self.namespaces.retain(|_, of| {
            of.limits.retain(|_, hour| {
                hour.let_go(now);
                !hour.slots.is_empty()
            });
            of.bytes = of.limits.values().map(Hour::bytes).sum();
            self.bytes += of.bytes;
            !of.limits.is_empty()
        });
    }

    fn make_room(&mut self) {
        let last = |of: &Namespace| of.limits.values().filter_map(Hour::last).max();
        let mut by_last: Vec<_> = self.namespaces.iter().collect();
        by_last.sort_by_cached_key(|(name, of)| (last(of), Arc::clone(name)));
        let mut gone = Vec::new();
        for (name, of) in by_last {
            if self.bytes <= self.bytes_max / 10 * LEFT {
                break;
            }
            self.bytes -= of.bytes;
            gone.push(Arc::clone(name));
        }
        for name in gone {
            self.namespaces.remove(&name);
        }
    }
}

impl Namespace {
    fn make_room(&mut self, bytes_max: usize) {
        let mut by_last: Vec<_> = self.limits.iter().collect();
        by_last.sort_by_key(|(name, hour)| (hour.last(), Arc::clone(name)));
        let mut gone = Vec::new();
        for (name, hour) in by_last {
            if self.bytes <= bytes_max / 10 * LEFT {
                break;
            }
            self.bytes -= hour.bytes();
            gone.push(Arc::clone(name));
        }
        for name in gone {
            self.limits.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests;
