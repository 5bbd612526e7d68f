//! How soon a task that failed is started again.

use std::time::{Duration, Instant};

/// The pause before the second restart in a row; each further one is twice as long. The first is immediate: P4 has 100 ms
/// for an answer, and most panics do not come back.
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// The longest pause. A task that always panics then costs a log line in five seconds.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A task that ran this long before it failed is started again at once.
const WELL: Duration = Duration::from_secs(60);

/// The failures in a row of one task.
#[derive(Default)]
pub(crate) struct Restarts {
    in_a_row: u32,
    last: Option<Instant>,
}

impl Restarts {
    /// Takes note of a failure now, and says how long to pause.
    pub(crate) fn next(&mut self) -> Duration {
        self.next_at(Instant::now())
    }

    fn next_at(&mut self, now: Instant) -> Duration {
        if self.last.is_none_or(|last| WELL <= now - last) {
            self.in_a_row = 0;
        }
        self.last = Some(now);
        let failures = self.in_a_row;
        self.in_a_row = failures.saturating_add(1);
        match failures {
            0 => Duration::ZERO,
            // Beyond ten doublings the longest pause has been reached long ago.
            again => (PAUSE_FIRST * (1 << (again - 1).min(10))).min(PAUSE_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_anew_after_a_minute() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        let pauses: Vec<u128> = (0..10)
            .map(|_| restarts.next_at(start).as_millis())
            .collect();
        assert_eq!(
            pauses,
            [0, 50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]
        );
        assert_eq!(restarts.next_at(start + WELL / 2), PAUSE_MAX);
        assert_eq!(
            restarts.next_at(start + WELL / 2 + WELL),
            Duration::ZERO,
            "it had run well for a minute"
        );
    }
}
