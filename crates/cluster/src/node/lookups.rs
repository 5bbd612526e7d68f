//! Records that this node does not know and another member may: asked for one at a time, on the control plane.
//!
//! A change is answered after a second though a live member has not confirmed it; until that member does, an API key that was
//! just made is unknown there. Rather than refuse it, it asks. Exchanges bring whatever else it lacks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::catalogue::{Address, Kind, Place, Record};
use membership::Status;
use quota::{BootNanos, Nanos};

use super::Cluster;
use super::questions::{Question, encode};
use crate::wire;

/// Questions of this node in one second. Whoever guesses names costs the cluster no more than these, and everybody else who
/// brings something unknown meanwhile is refused as if nobody could be asked.
const ASKED_MAX: u32 = 100;
const SECOND: Nanos = Nanos::from_secs(1);

/// How long the answer may take: somebody waits for it, who is refused then.
const ANSWER: Duration = Duration::from_millis(200);

/// How long this node remembers that the other did not know it either.
const MISSED_FOR: Nanos = SECOND;

/// The questions of this node.
#[derive(Default)]
pub(super) struct Lookups {
    lately: Mutex<Lately>,
    /// Whom to ask, in turn.
    turn: AtomicUsize,
}

/// What this node asked lately.
#[derive(Default)]
struct Lately {
    /// When the second began in which it was asked so often.
    since: BootNanos,
    asked: u32,
    /// When nobody knew it. At most [`ASKED_MAX`] of this second and as many of the one before.
    missed: BTreeMap<Place, BootNanos>,
}

impl Lookups {
    fn lately(&self) -> MutexGuard<'_, Lately> {
        self.lately.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lately {
    /// Whether that may be asked now. It has been then.
    fn may_ask(&mut self, now: BootNanos, place: Place) -> bool {
        if self.since + SECOND <= now {
            (self.since, self.asked) = (now, 0);
            self.missed.retain(|_, at| now < *at + MISSED_FOR);
        }
        let missed_at = self.missed.get(&place);
        if ASKED_MAX <= self.asked || missed_at.is_some_and(|at| now < *at + MISSED_FOR) {
            return false;
        }
        self.asked += 1;
        true
    }

    fn miss(&mut self, now: BootNanos, place: Place) {
        self.missed.insert(place, now);
    }
}

impl Cluster {
    /// Asks one other live member for what people made under a name that is not known here, and says whether it is now. Nobody is
    /// asked beyond 100 times a second, or again within a second of which nobody knew.
    pub async fn look_up_record(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        let place = Place::of(&self.inner.keys, kind, kind.namespace(namespace), name);
        let now = || self.inner.clock.now().boot;
        if !self.inner.lookups.lately().may_ask(now(), place) {
            return false;
        }
        if let Some((address, record)) = self.ask_for(place).await {
            self.with_records(|state, now| state.catalogue.on_told(now, address, record));
        }
        let is_known = self.record(kind, namespace, name).is_some();
        if !is_known {
            self.inner.lookups.lately().miss(now(), place);
        }
        is_known
    }

    /// What another member has there, if it answers.
    pub(super) async fn ask_for(&self, place: Place) -> Option<(Address, Record)> {
        let mut members = self.peers();
        members.retain(|peer| {
            let version = self.inner.transport.version(peer.replica);
            peer.status != Status::Dead && version.is_some_and(wire::knows_accounts)
        });
        let turn = self.inner.lookups.turn.fetch_add(1, Ordering::Relaxed);
        let asked = members.get(turn.checked_rem(members.len())?)?;
        let question = encode(&Question::Record {
            place: place.to_string(),
        });
        let answer = self.control().ask(&asked.name, &question, ANSWER).await;
        let (address, record) = wire::decode_record(&answer.ok()?).ok()?;
        let Address {
            kind,
            namespace,
            name,
        } = &address;
        let is_that = Place::of(&self.inner.keys, *kind, namespace, name) == place;
        is_that.then_some((address, record))
    }

    /// What lies at the place that another asks for, as its bytes. Empty: nothing does.
    pub(super) fn answer_lookup(&self, place: &str) -> Vec<u8> {
        let Ok(place) = place.parse::<Place>() else {
            return Vec::new();
        };
        let state = self.inner.records.read();
        let record = state.catalogue.record_at(place);
        let bytes = record.map(|(address, record)| wire::encode_record(address, record));
        bytes.unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use quota::KeyHasher;

    use super::*;

    fn place(name: &str) -> Place {
        Place::of(&KeyHasher::new([7; 16]), Kind::ApiKey, "@service", name)
    }

    #[test]
    fn a_hundred_are_asked_for_in_a_second() {
        let mut lately = Lately::default();
        let at = |millis: u64| BootNanos::new(60_000_000_000 + millis * 1_000_000);
        let asked = |lately: &mut Lately, millis| {
            let names = (0..150).map(|number| format!("{millis} {number}"));
            let may = names.filter(|name| lately.may_ask(at(millis), place(name)));
            may.count()
        };
        assert_eq!(asked(&mut lately, 0), 100);
        assert_eq!(asked(&mut lately, 999), 0);
        assert_eq!(asked(&mut lately, 1_000), 100);
    }

    #[test]
    fn what_nobody_knew_is_asked_for_again_a_second_later() {
        let mut lately = Lately::default();
        let at = |millis: u64| BootNanos::new(60_000_000_000 + millis * 1_000_000);
        assert!(lately.may_ask(at(0), place("a")));
        assert!(lately.may_ask(at(1), place("a")), "not answered yet");
        lately.miss(at(500), place("a"));
        for millis in [501, 1_000, 1_499] {
            assert!(!lately.may_ask(at(millis), place("a")), "{millis}");
            assert!(lately.may_ask(at(millis), place("b")), "{millis}");
        }
        assert!(lately.may_ask(at(1_500), place("a")));
        assert!(lately.may_ask(at(9_000), place("b")));
        assert!(lately.missed.is_empty(), "it is forgotten");
    }
}
