//! What the answers say about a strategy: pure arithmetic.

use std::time::Duration;

use hdrhistogram::Histogram;

/// What became of one hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sample {
    /// When it was over, since the start.
    pub(crate) at: Duration,
    /// Since it was sent; with a rate, since it was due, so that a client that is held up hides nothing.
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome,
}

/// What a client was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Allowed or denied by whoever counts.
    Decided,
    /// Let through by the fail mode.
    FailedOpen,
    /// 503: nobody could decide. The fail mode `deny`, or a node that is busy or leaves.
    Refused,
    /// No answer: the connection was lost or refused, or it took too long. Counted or not.
    Unanswered,
}

impl Outcome {
    fn is_answer(self) -> bool {
        matches!(self, Self::Decided | Self::FailedOpen)
    }
}

/// When what happened, since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moments {
    pub(crate) warm: Duration,
    pub(crate) killed: Duration,
    /// Started again. It takes a while until it serves.
    pub(crate) restarted: Duration,
    pub(crate) end: Duration,
}

/// One stretch of time. Percentiles are of answers only; `None` without any.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Part {
    pub(crate) per_second: f64,
    pub(crate) p50: Option<Duration>,
    pub(crate) p99: Option<Duration>,
    pub(crate) longest: Option<Duration>,
}

/// What the answers say.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Facts {
    /// From warm to the kill.
    pub(crate) quiet: Part,
    /// From the kill until what was killed is started again.
    pub(crate) fault: Part,
    /// From then on.
    pub(crate) after: Part,
    /// The longest time, from the kill on, in which nobody got an answer.
    pub(crate) silence: Duration,
    /// From the kill until answers are normal; `None` if they were not again.
    pub(crate) normal_after: Option<Duration>,
    /// Hits from the kill on without a decision or an answer by the fail mode `allow`.
    pub(crate) failed: u64,
    /// Of `failed`, those that were refused.
    pub(crate) refused: u64,
    /// Hits that failed before the kill: should be none.
    pub(crate) failed_before: u64,
    pub(crate) failed_open: u64,
    pub(crate) timeline: Vec<Slot>,
}

/// A slot of the timeline.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Slot {
    pub(crate) start: Duration,
    pub(crate) part: Part,
    pub(crate) failed: u64,
}

/// Slots in which answers are called normal or not: long enough for some answers at a few hundred a second.
const LOOK: Duration = Duration::from_millis(50);
/// Normal slots in a row that end a disturbance: a quarter of a second, so that one lucky slot in an outage does not.
const IN_A_ROW: usize = 5;
/// Slots of a timeline: as many as a plot of 300 points width shows apart.
const SLOTS: u32 = 100;
/// Longer than any client waits.
const LONGEST_US: u64 = 60_000_000;

impl Facts {
    /// What these samples say, in any order.
    pub(crate) fn of(mut samples: Vec<Sample>, when: Moments) -> Self {
        samples.sort_unstable_by_key(|sample| sample.at);
        let Moments {
            warm,
            killed,
            restarted,
            end,
        } = when;
        let (before, since) =
            samples.split_at(samples.partition_point(|sample| sample.at < killed));
        let count = |samples: &[Sample], is: fn(Outcome) -> bool| {
            samples.iter().filter(|sample| is(sample.outcome)).count() as u64
        };
        let failed = |outcome: Outcome| !outcome.is_answer();
        Self {
            quiet: part(&samples, warm, killed),
            fault: part(&samples, killed, restarted),
            after: part(&samples, restarted, end),
            silence: silence(&samples, killed, end),
            normal_after: normal_after(&samples, when),
            failed: count(since, failed),
            refused: count(since, |outcome| outcome == Outcome::Refused),
            failed_before: count(before, failed),
            failed_open: count(&samples, |outcome| outcome == Outcome::FailedOpen),
            timeline: timeline(&samples, end),
        }
    }
}

/// Of samples in order, those of that time.
fn between(samples: &[Sample], from: Duration, to: Duration) -> &[Sample] {
    let place = |time: Duration| samples.partition_point(|sample| sample.at < time);
    samples.get(place(from)..place(to)).unwrap_or_default()
}

fn part(samples: &[Sample], from: Duration, to: Duration) -> Part {
    let mut times = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3).expect("bounds are right");
    let answers = between(samples, from, to).iter();
    for sample in answers.filter(|sample| sample.outcome.is_answer()) {
        times.saturating_record(u64::try_from(sample.took.as_micros()).unwrap_or(LONGEST_US));
    }
    let some = |us: u64| (!times.is_empty()).then(|| Duration::from_micros(us));
    let length = to.saturating_sub(from).as_secs_f64().max(1e-3);
    Part {
        per_second: times.len() as f64 / length,
        p50: some(times.value_at_quantile(0.5)),
        p99: some(times.value_at_quantile(0.99)),
        longest: some(times.max()),
    }
}

fn silence(samples: &[Sample], killed: Duration, end: Duration) -> Duration {
    let answers = samples.iter().filter(|sample| sample.outcome.is_answer());
    let (mut last, mut longest) = (Duration::ZERO, Duration::ZERO);
    for at in answers.map(|sample| sample.at.min(end)).chain([end]) {
        if killed <= at {
            longest = longest.max(at.saturating_sub(last.max(killed)));
        }
        last = at;
    }
    longest
}

