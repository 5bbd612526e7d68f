//! What the oracle remembers of one key: two plain replays of what was decided.

use std::collections::{HashMap, HashSet, VecDeque};

use delta_crdt::{ReplicaId, Term};
use quota::{Algorithm, Cost, Count, Limit, Log, LogEntry, Nanos, Stamp, UnixNanos, Verdict};

use super::{Decided, FAST_LAG, RequestId, SKEW, SimTime, UNANSWERED, Violation};

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) request: RequestId,
    pub(super) owner: ReplicaId,
    pub(super) term: Option<Term>,
    pub(super) decided: SimTime,
    pub(super) wall: UnixNanos,
    pub(super) cost: u32,
    pub(super) answered: bool,
    /// The owner was lost before a replica needs to have had it.
    pub(super) excused: bool,
    /// It was decided while the sides of a partition counted apart.
    pub(super) apart: bool,
    /// It need not be remembered: the key was evicted since, or sides have met whose fold is not exact. That there was such
    /// a hit is known here all the same: its verdict may yet be repeated.
    pub(super) dropped: bool,
}

impl Entry {
    /// Whether the owner must remember it.
    fn is_promised(&self) -> bool {
        self.answered && !self.excused && !self.dropped
    }

    fn count_into(&self, limit: &Limit, count: &mut Option<Count>) {
        // One side may have begun the next window a moment before another, by its own clock, counted the last hits of
        // this one: where they meet, those are not of the next.
        if let Some(Count::FixedWindow(window)) = count
            && self.apart
            && self.wall + window.period() < window.end()
        {
            return;
        }
        force(limit, self.wall, count, self.cost, self.request);
    }
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) limit: Limit,
    /// Everything answered and settled.
    pub(super) settled: Option<Count>,
    pub(super) recent: VecDeque<Entry>,
    pub(super) upper: Option<Count>,
    /// The upper model before the hit that began its newest window.
    upper_before: Option<Count>,
    /// A write that cannot be replayed exactly; nothing is checked from there on.
    pub(super) tainted: bool,
    /// The sides of a partition count apart, or have just met.
    pub(super) apart: bool,
    /// Sides have counted apart once, and the fold of this algorithm may be stricter than the truth.
    pub(super) forked: bool,
    pub(super) per_side: HashMap<usize, Option<Count>>,
    /// Requests that were counted and that their clients have named: asked again they are admitted, and not counted.
    pub(super) named: HashSet<RequestId>,
}

impl Key {
    /// A key of which nothing is known.
    pub(super) fn new(limit: Limit) -> Self {
        Self {
            limit,
            settled: None,
            recent: VecDeque::new(),
            upper: None,
            upper_before: None,
            tainted: false,
            apart: false,
            forked: false,
            per_side: HashMap::new(),
            named: HashSet::new(),
        }
    }

    /// Nobody holds it any more.
    pub(super) fn lose(&mut self) {
        self.settled = None;
        self.recent.clear();
        self.named.clear();
    }

    /// Counts a hit that somebody admitted in the upper model.
    pub(super) fn count_upper(&mut self, wall: UnixNanos, units: u32, request: RequestId) {
        let before = self.upper.clone();
        force(&self.limit, wall, &mut self.upper, units, request);
        if window_end(before.as_ref()) != window_end(self.upper.as_ref()) {
            self.upper_before = before;
        }
    }

    /// Whether everything ever admitted leaves room at `wall`, by the clock of who decides.
    ///
    /// A clock ahead of that one may have begun the next window, and what was admitted there need not be known to an
    /// owner that comes after, unless it was answered: until its own clock gets there it decides by the window before.
    pub(super) fn has_room(&self, wall: UnixNanos, cost: Cost) -> bool {
        let allows = |wall, count: &Option<Count>| {
            judge(&self.limit, wall, count.as_ref(), cost) == Verdict::Allow
        };
        allows(wall - Nanos::new(SKEW), &self.upper) && allows(wall, &self.upper_before)
    }

