//! Waiting for a condition.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that is not measured here: generous, since a busy two-core machine is no failure.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks at a condition: short beside what is waited for, long beside a request.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks `look` until it returns `Ok`, and returns what it found.
///
/// # Panics
///
/// If it still returns `Err` after [`DEADLINE`], with the last reason.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(reason) if DEADLINE < start.elapsed() => {
                panic!("not within {DEADLINE:?}: {what}; last: {reason}")
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}
