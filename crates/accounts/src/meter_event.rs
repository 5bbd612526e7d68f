//! What the biller is told of a day's requests: once, whoever tells it and however often.
//!
//! The biller keeps the newest event of a day and customer, by the time that stands in it. So a day that changes is told anew, in
//! an event of a later time, and takes the place of what was told of it before. An event is written down before it is sent, and
//! sent again until it is accepted: the same bytes under the same name, which the biller takes once.
//!
//! Such as: at 14:00 a day has 70 requests, event 1; the sender dies before it hears the answer. Whoever takes over sends event 1
//! again. At 15:00 the day has 90, event 2. Its last hour comes at 00:02 of the next day, as event 3 of 23:58:03.

use crate::{TenantId, UnixSecs};

/// The last thing that the biller was told of a day, or is to be told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MeterEvent {
    /// Which of the day's it is, from 1.
    pub number: u32,
    /// Requests of the day.
    pub requests: u32,
    /// The time that stands in it.
    pub at: UnixSecs,
    /// When it was written down.
    pub made_at: UnixSecs,
    /// Whether the biller has it.
    pub is_accepted: bool,
    /// Whether two have told of the day without knowing of each other: nobody knows which of their events the biller keeps. The time is the
    /// later one then.
    pub was_told_twice: bool,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Seconds of a day from which on events of a day that is over have their times.
const CLOSED_FROM: u64 = DAY - 2 * MINUTE;

/// Seconds after the end of a day at which it is told; the last of them once more on each day after.
const TOLD_AFTER: [u64; 3] = [2 * MINUTE, 10 * MINUTE, HOUR];

/// Days after which the biller takes no event any more are 35; the clock of another may be ahead.
const TAKEN_DAYS: u64 = 34;

impl MeterEvent {
    /// Events of a day whose times are told apart.
    const NUMBER_MAX: u32 = 119;

    /// Events of a day that are made because somebody asks: what is left is for those that are due by themselves, one an hour, three after
    /// the end and one on each day after.
    const ASKED_MAX: u32 = 48;

    /// Days that one is kept after its own: longer than the biller takes it.
    const KEPT_DAYS: u64 = 45;

    /// What it is kept under, such as `tn_0123456789abcdef/2026-11-21`.
    #[must_use]
    pub fn name(tenant: TenantId, day: u64) -> String {
        format!("{tenant}/{}", UnixSecs::of_day(day).date())
    }

    /// What the biller knows it by, such as `weir:tn_0123456789abcdef:2026-11-21:3:70`. It holds the number of requests: two that
    /// tell different ones are two events.
    #[must_use]
    pub fn identifier(&self, tenant: TenantId) -> String {
        let date = UnixSecs::of_day(self.at.days()).date();
        format!("weir:{tenant}:{date}:{}:{}", self.number, self.requests)
    }

    /// Days before `now`, and its own, of which the biller still takes something.
    pub fn days(now: UnixSecs) -> impl Iterator<Item = u64> {
        now.days().saturating_sub(TAKEN_DAYS)..=now.days()
    }

    /// Whether nothing is to be told at `now` of a day, however many requests it has: the biller has what it was told, and whatever has come
    /// since waits for the next hour; with `is_asked` it does not, unless that was asked for too often.
    #[must_use]
    pub fn may_wait(known: Option<&Self>, day: u64, now: UnixSecs, is_asked: bool) -> bool {
        known.is_some_and(|known| {
            let is_settled = known.is_accepted && !known.was_told_twice;
            let is_heard = is_asked && known.number < Self::ASKED_MAX;
            is_settled && !is_heard && slot(day, now) <= known.made_at
        })
    }

