//! Versions that drain, each while the others did, as one.

use quota::{Count, Limit, UnixNanos};
use smallvec::SmallVec;

use super::merged::Merged;
use crate::version::Version;

/// What versions that drain in the same way come to. `None` if one gave back what another had added.
///
/// One version after another is left out, the one with the lowest bound first, until one is left.
pub(super) fn drain_together(versions: &[Version], limit: &Limit) -> Option<Count> {
    // Upon the instant at which it is full, whether or not that is past.
    let plus = |count: &Count, units| count.plus(limit, UnixNanos::ZERO, units);
    let mut bound = versions.iter().map(Version::count).cloned().reduce(later)?;
    let most = i64::from(limit.burst()).saturating_mul(versions.len() as i64 - 1);
    let most = plus(&bound, most);
    let mut rest: SmallVec<[Version; 2]> = SmallVec::from(versions);
    while 1 < rest.len() {
        let merged = Merged::of(&rest);
        let mut lowest: Option<(usize, Count)> = None;
        for (place, version) in rest.iter().enumerate() {
            let count = plus(version.count(), merged.added_beyond(version)?);
            if lowest
                .as_ref()
                .is_none_or(|(_, least)| is_before(&count, least))
            {
                lowest = Some((place, count));
            }
        }
        let (place, count) = lowest?;
        rest.remove(place);
        bound = later(bound, count);
    }
    Some(if is_before(&most, &bound) {
        most
    } else {
        bound
    })
}

fn is_before(count: &Count, other: &Count) -> bool {
    count.drains_before(other) == Some(true)
}

fn later(a: Count, b: Count) -> Count {
    if is_before(&a, &b) { b } else { a }
}
