//! What clients were told, against what nodes count.

use std::collections::BTreeMap;

use crate::oracle::{RequestId, SimTime};

/// What a client knows of its hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// Nothing, yet.
    Nothing,
    /// It is counted.
    Counted { at: SimTime },
    /// It is counted, and a kill came within a second.
    CountedLate,
    /// It is not, for certain.
    Uncounted,
    /// Nobody knows.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Hit {
    key: usize,
    cost: u32,
    told: Told,
}

/// Units of one key.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Account {
    /// To be counted: a client was told so, and no kill excuses it.
    pub(super) due: u64,
    /// Which a kill excuses.
    pub(super) excused: u64,
    /// Of which nobody was told anything for certain.
    pub(super) unknown: u64,
}

impl Account {
    /// No more than that may be counted.
    pub(super) fn at_most(&self) -> u64 {
        self.due + self.excused + self.unknown
    }
}

/// Of all keys.
#[derive(Default, Debug)]
pub(super) struct Books {
    hits: BTreeMap<RequestId, Hit>,
    /// Resets that have no answer, and their keys.
    resets: BTreeMap<RequestId, usize>,
    /// Of which nobody knows whether they are reset.
    unsure: Vec<usize>,
    /// That were reset once.
    reset: Vec<usize>,
}

impl Books {
    pub(super) fn on_asked(&mut self, request: RequestId, key: usize, cost: u32) {
        let told = Told::Nothing;
        self.hits.insert(request, Hit { key, cost, told });
    }

    pub(super) fn on_reset_asked(&mut self, request: RequestId, key: usize) {
        self.resets.insert(request, key);
    }

    /// A client is told that its hit is counted, or not, or that its key is reset.
    pub(super) fn on_answered(&mut self, at: SimTime, request: RequestId, is_counted: bool) {
        if let Some(key) = self.resets.remove(&request) {
            self.hits.retain(|_, hit| hit.key != key);
            self.reset.push(key);
        }
        if let Some(hit) = self.hits.get_mut(&request) {
            hit.told = match is_counted {
                true => Told::Counted { at },
                false => Told::Uncounted,
            };
        }
    }

    /// A client is told that there is no decision.
    pub(super) fn on_given_up(&mut self, request: RequestId, is_uncounted: bool) {
        if let Some(key) = self.resets.remove(&request) {
            self.unsure.push(key);
        }
        if let Some(hit) = self.hits.get_mut(&request) {
            hit.told = match is_uncounted {
                true => Told::Uncounted,
                false => Told::Unknown,
            };
        }
    }

    /// All nodes have gone: nobody answers any more. `killed`: when they were.
    pub(super) fn on_gone(&mut self, killed: Option<SimTime>, second: SimTime) {
        for hit in self.hits.values_mut() {
            match (hit.told, killed) {
                (Told::Nothing, _) => hit.told = Told::Unknown,
                (Told::Counted { at }, Some(killed)) if killed < at + second => {
                    hit.told = Told::CountedLate;
                }
                _ => {}
            }
        }
        self.unsure
            .extend(std::mem::take(&mut self.resets).into_values());
    }

    /// How many hits or resets have no answer.
    pub(super) fn open(&self) -> usize {
        let open = self.hits.values().filter(|hit| hit.told == Told::Nothing);
        open.count() + self.resets.len()
    }

    /// Whether the key was reset, and nothing was asked of it since.
    pub(super) fn is_blank(&self, key: usize) -> bool {
        self.reset.contains(&key) && self.hits.values().all(|hit| hit.key != key)
    }

    /// `None`: nobody knows.
    pub(super) fn account(&self, key: usize) -> Option<Account> {
        let mut account = Account::default();
        for hit in self.hits.values().filter(|hit| hit.key == key) {
            let units = u64::from(hit.cost);
            match hit.told {
                Told::Counted { .. } => account.due += units,
                Told::CountedLate => account.excused += units,
                Told::Nothing | Told::Unknown => account.unknown += units,
                Told::Uncounted => {}
            }
        }
        let is_being_reset = self.resets.values().any(|&reset| reset == key);
        (!self.unsure.contains(&key) && !is_being_reset).then_some(account)
    }
}