    /// What the biller is to be told at `now` of a day that has so many requests and of which it was told `known`; with `is_asked`
    /// also what would wait for the next hour. `None`: nothing now. What it gives is to be written down before it is sent.
    #[must_use]
    pub fn due(
        known: Option<&Self>,
        day: u64,
        requests: u32,
        now: UnixSecs,
        is_asked: bool,
    ) -> Option<Self> {
        if now.days() < day || TAKEN_DAYS < now.days() - day {
            return None;
        }
        if let Some(known) = known
            && !known.is_accepted
            && !known.was_told_twice
        {
            return Some(*known);
        }
        let is_told = match known {
            // A count only grows, but for what was counted twice; either way the biller hears it.
            Some(known) => known.requests == requests && !known.was_told_twice,
            None => requests == 0,
        };
        let may_wait = Self::may_wait(known, day, now, is_asked);
        let number = known.map_or(1, |known| known.number + 1);
        if is_told || may_wait || Self::NUMBER_MAX < number {
            return None;
        }
        let since_midnight = now.since(UnixSecs::of_day(day));
        let at = match since_midnight < CLOSED_FROM {
            true => now,
            false if now.days() == day => return None,
            false => UnixSecs::of_day(day) + CLOSED_FROM + u64::from(number),
        };
        Some(Self {
            number,
            requests,
            at: at.max(known.map_or(at, |known| known.at + 1)),
            made_at: now,
            is_accepted: false,
            was_told_twice: false,
        })
    }

    /// The same, and the biller has it.
    #[must_use]
    pub fn accepted(self) -> Self {
        Self {
            is_accepted: true,
            ..self
        }
    }

    /// Two versions: the higher number, if its time is later as well. Else the biller may keep either, as also of two that differ under one
    /// number: only an event after both ends that.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let (low, high) = match self.number <= other.number {
            true => (self, other),
            false => (other, self),
        };
        let at = low.at.max(high.at);
        if low.number < high.number {
            return Self {
                at,
                was_told_twice: high.was_told_twice || high.at <= low.at,
                ..*high
            };
        }
        let is_same = (low.requests, low.at) == (high.requests, high.at);
        Self {
            number: high.number,
            requests: low.requests.max(high.requests),
            at,
            made_at: low.made_at.max(high.made_at),
            is_accepted: low.is_accepted || high.is_accepted,
            was_told_twice: low.was_told_twice || high.was_told_twice || !is_same,
        }
    }

    /// From when on nobody asks for it any more.
    #[must_use]
    pub fn over_at(&self) -> UnixSecs {
        UnixSecs::of_day(self.at.days() + Self::KEPT_DAYS)
    }
}

