//! Waiting for a condition.

use std::time::Duration;

use rehearsal::until;

/// How long anything may take that is not measured here: generous, since a busy two-core machine is no failure.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Asks `look` until it returns `Ok`, and returns what it found.
///
/// # Panics
///
/// If it still returns `Err` after [`DEADLINE`], with the last reason.
#[track_caller]
pub fn eventually<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    match until(DEADLINE, what, look) {
        Ok(found) => found,
        Err(late) => panic!("{late}"),
    }
}
