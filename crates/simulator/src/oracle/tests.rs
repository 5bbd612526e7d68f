//! What the oracle must not take for a broken promise, beside what it must.

use delta_crdt::{ReplicaId, Term};
use quota::{Algorithm, Cost, Limit, Nanos, UnixNanos, Verdict};
use shard::Operation;

use super::{Decided, EPOCH, Oracle, RequestId, SimTime};

const MILLIS: SimTime = 1_000_000;

/// Requests from here on have names.
const NAMED: RequestId = 100;

struct Play {
    oracle: Oracle,
    limit: Limit,
}

impl Play {
    /// One key with a limit of so many in four seconds. A window ends four seconds after the start.
    fn new(algorithm: Algorithm, units: u32) -> Self {
        let limit = Limit::new(algorithm, units, Nanos::from_secs(4)).expect("within bounds");
        Self {
            oracle: Oracle::new(&[limit], true, EPOCH),
            limit,
        }
    }

    /// `owner`, whose clock is ahead by so many milliseconds, decides a hit.
    fn decides(
        &mut self,
        at: SimTime,
        owner: u32,
        ahead: SimTime,
        request: RequestId,
        is_admitted: bool,
    ) {
        let wall = UnixNanos::new(EPOCH + (at + ahead) * MILLIS);
        let mut decision = self.limit.peek(wall, None);
        if !is_admitted {
            let retry_after = Nanos::from_millis(1);
            decision.verdict = Verdict::Deny { retry_after };
        }
        let replica = ReplicaId(owner);
        let decided = Decided {
            request,
            is_named: NAMED <= request,
            key: 0,
            operation: Operation::Hit(Cost::ONE),
            owner: replica,
            term: Some(Term {
                number: owner,
                replica,
            }),
            side: 0,
            wall,
            decision,
        };
        self.oracle.decided(at * MILLIS, decided);
    }

    fn tells(&mut self, request: RequestId, verdict: Verdict) {
        self.oracle.answered(request, 0, verdict);
    }

    /// Decides a hit and tells its client.
    fn answers(&mut self, at: SimTime, owner: u32, request: RequestId, is_admitted: bool) {
        self.decides(at, owner, 0, request, is_admitted);
        let retry_after = Nanos::from_millis(1);
        self.tells(
            request,
            match is_admitted {
                true => Verdict::Allow,
                false => Verdict::Deny { retry_after },
            },
        );
    }

    fn broken(&self) -> Vec<&'static str> {
        let violations = self.oracle.violations().iter();
        violations.map(|violation| violation.promise).collect()
    }
}

/// Seed 990: the old owner began the next window by a clock 57 ms ahead, with a hit that nobody was told of. The next owner
/// denied by the window before, which was full and had two milliseconds left.
#[test]
fn a_denial_is_judged_by_the_window_of_whoever_denies() {
    let mut play = Play::new(Algorithm::FixedWindow, 2);
    play.answers(3_900, 1, 1, true);
    play.answers(3_905, 1, 2, true);
    play.decides(3_950, 1, 60, 3, true);
    play.answers(3_960, 2, 4, false);
    assert!(play.broken().is_empty());
    play.answers(4_150, 2, 5, false);
    assert_eq!(
        play.broken(),
        ["P1"],
        "one of two in the window that began at 4 s"
    );
}

/// Seed 172, on narrow links: a hit was decided while sides counted apart and answered after they had met, and was taken for
/// one of the later window.
#[test]
fn a_verdict_that_is_repeated_after_a_heal_counts_where_it_was_decided() {
    let mut play = Play::new(Algorithm::SlidingCounter, 1);
    play.oracle.split(3_800 * MILLIS);
    play.decides(3_900, 1, 0, 1, true);
    play.oracle.healed();
    play.answers(4_100, 2, 1, true);
    play.answers(8_010, 2, 2, true);
    assert!(play.broken().is_empty());
    play.answers(8_020, 2, 3, true);
    assert_eq!(play.broken(), ["P1/P2"]);
}

/// Seed 830: a deposed owner admitted a hit beyond the limit, and could tell nobody. Whoever owned the key then decided it anew,
/// and is judged by what held then.
#[test]
fn what_is_decided_anew_is_judged_anew() {
    for (again_at, broken) in [(4_300, &[][..]), (3_000, &["P1/P2"])] {
        for request in [2, NAMED] {
            let mut play = Play::new(Algorithm::SlidingLog, 1);
            play.answers(100, 2, 1, true);
            play.decides(110, 1, 0, request, true);
            play.answers(again_at, 2, request, true);
            assert_eq!(play.broken(), broken, "request {request} at {again_at}");
        }
    }
    let mut play = Play::new(Algorithm::SlidingLog, 1);
    play.answers(100, 2, 1, true);
    play.answers(110, 1, 2, true);
    assert_eq!(play.broken(), ["P1/P2"], "by whom it was told");
}

/// A client asks again what was answered long ago. That it is admitted once more is right, and that it is counted once more is
/// not: a later denial shows it.
#[test]
fn a_hit_that_is_asked_again_by_its_name_is_counted_once() {
    let mut play = Play::new(Algorithm::SlidingLog, 3);
    play.answers(100, 1, NAMED, true);
    play.answers(1_000, 1, 1, true);
    play.answers(1_500, 2, NAMED, true);
    play.answers(1_600, 2, 2, true);
    assert!(play.broken().is_empty());
    play.answers(1_700, 2, 3, false);
    assert!(play.broken().is_empty(), "three of three are used");

    let mut play = Play::new(Algorithm::SlidingLog, 3);
    play.answers(100, 1, NAMED, true);
    play.answers(1_500, 2, NAMED, true);
    play.answers(1_600, 2, 2, true);
    play.answers(1_700, 2, 3, false);
    assert_eq!(play.broken(), ["P1"], "two of three are used");
}
