//! Versions that drain, each while the others did, as one.
//!
//! One node that had been asked for every hit would have a TAT of the greatest `t + (units from t on)` over the instants
//! `t` of all hits. Take any version `v`, and let `r` be what the others know beyond it. If `v` knows a hit at `t` or
//! later, its own units from `t` on are in its TAT already, and the sum is at most `TAT_v + r`. If it knows none, the sum
//! is one of the others without `v`. So the TAT is at most `TAT_v + r` or that of the others, whichever is later; and so on
//! with the others, in any order.

use std::cmp::Ordering;

use quota::{Count, Limit, UnixNanos};
use smallvec::SmallVec;

use super::merged::Merged;
use super::{Folded, Writers};
use crate::version::{SLOTS_MAX, Version};

/// What the versions of a draining fork come to: at most one burst for each further version beyond the latest. `None` if
/// each has drained, with what the others added, too.
pub(super) fn drain_together(
    versions: &[Version],
    limit: &Limit,
    now: UnixNanos,
    writers: Writers,
) -> Option<Folded> {
    let merged = Merged::of(versions);
    let latest = latest(versions.iter().map(Version::count))?;
    let strictest = strictest_of(versions, &merged)?;
    if latest.expires_at().max(strictest.expires_at()) <= now {
        return None;
    }
    let further = versions.len() as i64 - 1;
    let most = latest.put_upon(i64::from(limit.burst()).saturating_mul(further))?;
    let bound = match writers {
        Writers::Owners => lowest(versions).unwrap_or(strictest),
        Writers::Many => strictest,
    };
    Some(Folded {
        count: if is_before(&most, &bound) {
            most
        } else {
            bound
        },
        slots: merged.slots,
        forgiven: merged.forgiven,
    })
}

/// The lowest bound that leaving out one version after another finds. `None` if the slots do not tell exactly what each
/// version knows beyond another: units were given back, or slots may have been dropped.
fn lowest(versions: &[Version]) -> Option<Count> {
    if versions
        .iter()
        .any(|version| SLOTS_MAX <= version.slots().len())
    {
        return None;
    }
    let mut bound = latest(versions.iter().map(Version::count))?;
    let mut rest: SmallVec<[Version; 2]> = SmallVec::from(versions);
    while 1 < rest.len() {
        let merged = Merged::of(&rest);
        let mut least: Option<(usize, Count)> = None;
        for (place, version) in rest.iter().enumerate() {
            let count = version.count().put_upon(merged.added_beyond(version)?)?;
            if least
                .as_ref()
                .is_none_or(|(_, least)| is_before(&count, least))
            {
                least = Some((place, count));
            }
        }
        let (place, count) = least?;
        rest.remove(place);
        bound = later(bound, count);
    }
    Some(bound)
}

/// The latest of what each version would say with what the others added. `None` for versions that do not drain.
pub(crate) fn strictest(versions: &[Version]) -> Option<Count> {
    strictest_of(versions, &Merged::of(versions))
}

fn strictest_of(versions: &[Version], merged: &Merged) -> Option<Count> {
    let counts = versions
        .iter()
        .map(|version| version.count().put_upon(merged.missing_from(version)));
    counts.reduce(|a, b| Some(later(a?, b?))).flatten()
}

/// Whether the version at `place` had drained before what another knows beyond it was added: then that one alone tells
/// what both come to. Only a third that is not here could still make a difference.
pub(crate) fn had_drained(versions: &[Version], place: usize) -> bool {
    let version = &versions[place];
    let Some(units) = Merged::of(versions).added_beyond(version) else {
        return false;
    };
    let Some(together) = version.count().put_upon(units) else {
        return false;
    };
    let others = versions.iter().filter(|other| *other != version);
    others
        .map(Version::count)
        .any(|other| is_before(version.count(), other) && !is_before(other, &together))
}

fn latest<'c>(counts: impl Iterator<Item = &'c Count>) -> Option<Count> {
    counts.cloned().reduce(later)
}

fn is_before(count: &Count, other: &Count) -> bool {
    count.cmp_drained(other) == Some(Ordering::Less)
}

fn later(a: Count, b: Count) -> Count {
    if is_before(&a, &b) { b } else { a }
}