    /// Folds what can no longer be excused into the settled count.
    pub(super) fn settle(&mut self, at: SimTime) {
        while let Some(entry) = self.recent.front() {
            let settled = entry.answered && entry.decided + FAST_LAG < at;
            let never = entry.decided + UNANSWERED < at;
            if !(settled || never) {
                return;
            }
            if let Some(entry) = self.recent.pop_front()
                && entry.is_promised()
            {
                entry.count_into(&self.limit, &mut self.settled);
            }
        }
    }

    /// What the answered hits alone amount to.
    pub(super) fn lower(&self) -> Option<Count> {
        let mut count = self.settled.clone();
        for entry in self.recent.iter().filter(|entry| entry.is_promised()) {
            entry.count_into(&self.limit, &mut count);
        }
        count
    }

    /// P1 and P2: a hit that is admitted, although those that were answered fill the limit, by the clock of who decides.
    pub(super) fn over_admission(
        &self,
        at: SimTime,
        decided: &Decided,
        cost: Cost,
    ) -> Option<Violation> {
        let wall = decided.wall + Nanos::new(SKEW);
        let Verdict::Deny { retry_after } = judge(&self.limit, wall, self.lower().as_ref(), cost)
        else {
            return None;
        };
        let story = format!(
            "key {} ({:?}): request {} was admitted by {:?}, although answered hits alone deny it for {retry_after}",
            decided.key, self.limit, decided.request, decided.owner
        );
        Some(Violation {
            promise: "P1/P2",
            at,
            story,
        })
    }

    /// P5, `available`: no side admits more than the limit by itself.
    pub(super) fn check_side(
        &mut self,
        at: SimTime,
        decided: &Decided,
        cost: Cost,
        violations: &mut Vec<Violation>,
    ) {
        let count = self.per_side.entry(decided.side).or_default();
        if let Verdict::Deny { .. } = judge(
            &self.limit,
            decided.wall + Nanos::new(SKEW),
            count.as_ref(),
            cost,
        ) {
            let story = format!(
                "key {} ({:?}): side {} alone admitted more than the limit (request {})",
                decided.key, self.limit, decided.side, decided.request
            );
            violations.push(Violation {
                promise: "P5",
                at,
                story,
            });
        }
        force(
            &self.limit,
            decided.wall,
            count,
            cost.units(),
            decided.request,
        );
    }
}

/// Whether the fold of what two sides counted is neither stricter nor laxer than one node's count.
pub(super) fn is_exact(limit: &Limit) -> bool {
    matches!(
        limit.algorithm(),
        Algorithm::FixedWindow | Algorithm::SlidingLog
    )
}

/// The end of the window that is counted in, of an algorithm that has windows.
fn window_end(count: Option<&Count>) -> Option<UnixNanos> {
    match count? {
        Count::FixedWindow(window) => Some(window.end()),
        Count::SlidingCounter(counter) => Some(counter.end()),
        _ => None,
    }
}

pub(super) fn judge(limit: &Limit, wall: UnixNanos, count: Option<&Count>, cost: Cost) -> Verdict {
    limit
        .hit(wall, &mut count.cloned(), cost, Stamp { term: 1, seq: 1 })
        .decision
        .verdict
}

/// Counts a hit that was admitted, whether or not it fits.
pub(crate) fn force(
    limit: &Limit,
    wall: UnixNanos,
    count: &mut Option<Count>,
    units: u32,
    request: RequestId,
) {
    let stamp = Stamp {
        term: u64::MAX,
        seq: request + 1,
    };
    if limit
        .hit(wall, count, Cost::new(units), stamp)
        .decision
        .verdict
        == Verdict::Allow
    {
        return;
    }
    *count = match (limit.algorithm(), count.take()) {
        (Algorithm::SlidingLog, Some(Count::SlidingLog(log))) => {
            let forced = LogEntry {
                at: wall,
                cost: units,
                stamp,
            };
            let entries = log.entries().iter().copied().chain([forced]);
            Log::from_entries(limit.period(), entries).map(|log| Count::SlidingLog(Box::new(log)))
        }
        (_, Some(count)) => Some(count.plus(limit, wall, i64::from(units))),
        (_, None) => None,
    };
}
