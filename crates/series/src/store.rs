//! The series of a node, within a bound.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{Counts, LimitTotal, Point, Sample, Series, Total, Window};

/// Points that a store holds, at most, of 2 880 that a series has of which something comes in every second of 35 days: so many
/// of such, and more of those of which less comes. `cargo run --release -p series --example full` tells what a full store takes.
const POINTS_MAX: usize = 350 * 2_880;

/// Series that a store holds, at most. Each has a minute and an hour that are not over.
const SERIES_MAX: usize = 20_000;

/// Limits of a namespace that have series of their own, at most: more than a page shows.
pub const LIMITS_MAX: usize = 100;

/// What is left of what is too much, in tenths: so that room is not made for each one more.
const LEFT: usize = 9;

/// The series of a node, by namespace and limit. What is beyond its bound is let go of: of a namespace the limit that has been
/// silent for longest, of a node the namespace.
#[derive(Debug)]
pub struct Store {
    namespaces: HashMap<Arc<str>, Namespace>,
    points: usize,
    series: usize,
    points_max: usize,
    series_max: usize,
}

/// What was decided of one namespace.
#[derive(Default, Debug)]
struct Namespace {
    all: Series,
    limits: HashMap<Arc<str>, Series>,
    /// How many points they hold together.
    points: usize,
}

impl Namespace {
    fn add(&mut self, at: u32, limits: HashMap<Arc<str>, Counts>, others: &Counts) {
        let mut all = others.clone();
        for (name, counts) in limits {
            all.add_all(&counts);
            let series = self.limits.entry(name).or_default();
            self.points -= series.len();
            series.add(at, &counts);
            self.points += series.len();
        }
        self.points -= self.all.len();
        self.all.add(at, &all);
        self.points += self.all.len();
        while LIMITS_MAX < self.limits.len() {
            let silent = self.limits.iter().min_by_key(|(_, series)| series.last());
            let silent = silent.map(|(name, _)| Arc::clone(name));
            let gone = silent.and_then(|name| self.limits.remove(&name));
            self.points -= gone.map_or(0, |series| series.len());
        }
    }

    fn series(&self) -> usize {
        1 + self.limits.len()
    }

    fn limits(&self, total: impl Fn(&Series) -> Total) -> Vec<LimitTotal> {
        let limits = self.limits.iter().map(|(name, series)| LimitTotal {
            name: Arc::clone(name),
            total: total(series),
        });
        limits.filter(|limit| 0 < limit.total.decisions()).collect()
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            namespaces: HashMap::new(),
            points: 0,
            series: 0,
            points_max: POINTS_MAX,
            series_max: SERIES_MAX,
        }
    }
}

impl Store {
    /// This was decided of a namespace in the second `at`, which is over: by its limits, and `others` by those that have no room.
    pub fn add(
        &mut self,
        namespace: &Arc<str>,
        at: u32,
        limits: HashMap<Arc<str>, Counts>,
        others: &Counts,
    ) {
        let of = self.namespaces.entry(Arc::clone(namespace)).or_default();
        // One that is new is not counted yet.
        let known = if of.all.is_empty() { 0 } else { of.series() };
        self.points -= of.points;
        self.series -= known;
        of.add(at, limits, others);
        self.points += of.points;
        self.series += of.series();
        if self.points_max < self.points || self.series_max < self.series {
            self.make_room();
        }
    }

    /// What was decided of a namespace, or of one limit of it, in a window of which the last second is `now`.
    #[must_use]
    pub fn points(
        &self,
        namespace: &str,
        limit: Option<&str>,
        window: Window,
        now: u32,
    ) -> Vec<Point> {
        let of = self.namespaces.get(namespace);
        let series = of.and_then(|of| match limit {
            None => Some(&of.all),
            Some(limit) => of.limits.get(limit),
        });
        series.map_or_else(Vec::new, |series| series.points(window, now))
    }

    /// What the limits of a namespace have decided in such a window, in no order.
    #[must_use]
    pub fn limits(&self, namespace: &str, window: Window, now: u32) -> Vec<LimitTotal> {
        let of = self.namespaces.get(namespace);
        of.map_or_else(Vec::new, |of| of.limits(|series| series.total(window, now)))
    }

    /// What was decided of a namespace in the seconds after `after`.
    #[must_use]
    pub fn since(&self, namespace: &str, after: u32) -> Sample {
        let of = self.namespaces.get(namespace);
        of.map_or_else(Sample::default, |of| Sample {
            all: of.all.since(after),
            limits: of.limits(|series| series.since(after)),
        })
    }