/// Normal is a slot in which no hit fails or passes by the fail mode, and at least half as many answers arrive as in
/// the usual slot of the quiet part.
fn normal_after(samples: &[Sample], when: Moments) -> Option<Duration> {
    let slots = |from: Duration, to: Duration| {
        let starts = std::iter::successors(Some(from), |start| Some(*start + LOOK));
        starts
            .take_while(move |&start| start + LOOK <= to)
            .map(|start| between(samples, start, start + LOOK))
    };
    let decided = |slot: &[Sample]| {
        let decided = slot.iter().filter(|s| s.outcome == Outcome::Decided);
        decided.count()
    };
    let mut usual: Vec<usize> = slots(when.warm, when.killed).map(decided).collect();
    usual.sort_unstable();
    let usual = usual.get(usual.len() / 2).copied().unwrap_or_default();
    let normal: Vec<bool> = slots(when.killed, when.end)
        .map(|slot| decided(slot) == slot.len() && usual <= 2 * decided(slot))
        .collect();
    let first = normal
        .windows(IN_A_ROW)
        .position(|row| row.iter().all(|&normal| normal))?;
    Some(LOOK * u32::try_from(first).unwrap_or(u32::MAX))
}

fn timeline(samples: &[Sample], end: Duration) -> Vec<Slot> {
    let width = end / SLOTS;
    let slot = |number| {
        let (start, next) = (width * number, width * (number + 1));
        let all = between(samples, start, next).iter();
        Slot {
            start,
            part: part(samples, start, next),
            failed: all.filter(|s| !s.outcome.is_answer()).count() as u64,
        }
    };
    (0..SLOTS).map(slot).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    pub(crate) const MOMENTS: Moments = Moments {
        warm: Duration::from_millis(100),
        killed: Duration::from_millis(1_000),
        restarted: Duration::from_millis(2_000),
        end: Duration::from_millis(3_000),
    };

    /// An answer every 10 ms that took 2 ms, but for those of whose time `other` tells what became of them.
    pub(crate) fn samples(other: impl Fn(u64) -> Option<Outcome>) -> Vec<Sample> {
        let at = (0..300).map(|number| number * 10);
        at.map(|at| Sample {
            at: ms(at),
            took: ms(2),
            outcome: other(at).unwrap_or(Outcome::Decided),
        })
        .collect()
    }

    #[test]
    fn without_a_fault_each_part_is_the_same() {
        let facts = Facts::of(samples(|_| None), MOMENTS);
        for part in [facts.quiet, facts.fault, facts.after] {
            assert!((part.per_second - 100.0).abs() < 1e-9, "{part:?}");
            let near = |time: Option<Duration>| time.unwrap().as_micros().abs_diff(2_000) <= 2;
            assert!(near(part.p50) && near(part.p99), "{part:?}");
        }
        assert_eq!(facts.silence, ms(10));
        assert_eq!(facts.normal_after, Some(ms(0)));
        assert_eq!((facts.failed, facts.failed_before), (0, 0));
    }

    #[test]
    fn percentiles_are_of_answers_and_leave_the_slowest_hundredth_out() {
        let mut samples = samples(|_| None);
        for (sample, took) in samples.iter_mut().zip(1..=200) {
            *sample = Sample {
                at: ms(500),
                took: ms(took),
                outcome: match took {
                    ..=100 => Outcome::Decided,
                    _ => Outcome::Unanswered,
                },
            };
        }
        let quiet = part(&samples, ms(500), ms(501));
        let close = |time: Option<Duration>, to: u64| {
            time.unwrap().as_micros().abs_diff(u128::from(to) * 1_000) < 100
        };
        assert!(close(quiet.p50, 50) && close(quiet.p99, 99) && close(quiet.longest, 100));
    }

    #[test]
    fn a_stretch_without_answers_is_the_silence_and_is_not_normal() {
        let dead = |at| (1_000..1_500).contains(&at).then_some(Outcome::Refused);
        let facts = Facts::of(samples(dead), MOMENTS);
        assert_eq!(facts.silence, ms(500));
        assert_eq!(facts.normal_after, Some(ms(500)));
        assert_eq!((facts.failed, facts.refused), (50, 50));
        assert!((facts.fault.per_second - 50.0).abs() < 1e-9);
        assert_eq!(facts.timeline[40].failed, 3);
    }

    #[test]
    fn a_lucky_moment_in_an_outage_does_not_end_it() {
        let dead = |at| {
            let lucky = (1_200..1_300).contains(&at);
            ((1_000..1_500).contains(&at) && !lucky).then_some(Outcome::Refused)
        };
        let facts = Facts::of(samples(dead), MOMENTS);
        assert_eq!(facts.normal_after, Some(ms(500)));
    }

    #[test]
    fn answers_by_the_fail_mode_are_answers_and_not_normal() {
        let open = |at| (1_000..1_200).contains(&at).then_some(Outcome::FailedOpen);
        let facts = Facts::of(samples(open), MOMENTS);
        assert_eq!(facts.silence, ms(10));
        assert_eq!(facts.normal_after, Some(ms(200)));
        assert_eq!((facts.failed, facts.failed_open), (0, 20));
    }

    #[test]
    fn an_outage_until_the_end_never_is_normal_again() {
        let dead = |at| (1_000 <= at).then_some(Outcome::Unanswered);
        let facts = Facts::of(samples(dead), MOMENTS);
        assert_eq!(facts.silence, ms(2_000));
        assert_eq!(facts.normal_after, None);
        assert_eq!(facts.after.p50, None);
    }
}
