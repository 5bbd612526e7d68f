//! The promises as checks over everything that was decided and answered.
//!
//! The oracle sees each decision at the moment it is made, with the clock reading it was made at, and
//! each answer at the moment its client gets it. For every key it keeps two models, both plain replays
//! through `quota`:
//!
//! - the *lower* one counts only hits whose clients were told that they passed. A decision that
//!   admits although the lower model denies has forgotten something (P1, P2, P3, P5);
//! - the *upper* one counts every hit that was admitted by anybody, answered or not. A denial that the
//!   upper model would have admitted has counted something twice (P1).

mod key;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use coordinator::NoDecision;
use delta_crdt::{ReplicaId, Term};
use quota::{Cost, Decision, Limit, Nanos, UnixNanos, Verdict};
use shard::Operation;

use key::{Entry, Key, is_exact};

pub(crate) use key::force;

/// True time of the simulation: nanoseconds since its start.
pub type SimTime = u64;

/// One request of one client, however often it is forwarded.
pub(crate) type RequestId = u64;

/// After this long an answered hit has reached a replica, even with `ack = "fast"`: `max_lag`, and the
/// messages that were under way.
const FAST_LAG: SimTime = 300_000_000;

/// Most by which two nodes' wall clocks differ in the simulation. Exactness is in cluster time, give or take this.
pub(crate) const SKEW: u64 = 100_000_000;

/// Wall time at the start of a run, unless that is to be another.
pub(crate) const EPOCH: u64 = 1_700_000_000_000_000_000;

/// Most by which the clock of a node that decides may be off the median of all.
pub(crate) const MAX_SKEW: Nanos = Nanos::from_millis(130);

/// A hit that nobody answered for so long never will be: longer than clients retry.
const UNANSWERED: SimTime = 12_000_000_000;

/// Marks the stamp of a hit's second count in a log, which knows entries by their stamps.
const COUNTED_AGAIN: RequestId = 1 << 48;

/// What a violated promise looks like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Its number: `P1` to `P6`, `T1` and `T2`, `L1` to `L3`, `R1` to `R7`, `C1` to `C7`.
    pub promise: &'static str,
    /// When.
    pub at: SimTime,
    /// What happened.
    pub story: String,
}

impl Violation {
    /// Adds one to those of a run, which has one of each promise.
    pub(crate) fn first_of(run: &mut Vec<Self>, promise: &'static str, at: SimTime, story: String) {
        if run.iter().all(|known| known.promise != promise) {
            run.push(Self { promise, at, story });
        }
    }
}

/// The checkers' memory of one run.
#[derive(Debug)]
pub(crate) struct Oracle {
    keys: Vec<Key>,
    violations: Vec<Violation>,
    /// Admissions and denials that break a promise if their clients ever hear of them.
    over_admitted: HashMap<RequestId, Violation>,
    denied_for_nothing: HashMap<RequestId, Violation>,
    /// Requests that some owner has counted.
    counted: HashSet<RequestId>,
    /// Requests whose clients were told that they were not.
    told_uncounted: HashSet<RequestId>,
    /// Whether answers wait for a replica.
    replicated: bool,
    /// Wall time at the start of the run.
    epoch: u64,
    /// How many decisions were checked.
    pub(crate) decisions: u64,
    /// How many of them admitted.
    pub(crate) admitted: u64,
}

/// A decision as the oracle is told of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decided {
    /// Whose request.
    pub(crate) request: RequestId,
    /// Whether its client has named it, and asks it again.
    pub(crate) is_named: bool,
    /// Index of the key.
    pub(crate) key: usize,
    /// What was asked.
    pub(crate) operation: Operation,
    /// Who decided.
    pub(crate) owner: ReplicaId,
    /// Under which term.
    pub(crate) term: Option<Term>,
    /// The side of a partition that the owner is on.
    pub(crate) side: usize,
    /// The owner's wall clock.
    pub(crate) wall: UnixNanos,
    /// What it decided.
    pub(crate) decision: Decision,
}

/// Who admitted a hit last, under which term, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted {
    pub(crate) owner: ReplicaId,
    pub(crate) term: Option<Term>,
    pub(crate) at: SimTime,
}

/// Whether this decision has changed a count.
fn is_counted(decided: &Decided) -> bool {
    match decided.operation {
        Operation::Hit(cost) => cost != Cost::PEEK && decided.decision.verdict == Verdict::Allow,
        Operation::Refund(_) | Operation::Reset => true,
    }
}

