//! `[[limit]]`: the named limits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use coordinator::{FailMode, Policy, Strategy};
use quota::{Algorithm, Limit, LimitError, Nanos};

use super::problem::{Given, Problems};
use super::table::Table;
use super::windows::{self, Windows};
use super::{NAME_ACCEPTED, NAMESPACE, valid_name};

const ALGORITHMS: &str = quota::UnknownAlgorithm::ACCEPTED;
const KEEP_ACCEPTED: &str = "false; true is for limits with strategy = \"owner\": redis keeps what it counts by itself, raft in [raft] data_dir, local in memory";
const TOP_KEYS_ACCEPTED: &str = "false; true is for limits of tenants, which are made by PUT /v1/limits/NAME or weir limits set --tenant";
/// As far as a limit's number goes. Single algorithms take less.
const UNITS_MAX: u64 = Limit::UNITS_MAX as u64;

/// Reads every `[[limit]]`. What is returned is complete only if there was no problem.
///
/// `has_redis`: whether the file says where Redis is.
///
/// The second list has the names of all limits, those with problems too, so that a route is not blamed for them; the third
/// those whose algorithm is called `token_bucket`.
pub(crate) fn read(
    tables: Vec<Table<'_>>,
    has_redis: bool,
    problems: &mut Problems,
) -> (Vec<Policy>, Vec<String>, HashSet<Arc<str>>) {
    let mut places: HashMap<String, String> = HashMap::new();
    let mut limits = Vec::new();
    let mut token_buckets = HashSet::new();
    for mut table in tables {
        let name = table.string("name", problems);
        table.missing("name", NAME_ACCEPTED, problems);
        if let Some(name) = &name {
            problems.parse(name, NAME_ACCEPTED, valid_name);
            if let Some(first) = places.get(&name.value) {
                problems.bad_value(
                    name,
                    format!("a name of its own; this one is taken at {first}"),
                );
            }
            places
                .entry(name.value.clone())
                .or_insert_with(|| name.place.clone());
        }
        let limit = read_limit(&mut table, problems);
        let algorithm = table.string("algorithm", &mut Problems::default());
        if let Some(name) = &name
            && algorithm.is_some_and(|given| given.value == "token_bucket")
        {
            token_buckets.insert(name.value.as_str().into());
        }
        let strategy = read_strategy(&mut table, limit.as_ref(), has_redis, problems);
        let on_failure = read_on_failure(&mut table, strategy, problems);
        let limit = read_keep(&mut table, limit, strategy, problems);
        refuse_top_keys(&mut table, problems);
        table.finish(problems);
        if let (Some(name), Some(limit), Some(strategy), Some(on_failure)) =
            (name, limit, strategy, on_failure)
        {
            limits.push(Policy {
                namespace: NAMESPACE.into(),
                name: name.value.into(),
                limit,
                strategy,
                on_failure,
                top_keys: false,
            });
        }
    }
    (limits, places.into_keys().collect(), token_buckets)
}

/// The arithmetic of one limit. Each value is checked by itself before they are checked together, so that one
/// mistake does not hide another.
fn read_limit(table: &mut Table<'_>, problems: &mut Problems) -> Option<Limit> {
    let algorithm = read_algorithm(table, problems);
    let units = table.integer("limit", 1, UNITS_MAX, problems).map(to_u32);
    table.missing("limit", "units per period, at least 1", problems);
    let windows = windows::read(table, problems);
    let burst = table.integer("burst", 1, UNITS_MAX, problems).map(to_u32);
    let Windows { per, anchor, fit } = windows;

    let second = Nanos::from_secs(1);
    let mut note = |result: Result<Limit, LimitError>, place: &str| {
        result
            .map_err(|error| {
                problems.add(place, format!("found {}", error.given()), error.accepted())
            })
            .ok()
    };
    // What the one that takes most does not take is wrong whatever the algorithm was to be.
    let widest = algorithm.unwrap_or(Algorithm::FixedWindow);
    let units_fit = units
        .as_ref()
        .and_then(|units| note(Limit::new(widest, units.value, second), &units.place));
    let per_fits = per
        .as_ref()
        .and_then(|per| note(Limit::new(widest, 1, per.value), &per.place));
    let algorithm = algorithm?;
    let simplest = Limit::new(algorithm, 1, second).ok()?;
    let burst_fits = burst
        .as_ref()
        .is_none_or(|burst| note(simplest.with_burst(burst.value), &burst.place).is_some());
    let anchor_fits = anchor
        .as_ref()
        .is_none_or(|anchor| note(simplest.with_anchor(anchor.value), &anchor.place).is_some());
    if units_fit.is_none() || per_fits.is_none() || !burst_fits || !anchor_fits || !fit {
        return None;
    }

    let mut limit = note(
        Limit::new(algorithm, units?.value, per.as_ref()?.value),
        &per?.place,
    )?;
    if let Some(burst) = burst {
        limit = note(limit.with_burst(burst.value), &burst.place)?;
    }
    if let Some(anchor) = anchor {
        limit = note(limit.with_anchor(anchor.value), &anchor.place)?;
    }
    Some(limit)
}

