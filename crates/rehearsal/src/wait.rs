//! Waiting for a condition, never for a duration.

use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at a condition: short beside what is waited for, long beside a request.
const PAUSE: Duration = Duration::from_millis(20);

/// What was waited for did not come to pass.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not within {within:?}: {what}; last: {last}")]
pub struct Late {
    /// What was waited for.
    pub what: String,
    /// For how long.
    pub within: Duration,
    /// What was seen last instead.
    pub last: String,
}

/// Asks `look` until it returns `Ok`, and returns what it found.
///
/// # Errors
///
/// If it still returns `Err` after `within`, with the last reason.
pub fn until<T>(
    within: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T, Late> {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(last) if within < start.elapsed() => {
                let what = what.to_owned();
                return Err(Late { what, within, last });
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_at_until_it_is_so() {
        let mut looks = 0;
        let found = until(Duration::from_secs(60), "three looks", || {
            looks += 1;
            if looks < 3 {
                Err("not yet".to_owned())
            } else {
                Ok(looks)
            }
        });
        assert_eq!(found, Ok(3));
        let late = until(Duration::ZERO, "never", || Err::<(), _>("no".to_owned()));
        assert_eq!(
            late.unwrap_err().to_string(),
            "not within 0ns: never; last: no"
        );
    }
}