impl Oracle {
    /// An oracle for keys under these limits.
    #[must_use]
    pub(crate) fn new(limits: &[Limit], replicated: bool, epoch: u64) -> Self {
        let keys = limits.iter().map(|&limit| Key::new(limit));
        Self {
            keys: keys.collect(),
            violations: Vec::new(),
            over_admitted: HashMap::new(),
            denied_for_nothing: HashMap::new(),
            counted: HashSet::new(),
            told_uncounted: HashSet::new(),
            replicated,
            epoch,
            decisions: 0,
            admitted: 0,
        }
    }

    /// The promises broken so far.
    #[must_use]
    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// A promise was seen broken from outside.
    pub(crate) fn report(&mut self, promise: &'static str, at: SimTime, story: String) {
        self.violations.push(Violation { promise, at, story });
    }

    /// A node decided.
    pub(crate) fn decided(&mut self, at: SimTime, decided: Decided) {
        self.decisions += 1;
        let off = decided.wall.get().abs_diff(self.epoch + at);
        if SKEW + MAX_SKEW.get() < off {
            let story = format!(
                "{:?} decided request {} by a clock that is off by {} ms",
                decided.owner,
                decided.request,
                off / 1_000_000
            );
            self.report("P1", at, story);
        }
        if is_counted(&decided) {
            self.counted.insert(decided.request);
            if self.told_uncounted.contains(&decided.request) {
                let story = format!(
                    "request {} was counted by {:?} after its client had been told that it was not",
                    decided.request, decided.owner
                );
                self.report("T1", at, story);
            }
        }
        let key = &mut self.keys[decided.key];
        key.settle(at);
        let Operation::Hit(cost) = decided.operation else {
            key.tainted = true;
            return;
        };
        if key.tainted || cost == Cost::PEEK {
            return;
        }
        match decided.decision.verdict {
            Verdict::Allow => {
                self.admitted += 1;
                let again = key
                    .recent
                    .iter_mut()
                    .find(|entry| entry.request == decided.request);
                if let Some(entry) = again {
                    // A retry: the next owner repeats the verdict, or counts a hit that died with the old one. That one
                    // may only have been paused, and then both counts meet: the upper model has both. Within one
                    // term, and once answered, a hit must not be counted again.
                    // A hit that its client has named is asked again after it was answered, too, and may be lost by then.
                    let may_be_lost = decided.is_named && entry.excused;
                    let may_be_unknown = key.apart || !entry.answered || may_be_lost;
                    let is_another = entry.term != decided.term;
                    let is_counted_again = may_be_unknown && is_another;
                    entry.owner = decided.owner;
                    entry.term = decided.term;
                    entry.decided = at;
                    entry.excused = false;
                    entry.apart |= key.apart;
                    if is_counted_again {
                        let again = decided.request | COUNTED_AGAIN;
                        key.count_upper(decided.wall, cost.units(), again);
                    }
                    // What a deposed owner admitted beyond the limit was told to nobody: whoever decides it after that one is
                    // judged in its place.
                    let was_over = is_another
                        && (!key.apart || decided.is_named)
                        && self.over_admitted.remove(&decided.request).is_some();
                    if was_over
                        && !key.apart
                        && let Some(violation) = key.over_admission(at, &decided, cost)
                    {
                        self.over_admitted.insert(decided.request, violation);
                    }
                    return;
                }
                // Settled since, and asked again by its name: nothing may have changed.
                if decided.is_named && !key.named.insert(decided.request) && !key.apart {
                    return;
                }
                if key.apart {
                    key.check_side(at, &decided, cost, &mut self.violations);
                } else if let Some(violation) = key.over_admission(at, &decided, cost) {
                    self.over_admitted.insert(decided.request, violation);
                }
                key.count_upper(decided.wall, cost.units(), decided.request);
                key.recent.push_back(Entry {
                    request: decided.request,
                    owner: decided.owner,
                    term: decided.term,
                    decided: at,
                    wall: decided.wall,
                    cost: cost.units(),
                    answered: false,
                    excused: false,
                    apart: key.apart,
                    dropped: false,
                });
            }
            Verdict::Deny { .. } if !key.apart && !key.forked => {
                if key.has_room(decided.wall, cost) {
                    let story = format!(
                        "key {} ({:?}): request {} was denied by {:?}, although everything ever admitted leaves room",
                        decided.key, key.limit, decided.request, decided.owner
                    );
                    self.denied_for_nothing.insert(
                        decided.request,
                        Violation {
                            promise: "P1",
                            at,
                            story,
                        },
                    );
                }
            }
            Verdict::Deny { .. } | Verdict::NeverConforms => {}
        }
    }