/// The last time up to `now` at which what has changed of a day is told.
fn slot(day: u64, now: UnixSecs) -> UnixSecs {
    let end = UnixSecs::of_day(day + 1);
    if now < end {
        return UnixSecs::new(now.get() / HOUR * HOUR);
    }
    let after = now.since(end);
    let last = TOLD_AFTER[TOLD_AFTER.len() - 1];
    if last <= after {
        return end + last + (after - last) / DAY * DAY;
    }
    let mut passed = TOLD_AFTER.into_iter().filter(|slot| *slot <= after);
    // Before the first nothing is told that is not due from the day itself.
    passed
        .next_back()
        .map_or(UnixSecs::new(0), |slot| end + slot)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const DAY_OF_TESTS: u64 = 20_778;

    fn at(hour: u64, minute: u64) -> UnixSecs {
        UnixSecs::of_day(DAY_OF_TESTS) + hour * HOUR + minute * MINUTE
    }

    fn due(known: Option<&MeterEvent>, requests: u32, now: UnixSecs) -> Option<MeterEvent> {
        MeterEvent::due(known, DAY_OF_TESTS, requests, now, false)
    }

    fn versions() -> impl Strategy<Value = MeterEvent> {
        let (number, requests) = (1..4_u32, 0..2_u32);
        (number, requests, 0..4_u64, 0..2_u64, any::<(bool, bool)>()).prop_map(
            |(number, requests, at, made_at, (is_accepted, was_told_twice))| MeterEvent {
                number,
                requests,
                at: UnixSecs::new(at),
                made_at: UnixSecs::new(made_at),
                is_accepted,
                was_told_twice,
            },
        )
    }

    /// What a biller makes of events of one day: the newest by its time, of equal ones the last.
    #[derive(Default)]
    struct Biller {
        events: BTreeMap<String, MeterEvent>,
        kept: Option<MeterEvent>,
    }

    impl Biller {
        fn take(&mut self, event: MeterEvent) {
            let tenant = TenantId::new([0; 10]);
            let is_new = self
                .events
                .insert(event.identifier(tenant), event)
                .is_none();
            let is_newest = self.kept.is_none_or(|kept| kept.at <= event.at);
            if is_new && is_newest {
                self.kept = Some(event);
            }
        }
    }

    /// A step of one of two senders, who have records of their own until they hear of each other.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// Requests are admitted, and minutes pass.
        Pass(u32, u64),
        /// A sender tells what is due; it may die before it is sent, and before it knows the answer.
        Send(usize, bool, bool),
        Meet,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..3_u32, 1..400_u64).prop_map(|(requests, minutes)| Step::Pass(requests, minutes)),
            (0..2_usize, any::<bool>(), any::<bool>()).prop_map(
                |(sender, is_sent, is_answered)| Step::Send(sender, is_sent, is_answered)
            ),
            Just(Step::Meet),
        ];
        prop::collection::vec(step, 0..40)
    }

    proptest! {
        // Rare histories of a few steps, of which each is cheap.
        #![proptest_config(ProptestConfig::with_cases(8_192))]

        #[test]
        fn versions_meet_in_any_order(a in versions(), b in versions(), c in versions()) {
            prop_assert_eq!(a.meet(&b), b.meet(&a));
            prop_assert_eq!(a.meet(&b).meet(&c), a.meet(&b.meet(&c)));
            prop_assert_eq!(a.meet(&a), a);
        }

        /// Whatever happens on the way, once the senders have met and have told what is due, the biller has the day's requests.
        #[test]
        fn the_biller_ends_with_what_was_admitted(steps in steps()) {
            let mut biller = Biller::default();
            let mut known = [None; 2];
            let (mut requests, mut now) = (0, at(0, 0));
            let meet = |known: &mut [Option<MeterEvent>; 2]| {
                let met = match *known {
                    [Some(one), Some(other)] => Some(one.meet(&other)),
                    [one, other] => one.or(other),
                };
                *known = [met; 2];
            };
            for step in steps {
                match step {
                    Step::Pass(more, minutes) => {
                        requests += if now.days() == DAY_OF_TESTS { more } else { 0 };
                        now = now + minutes * MINUTE;
                    }
                    Step::Send(sender, is_sent, is_answered) => {
                        // A sender that is cut off knows what it counted alone.
                        let seen = requests - u32::try_from(sender).unwrap().min(requests);
                        if let Some(event) = due(known[sender].as_ref(), seen, now) {
                            known[sender] = Some(event);
                            if is_sent {
                                biller.take(event);
                                if is_answered {
                                    known[sender] = Some(event.accepted());
                                }
                            }
                        }
                    }
                    Step::Meet => meet(&mut known),
                }
            }
            meet(&mut known);
            let end = UnixSecs::of_day(DAY_OF_TESTS + TAKEN_DAYS - 3);
            prop_assume!(now < end);
            now = now.max(at(24, 0));
            let mut told = known[0];
            for _ in 0..4 {
                now = now + DAY;
                while let Some(event) = due(told.as_ref(), requests, now) {
                    biller.take(event);
                    told = Some(event.accepted());
                }
            }
            prop_assert_eq!(biller.kept.map_or(0, |kept| kept.requests), requests);
        }
    }

    #[test]
    fn a_day_is_told_hourly_and_three_times_after_its_end() {
        let mut known = None;
        let mut told = Vec::new();
        let mut requests = 0;
        for minute in 0..=27 * 60 {
            let now = at(0, 0) + minute * MINUTE;
            requests += u32::from(now.days() == DAY_OF_TESTS);
            // What comes late after the end as well.
            requests += u32::from(minute == 24 * 60 + 5);
            if let Some(event) = due(known.as_ref(), requests, now) {
                told.push((minute, event.at.since(at(0, 0))));
                known = Some(event.accepted());
            }
        }
        let of_day = (0..24).map(|hour| (hour * 60, hour * HOUR));
        let after = [
            (24 * 60 + 2, CLOSED_FROM + 25),
            (24 * 60 + 10, CLOSED_FROM + 26),
        ];
        assert_eq!(told, of_day.chain(after).collect::<Vec<_>>());
        assert_eq!(known.unwrap().requests, requests);
    }

    #[test]
    fn nothing_is_told_of_a_day_without_requests_or_in_its_last_minutes_or_after_35_days() {
        assert_eq!(due(None, 0, at(12, 0)), None);
        assert_eq!(
            due(None, 1, at(23, 58)),
            None,
            "it would be newer than what comes"
        );
        assert_eq!(due(None, 1, at(0, 0) + 35 * DAY), None);
        let late = due(None, 1, at(0, 0) + 34 * DAY).unwrap();
        assert_eq!(late.at, at(23, 58) + 1);
        assert_eq!(MeterEvent::days(late.made_at).next(), Some(DAY_OF_TESTS));
        let of_yesterday = MeterEvent::due(None, DAY_OF_TESTS + 1, 1, at(12, 0), true);
        assert_eq!(of_yesterday, None, "a clock behind");
    }

    #[test]
    fn what_was_not_accepted_is_told_again_as_it_is() {
        let first = due(None, 7, at(14, 0)).unwrap();
        assert_eq!(due(Some(&first), 9, at(14, 30)), Some(first));
        let accepted = first.accepted();
        assert_eq!(
            due(Some(&accepted), 9, at(14, 30)),
            None,
            "not in this hour"
        );
        let asked = MeterEvent::due(Some(&accepted), DAY_OF_TESTS, 9, at(14, 30), true);
        assert_eq!(asked.unwrap().number, 2);
        let second = due(Some(&accepted), 9, at(15, 0)).unwrap();
        assert_eq!((second.number, second.requests), (2, 9));
        let tenant = TenantId::new([0; 10]);
        assert_eq!(
            second.identifier(tenant),
            "weir:tn_0000000000000000:2026-11-21:2:9"
        );
    }

    /// One side told 70 as its second, the other 40 as its first and a minute later, which the biller keeps.
    #[test]
    fn what_the_other_side_told_later_is_told_again_though_its_number_is_lower() {
        let first = due(None, 30, at(13, 0)).unwrap().accepted();
        let second = due(Some(&first), 70, at(14, 0)).unwrap().accepted();
        let elsewhere = due(None, 40, at(14, 1)).unwrap().accepted();
        let met = second.meet(&elsewhere);
        let told = due(Some(&met), 70, at(15, 0)).unwrap();
        assert_eq!((told.number, told.requests, told.at), (3, 70, at(15, 0)));
        let before = second.meet(&first);
        assert_eq!(
            due(Some(&before), 70, at(15, 0)),
            None,
            "it was told after that"
        );
    }

    /// The biller would keep what it was told before.
    #[test]
    fn what_is_told_later_is_later_also_by_a_clock_that_is_behind() {
        let first = due(None, 7, at(14, 0)).unwrap().accepted();
        let behind = MeterEvent::due(Some(&first), DAY_OF_TESTS, 9, at(13, 58), true);
        assert_eq!(behind.unwrap().at, at(14, 0) + 1);
    }

    /// Else what is told by itself would find no number left, and the rest of the day be billed to nobody.
    #[test]
    fn however_often_somebody_asks_the_last_of_the_day_is_told() {
        let mut known: Option<MeterEvent> = None;
        for minute in 0..(24 + 34 * 24) * 60 {
            let now = at(0, 0) + minute * MINUTE;
            let requests = u32::try_from(minute).unwrap();
            let asked = MeterEvent::due(known.as_ref(), DAY_OF_TESTS, requests, now, true);
            known = asked.map(MeterEvent::accepted).or(known);
        }
        let known = known.unwrap();
        assert!(known.number <= MeterEvent::NUMBER_MAX, "{known:?}");
        assert_eq!(
            known.made_at,
            at(34 * 24 + 1, 0),
            "the last time at which it is told"
        );
    }

    #[test]
    fn the_last_of_the_numbers_stays() {
        let last = MeterEvent {
            number: 119,
            ..due(None, 7, at(14, 0)).unwrap().accepted()
        };
        assert_eq!(due(Some(&last), 9, at(30, 0)), None);
    }
}