fn read_algorithm(table: &mut Table<'_>, problems: &mut Problems) -> Option<Algorithm> {
    table.missing("algorithm", ALGORITHMS, problems);
    let given = table.string("algorithm", problems)?;
    if given.value == "concurrency" {
        problems.add(
            &given.place,
            "\"concurrency\" is not in this version",
            ALGORITHMS,
        );
        return None;
    }
    problems.parse(&given, ALGORITHMS, |name| name.parse().ok())
}

/// Who counts. `None`: it is no strategy, or one that cannot count by the limit's algorithm.
fn read_strategy(
    table: &mut Table<'_>,
    limit: Option<&Limit>,
    has_redis: bool,
    problems: &mut Problems,
) -> Option<Strategy> {
    let Some(given) = table.string("strategy", problems) else {
        return Some(Strategy::Owner);
    };
    let words = Strategy::ALL.map(|strategy| (strategy.name(), strategy));
    let strategy = problems.choose(&given, &words)?;
    let algorithm = limit.map(Limit::algorithm);
    if let Some(algorithm) = algorithm.filter(|&algorithm| !strategy.counts_by(algorithm)) {
        let able = Strategy::ALL.into_iter().filter(|s| s.counts_by(algorithm));
        let able: Vec<_> = able.map(|s| format!("{:?}", s.name())).collect();
        let what = format!("{:?} cannot count by {algorithm}", given.value);
        problems.add(&given.place, what, able.join(", "));
        return None;
    }
    if strategy == Strategy::Redis && !has_redis {
        let accepted = "\"redis\" in a file with a section [redis] that says where it is";
        problems.add(&given.place, "\"redis\" needs a section [redis]", accepted);
    }
    Some(strategy)
}

/// What is answered when nobody can count. A limit that protects something should not open because there is trouble.
fn read_on_failure(
    table: &mut Table<'_>,
    strategy: Option<Strategy>,
    problems: &mut Problems,
) -> Option<FailMode> {
    let Some(given) = table.string("on_failure", problems) else {
        return Some(FailMode::Deny);
    };
    let words = FailMode::ALL.map(|mode| (mode.name(), mode));
    let mode = problems.choose(&given, &words)?;
    if mode == FailMode::Owner && strategy.is_some_and(|strategy| strategy != Strategy::Redis) {
        problems.bad_value(
            &given,
            "\"deny\" or \"allow\"; \"owner\" is for limits with strategy = \"redis\"",
        );
        return None;
    }
    Some(mode)
}

/// Whether what is counted outlives all nodes: only the strategy `owner` has it where it can be kept.
fn read_keep(
    table: &mut Table<'_>,
    limit: Option<Limit>,
    strategy: Option<Strategy>,
    problems: &mut Problems,
) -> Option<Limit> {
    let place = table.place_of_key("keep");
    let Some(keep) = table.boolean("keep", problems) else {
        return limit;
    };
    if keep && let Some(other) = strategy.filter(|&strategy| strategy != Strategy::Owner) {
        let what = format!("true does not go with strategy = {:?}", other.name());
        problems.add(&place, what, KEEP_ACCEPTED);
        return None;
    }
    limit.map(|limit| limit.with_keep(keep))
}

/// Tenants have no limits of the file, and of others nobody is told which keys they deny.
fn refuse_top_keys(table: &mut Table<'_>, problems: &mut Problems) {
    let place = table.place_of_key("top_keys");
    if table.boolean("top_keys", problems) == Some(true) {
        problems.add(&place, "found true", TOP_KEYS_ACCEPTED);
    }
}

fn to_u32(given: Given<u64>) -> Given<u32> {
    let value = u32::try_from(given.value).expect("the reader keeps it within UNITS_MAX");
    Given {
        value,
        place: given.place,
    }
}
