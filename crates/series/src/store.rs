//! The series of a node, within a bound.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{Counts, NamedTotal, Point, Sample, Series, Total, Window};

/// Points that a store holds, at most, of 2 880 that a series has of which something comes in every second of 35 days: so many
/// of such, and more of those of which less comes. `cargo run --release -p series --example full` tells what a full store takes.
const POINTS_MAX: usize = 350 * 2_880;

/// Series that a store holds, at most. Each has a minute and an hour that are not over.
const SERIES_MAX: usize = 20_000;

/// Limits of a namespace, and API keys, that have series of their own, at most: more of each than a page shows.
pub const NAMES_MAX: usize = 100;

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

/// What was decided of a namespace in a second that is over.
#[derive(Default, Debug)]
pub struct Decided {
    /// By limit.
    pub limits: HashMap<Arc<str>, Counts>,
    /// By limits that have no room among those.
    pub others: Counts,
    /// For API keys, by id: of what is above, as far as it was asked by them and they have room.
    pub api_keys: HashMap<Arc<str>, Counts>,
}

/// What was decided of one namespace.
#[derive(Default, Debug)]
struct Namespace {
    all: Series,
    limits: Names,
    api_keys: Names,
    /// How many points they hold together.
    points: usize,
}

/// Series by name.
#[derive(Default, Debug)]
struct Names(HashMap<Arc<str>, Series>);

impl Names {
    fn add(&mut self, at: u32, name: Arc<str>, counts: &Counts) {
        self.0.entry(name).or_default().add(at, counts);
    }

    /// Lets go of those that have been silent for longest and are too many.
    fn make_room(&mut self) {
        while NAMES_MAX < self.0.len() {
            let silent = self.0.iter().min_by_key(|(_, series)| series.last());
            let silent = silent.map(|(name, _)| Arc::clone(name));
            silent.and_then(|name| self.0.remove(&name));
        }
    }

    fn points(&self) -> usize {
        self.0.values().map(Series::len).sum()
    }

    fn totals(&self, total: impl Fn(&Series) -> Total) -> Vec<NamedTotal> {
        let totals = self.0.iter().map(|(name, series)| NamedTotal {
            name: Arc::clone(name),
            total: total(series),
        });
        totals.filter(|of| 0 < of.total.decisions()).collect()
    }
}

impl Namespace {
    fn add(&mut self, at: u32, decided: Decided) {
        let Decided {
            limits,
            others: mut all,
            api_keys,
        } = decided;
        for (name, counts) in limits {
            all.add_all(&counts);
            self.limits.add(at, name, &counts);
        }
        for (id, counts) in api_keys {
            self.api_keys.add(at, id, &counts);
        }
        self.all.add(at, &all);
        self.limits.make_room();
        self.api_keys.make_room();
        self.points = self.all.len() + self.limits.points() + self.api_keys.points();
    }

    fn series(&self) -> usize {
        1 + self.limits.0.len() + self.api_keys.0.len()
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
    /// This was decided of a namespace in the second `at`, which is over.
    pub fn add(&mut self, namespace: &Arc<str>, at: u32, decided: Decided) {
        let of = self.namespaces.entry(Arc::clone(namespace)).or_default();
        // One that is new is not counted yet.
        let known = if of.all.is_empty() { 0 } else { of.series() };
        self.points -= of.points;
        self.series -= known;
        of.add(at, decided);
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
            Some(limit) => of.limits.0.get(limit),
        });
        series.map_or_else(Vec::new, |series| series.points(window, now))
    }

    /// What the limits of a namespace have decided in such a window, and what was decided for its API keys, each in no order.
    #[must_use]
    pub fn by_name(
        &self,
        namespace: &str,
        window: Window,
        now: u32,
    ) -> (Vec<NamedTotal>, Vec<NamedTotal>) {
        let total = |series: &Series| series.total(window, now);
        let of = self.namespaces.get(namespace);
        let of = of.map(|of| (of.limits.totals(total), of.api_keys.totals(total)));
        of.unwrap_or_default()
    }

    /// What was decided of a namespace in the seconds after `after`.
    #[must_use]
    pub fn since(&self, namespace: &str, after: u32) -> Sample {
        let of = self.namespaces.get(namespace);
        of.map_or_else(Sample::default, |of| Sample {
            all: of.all.since(after),
            limits: of.limits.totals(|series| series.since(after)),
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
        let decided = Decided {
            limits: limits.collect(),
            ..Decided::default()
        };
        store.add(&namespace.into(), at, decided);
    }

    /// What it says of itself is what it holds.
    fn check(store: &Store) {
        let points = |of: &Namespace| -> usize {
            let names = of.limits.0.values().chain(of.api_keys.0.values());
            of.all.len() + names.map(Series::len).sum::<usize>()
        };
        let points: usize = store.namespaces.values().map(points).sum();
        let series: usize = store.namespaces.values().map(Namespace::series).sum();
        assert_eq!((store.points, store.series), (points, series));
    }

    #[test]
    fn a_namespace_is_the_sum_of_its_limits_and_of_the_others() {
        let mut store = Store::default();
        let limits = HashMap::from([("a".into(), counts(2)), ("b".into(), counts(3))]);
        let decided = Decided {
            limits,
            others: counts(4),
            api_keys: HashMap::from([("key_a".into(), counts(5))]),
        };
        store.add(&"tn".into(), 100, decided);
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
        let (limits, api_keys) = store.by_name("tn", Window::Day, 100);
        assert_eq!((limits.len(), api_keys.len()), (2, 1));
        assert_eq!(api_keys[0].total.allowed, 5);
        assert_eq!(store.points("tn", Some("key_a"), Window::Hour, 100), []);
        let nothing = (Vec::new(), Vec::new());
        assert_eq!(store.by_name("tn", Window::TenMinutes, 701), nothing);
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
        let (names, _) = store.by_name("tn", Window::Hour, 10_250);
        assert_eq!(names.len(), NAMES_MAX);
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
