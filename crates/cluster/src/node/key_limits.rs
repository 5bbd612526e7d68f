//! Limits of single keys, set at run time and known on every node.
//!
//! A last-writer-wins register per key, told to all on the control plane and handed to newcomers.

use std::collections::HashMap;
use std::sync::Mutex;

use crdts::{CvRDT, LWWReg};
use quota::{Algorithm, Limit, Nanos};
use serde::{Deserialize, Serialize};

/// Most keys with a limit of their own. At some 100 bytes each 10 MiB; a copy for a newcomer must fit
/// into one control message.
const KEY_LIMITS_MAX: usize = 30_000;

/// When a limit was set, and by whom: stamps never tie.
type Marker = (u64, u32);

/// One key's limit as it travels.
#[derive(Serialize, Deserialize)]
struct Entry {
    key: String,
    algorithm: String,
    units: u32,
    period: u64,
    burst: u32,
    marker: Marker,
}

#[derive(Default)]
pub(crate) struct KeyLimits {
    registers: Mutex<HashMap<String, LWWReg<Limit, Marker>>>,
}

impl KeyLimits {
    pub(crate) fn get(&self, key: &str) -> Option<Limit> {
        let registers = self
            .registers
            .lock()
            .expect("nothing panics under this lock");
        registers.get(key).map(|register| register.val)
    }

    /// Sets a limit; what to tell the others. `None`: there are too many.
    pub(crate) fn set(&self, key: &str, limit: Limit, marker: Marker) -> Option<Vec<u8>> {
        let mut registers = self
            .registers
            .lock()
            .expect("nothing panics under this lock");
        if KEY_LIMITS_MAX <= registers.len() && !registers.contains_key(key) {
            return None;
        }
        let register = LWWReg { val: limit, marker };
        match registers.get_mut(key) {
            // A clock that went back must not make the newer limit lose.
            Some(known) if marker <= known.marker => {
                let marker = (known.marker.0 + 1, marker.1);
                *known = LWWReg { val: limit, marker };
            }
            Some(known) => *known = register,
            None => {
                registers.insert(key.to_owned(), register);
            }
        }
        let told = registers.get(key).map(|register| entry(key, register));
        Some(postcard::to_allocvec(&Vec::from_iter(told)).expect("entries have a serial form"))
    }

    /// Everything, for a newcomer.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let registers = self
            .registers
            .lock()
            .expect("nothing panics under this lock");
        let entries: Vec<Entry> = registers
            .iter()
            .map(|(key, register)| entry(key, register))
            .collect();
        postcard::to_allocvec(&entries).expect("entries have a serial form")
    }

    /// Joins what another node has. What is not understood, or not a limit, is ignored.
    pub(crate) fn join(&self, bytes: &[u8]) {
        let Ok(entries) = postcard::from_bytes::<Vec<Entry>>(bytes) else {
            tracing::warn!("limits of keys that are not understood, ignored");
            return;
        };
        let mut registers = self
            .registers
            .lock()
            .expect("nothing panics under this lock");
        for entry in entries {
            let Some(limit) = limit_of(&entry) else {
                continue;
            };
            let register = LWWReg {
                val: limit,
                marker: entry.marker,
            };
            let has_room = registers.len() < KEY_LIMITS_MAX;
            match registers.get_mut(&entry.key) {
                Some(known) => known.merge(register),
                None if has_room => {
                    registers.insert(entry.key, register);
                }
                None => {}
            }
        }
    }
}

fn entry(key: &str, register: &LWWReg<Limit, Marker>) -> Entry {
    let limit = register.val;
    Entry {
        key: key.to_owned(),
        algorithm: limit.algorithm().to_string(),
        units: limit.units(),
        period: limit.period().get(),
        burst: limit.burst(),
        marker: register.marker,
    }
}

fn limit_of(entry: &Entry) -> Option<Limit> {
    let algorithm: Algorithm = entry.algorithm.parse().ok()?;
    let limit = Limit::new(algorithm, entry.units, Nanos::new(entry.period)).ok()?;
    if limit.burst() == entry.burst {
        Some(limit)
    } else {
        limit.with_burst(entry.burst).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(units: u32) -> Limit {
        Limit::new(Algorithm::Gcra, units, Nanos::from_secs(60)).unwrap()
    }

    #[test]
    fn the_last_writer_wins_on_every_node() {
        let (one, two) = (KeyLimits::default(), KeyLimits::default());
        let first = one.set("user", limit(5), (10, 1)).unwrap();
        let second = two.set("user", limit(7), (11, 2)).unwrap();
        one.join(&second);
        two.join(&first);
        assert_eq!(
            (one.get("user"), two.get("user")),
            (Some(limit(7)), Some(limit(7)))
        );
        let third = one.set("user", limit(9), (3, 1)).unwrap();
        two.join(&third);
        assert_eq!(
            two.get("user"),
            Some(limit(9)),
            "a clock that went back does not undo a change"
        );
    }

    #[test]
    fn a_newcomer_gets_all_and_nonsense_changes_nothing() {
        let (one, newcomer) = (KeyLimits::default(), KeyLimits::default());
        one.set("user", limit(5).with_burst(2).unwrap(), (10, 1));
        newcomer.join(&one.encode());
        newcomer.join(b"\xff\xff\xff\xff nonsense");
        assert_eq!(newcomer.get("user"), Some(limit(5).with_burst(2).unwrap()));
    }
}
