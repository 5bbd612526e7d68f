//! What became of one thing that is counted.

use std::collections::VecDeque;

use crate::{Counts, Point, Total, Window};

/// What was decided of one thing in each second, minute and hour in which anything was.
#[derive(Clone, Default, Debug)]
pub struct Series {
    seconds: VecDeque<Point>,
    minutes: Rolled,
    hours: Rolled,
}

/// Points of a longer step, of which the last is not over.
#[derive(Clone, Default, Debug)]
struct Rolled {
    over: VecDeque<Point>,
    /// When the last began, and what was decided in it so far.
    open: Option<(u32, Counts)>,
}

/// Keeps what began after that.
fn drop_until(points: &mut VecDeque<Point>, until: u32) {
    while points.front().is_some_and(|point| point.at <= until) {
        points.pop_front();
    }
}

impl Rolled {
    fn add(&mut self, began: u32, counts: &Counts) {
        match &mut self.open {
            Some((at, open)) if *at == began => open.add_all(counts),
            open => {
                let over = open.replace((began, counts.clone()));
                self.over
                    .extend(over.map(|(at, counts)| point(at, &counts)));
            }
        }
    }
}

fn point(at: u32, counts: &Counts) -> Point {
    Point {
        at,
        total: Total::of(counts),
    }
}

impl Series {
    /// This was decided in the second `at`, which is over. Seconds come in their order, each once.
    pub fn add(&mut self, at: u32, counts: &Counts) {
        self.seconds.push_back(point(at, counts));
        let [minute, hour] = [Window::Day, Window::FiveWeeks].map(|window| at - at % window.step());
        self.minutes.add(minute, counts);
        self.hours.add(hour, counts);
        drop_until(&mut self.seconds, until(Window::TenMinutes, at));
        drop_until(&mut self.minutes.over, until(Window::Day, at));
        drop_until(&mut self.hours.over, until(Window::FiveWeeks, at));
    }

    /// The last second in which anything was decided.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        self.seconds.back().map(|point| point.at)
    }

    /// What was decided in the window of which the last second is `now`. The last point of minutes and of hours is not over.
    #[must_use]
    pub fn points(&self, window: Window, now: u32) -> Vec<Point> {
        self.in_window(window, now).collect()
    }

    /// The same in sum.
    #[must_use]
    pub fn total(&self, window: Window, now: u32) -> Total {
        let totals = self.in_window(window, now).map(|point| point.total);
        totals.fold(Total::default(), Total::with)
    }

    fn in_window(&self, window: Window, now: u32) -> impl Iterator<Item = Point> {
        let (over, open) = match window {
            Window::TenMinutes => (&self.seconds, None),
            Window::Hour | Window::Day => (&self.minutes.over, self.minutes.open.as_ref()),
            Window::FiveWeeks => (&self.hours.over, self.hours.open.as_ref()),
        };
        let open = open.map(|(at, counts)| point(*at, counts));
        let until = until(window, now);
        let points = over.iter().copied().chain(open);
        points.filter(move |point| until < point.at && point.at <= now)
    }

    /// What was decided in the seconds after `after`, up to ten minutes of it.
    #[must_use]
    pub fn since(&self, after: u32) -> Total {
        let later = self.seconds.iter().rev();
        let later = later.take_while(|point| after < point.at);
        later.fold(Total::default(), |all, point| all.with(point.total))
    }

    /// How many points it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seconds.len() + self.minutes.over.len() + self.hours.over.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The last second that is too long ago for a window whose last second is `now`.
fn until(window: Window, now: u32) -> u32 {
    now.saturating_sub(window.span())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: u32 = 1_800_000_000;

    fn counts(allowed: u32, denied: u32) -> Counts {
        let mut counts = Counts::default();
        counts.add(allowed, denied, 100);
        counts
    }

    fn sum(points: &[Point]) -> (u64, u64) {
        points.iter().fold((0, 0), |(allowed, denied), point| {
            let Total {
                allowed: more,
                denied: others,
                ..
            } = point.total;
            (allowed + more, denied + others)
        })
    }

    #[test]
    fn a_window_shows_what_lies_in_it() {
        let mut series = Series::default();
        for second in 0..2 * 60 * 60 {
            series.add(START + second, &counts(2, 1));
        }
        let now = START + 2 * 60 * 60 - 1;
        let shown = |window| series.points(window, now);
        assert_eq!(shown(Window::TenMinutes).len(), 600);
        assert_eq!(sum(&shown(Window::TenMinutes)), (1_200, 600));
        assert_eq!(shown(Window::Hour).len(), 60);
        assert_eq!(sum(&shown(Window::Hour)), (7_200, 3_600));
        assert_eq!(sum(&shown(Window::Day)), (14_400, 7_200));
        assert_eq!(sum(&shown(Window::FiveWeeks)), (14_400, 7_200));
        assert!(shown(Window::Day).iter().all(|point| point.at % 60 == 0));
        assert!(
            shown(Window::FiveWeeks)
                .iter()
                .all(|point| point.at % 3_600 == 0)
        );
        assert_eq!(series.points(Window::TenMinutes, now + 599).len(), 1);
        assert_eq!(series.points(Window::TenMinutes, now + 600), []);
    }

    #[test]
    fn what_is_older_than_any_picture_is_forgotten() {
        let mut series = Series::default();
        for day in 0..100 {
            for minute in 0..3 {
                series.add(START + day * 86_400 + minute * 60, &counts(1, 0));
            }
        }
        // Three seconds and two minutes of the last day, and 35 hours of as many days.
        assert_eq!(series.len(), 3 + 2 + 34, "{series:?}");
    }

    proptest! {
        #[test]
        fn every_window_tells_all_that_was_decided_in_it(
            decided in prop::collection::vec((0..200_u32, 0..5_u32, 0..5_u32), 1..200)
        ) {
            let mut series = Series::default();
            let mut at = START;
            let mut all = Vec::new();
            for (pause, allowed, denied) in decided {
                at += 1 + pause;
                series.add(at, &counts(allowed, denied));
                all.push((at, allowed, denied));
            }
            for window in Window::ALL {
                let first = at - window.span() + window.step();
                let begins = first - first % window.step();
                let expected = all.iter().filter(|(second, ..)| begins <= *second);
                let expected = expected.fold((0, 0), |(a, d), (_, allowed, denied)| {
                    (a + u64::from(*allowed), d + u64::from(*denied))
                });
                prop_assert_eq!(sum(&series.points(window, at)), expected, "{}", window.name());
                let total = series.total(window, at);
                prop_assert_eq!((total.allowed, total.denied), expected);
            }
            let last_ten = series.since(at - 10);
            let expected: u64 = all.iter().filter(|(second, ..)| at - 10 < *second).map(|(_, allowed, _)| u64::from(*allowed)).sum();
            prop_assert_eq!(last_ten.allowed, expected);
        }
    }
}