    fn make_room(&mut self) {
        let mut by_last: Vec<_> = self.namespaces.iter().collect();
        by_last.sort_by_key(|(_, of)| of.all.last());
        let (points_left, series_left) = (self.points_max * LEFT / 10, self.series_max * LEFT / 10);
        let mut gone = Vec::new();
        for (name, of) in by_last {
            if self.points <= points_left && self.series <= series_left {
                break;
            }
            self.points -= of.points;
            self.series -= of.series();
            gone.push(Arc::clone(name));
        }
        for name in gone {
            self.namespaces.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(allowed: u32) -> Counts {
        let mut counts = Counts::default();
        counts.add(allowed, 0, 10);
        counts
    }

    fn add(store: &mut Store, namespace: &str, at: u32, limits: &[(&str, u32)]) {
        let limits = limits
            .iter()
            .map(|(name, allowed)| ((*name).into(), counts(*allowed)));
        store.add(&namespace.into(), at, limits.collect(), &Counts::default());
    }

    /// What it says of itself is what it holds.
    fn check(store: &Store) {
        let points = |of: &Namespace| -> usize {
            let of_limits: usize = of.limits.values().map(Series::len).sum();
            of.all.len() + of_limits
        };
        let points: usize = store.namespaces.values().map(points).sum();
        let series: usize = store.namespaces.values().map(Namespace::series).sum();
        assert_eq!((store.points, store.series), (points, series));
    }

    #[test]
    fn a_namespace_is_the_sum_of_its_limits_and_of_the_others() {
        let mut store = Store::default();
        let limits = HashMap::from([("a".into(), counts(2)), ("b".into(), counts(3))]);
        store.add(&"tn".into(), 100, limits, &counts(4));
        let allowed = |limit| {
            store.points("tn", limit, Window::Hour, 100)[0]
                .total
                .allowed
        };
        assert_eq!(
            (allowed(None), allowed(Some("a")), allowed(Some("b"))),
            (9, 2, 3)
        );
        let sample = store.since("tn", 99);
        assert_eq!((sample.all.allowed, sample.limits.len()), (9, 2));
        assert_eq!(store.since("tn", 100), Sample::default());
        assert_eq!(store.since("other", 0), Sample::default());
        assert_eq!(store.limits("tn", Window::Day, 100).len(), 2);
        assert_eq!(store.limits("tn", Window::TenMinutes, 701), []);
        check(&store);
    }

    #[test]
    fn what_has_been_silent_for_longest_makes_room() {
        let mut store = Store {
            series_max: 20,
            ..Store::default()
        };
        for number in 0..10 {
            add(&mut store, &number.to_string(), 100 + number, &[("a", 1)]);
        }
        check(&store);
        add(&mut store, "0", 200, &[("a", 1)]);
        add(&mut store, "99", 201, &[("a", 1)]);
        check(&store);
        let mut kept: Vec<_> = store.namespaces.keys().map(|name| &**name).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["0", "3", "4", "5", "6", "7", "8", "9", "99"]);
    }

    #[test]
    fn the_second_namespace_makes_room_for_the_points_of_the_first() {
        let mut store = Store {
            points_max: 100,
            ..Store::default()
        };
        for second in 0..40 {
            add(&mut store, "a", 6_000 + second, &[("l", 1)]);
        }
        assert_eq!(store.points, 80);
        for second in 40..80 {
            add(&mut store, "b", 6_000 + second, &[("l", 1)]);
        }
        check(&store);
        assert_eq!(store.points("a", None, Window::TenMinutes, 6_080), []);
        assert_eq!(store.points("b", None, Window::TenMinutes, 6_080).len(), 40);
    }

    #[test]
    fn a_namespace_has_series_of_a_hundred_limits() {
        let mut store = Store::default();
        for number in 0..150 {
            add(
                &mut store,
                "tn",
                10_000 + number,
                &[(&number.to_string(), 1)],
            );
        }
        check(&store);
        let names = store.limits("tn", Window::Hour, 10_250);
        assert_eq!(names.len(), LIMITS_MAX);
        assert!(
            names
                .iter()
                .all(|limit| limit.name.parse::<u32>().unwrap() >= 50)
        );
        let all = store.points("tn", None, Window::FiveWeeks, 10_250);
        assert_eq!(
            all.iter().map(|point| point.total.allowed).sum::<u64>(),
            150
        );
    }
}