    /// Who admitted a hit last, if that is known.
    pub(crate) fn admitted_by(&self, request: RequestId, key: usize) -> Option<Admitted> {
        let mut recent = self.keys[key].recent.iter().rev();
        let entry = recent.find(|entry| entry.request == request)?;
        Some(Admitted {
            owner: entry.owner,
            term: entry.term,
            at: entry.decided,
        })
    }

    /// A client got its answer. A hit that an owner admitted before it died may be denied by the next one:
    /// what counts is what the client was told.
    pub(crate) fn answered(&mut self, request: RequestId, key: usize, verdict: Verdict) {
        if verdict != Verdict::Allow {
            self.denied(request);
        } else if let Some(entry) = self.keys[key]
            .recent
            .iter_mut()
            .rev()
            .find(|entry| entry.request == request)
        {
            entry.answered = true;
            if let Some(violation) = self.over_admitted.remove(&request) {
                self.violations.push(violation);
            }
        }
    }

    /// A client is told that there is no decision, and what became of its hit. `has_left`: an attempt was decided or sent.
    pub(crate) fn gave_up(
        &mut self,
        at: SimTime,
        request: RequestId,
        error: NoDecision,
        has_left: bool,
    ) {
        if error.is_uncounted() {
            self.told_uncounted.insert(request);
            if self.counted.contains(&request) {
                let story =
                    format!("request {request} was counted, and its client is told: {error}");
                self.report("T1", at, story);
            }
        } else if !has_left {
            let story =
                format!("request {request} never left its node, and its client is told: {error}");
            self.report("T2", at, story);
        }
    }

    fn denied(&mut self, request: RequestId) {
        if let Some(violation) = self.denied_for_nothing.remove(&request) {
            self.violations.push(violation);
        }
    }

    /// A node was lost, or cut off, without a warning.
    pub(crate) fn lost(&mut self, at: SimTime, owner: ReplicaId) {
        if self.replicated {
            return;
        }
        for key in &mut self.keys {
            for entry in &mut key.recent {
                entry.excused |= entry.owner == owner && at < entry.decided + FAST_LAG;
            }
        }
    }

    /// The last node was lost: what was answered before is forgotten, and nobody promised otherwise.
    pub(crate) fn all_lost(&mut self) {
        for key in &mut self.keys {
            key.lose();
        }
    }

    /// Every holder of these keys was lost at once: what was answered before is forgotten, and nobody promised otherwise.
    pub(crate) fn holders_lost(&mut self, keys: impl IntoIterator<Item = usize>) {
        for key in keys {
            self.keys[key].lose();
        }
    }

    /// Somebody had no room for a key and forgot it: what was answered before, nobody promised to remember.
    pub(crate) fn evicted(&mut self, key: usize) {
        let key = &mut self.keys[key];
        key.settled = None;
        key.per_side.clear();
        for entry in &mut key.recent {
            entry.dropped = true;
        }
    }

    /// The cluster splits: until [`Oracle::healed`] every side counts by itself.
    pub(crate) fn split(&mut self, at: SimTime) {
        for key in &mut self.keys {
            key.settle(at);
            key.apart = true;
            key.forked = !is_exact(&key.limit);
            key.per_side.clear();
        }
    }

    /// The sides have met, and their counts have been joined.
    ///
    /// Counters and logs must add up from here on. What a draining key owes after two sides have drained
    /// it at once is a matter of the fold, whose own laws bound it: such keys start anew here.
    pub(crate) fn healed(&mut self) {
        for key in &mut self.keys {
            key.apart = false;
            if !is_exact(&key.limit) {
                key.settled = None;
                for entry in &mut key.recent {
                    entry.dropped = true;
                }
            }
        }
    }

    /// An owner's view of a key must hold at least what was answered.
    pub(crate) fn owner_sees(
        &mut self,
        at: SimTime,
        key: usize,
        owner: ReplicaId,
        wall: UnixNanos,
        seen: Decision,
    ) {
        let index = key;
        let key = &mut self.keys[key];
        key.settle(at);
        if key.tainted || key.apart {
            return;
        }
        let known = key
            .limit
            .peek(wall + Nanos::new(SKEW), key.lower().as_ref());
        if known.remaining < seen.remaining {
            let story = format!(
                "key {index} ({:?}): {owner:?} sees {} remaining, answered hits leave {}",
                key.limit, seen.remaining, known.remaining
            );
            self.violations.push(Violation {
                promise: "P2/P3",
                at,
                story,
            });
        }
    }
}
