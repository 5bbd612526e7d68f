//! The most requests of one tenant on one node.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A GCRA in one number, without a lock: so many in a span, as many at once.
pub(crate) struct Ceiling {
    began: Instant,
    /// When all of it is back, in nanoseconds since then.
    full_at: AtomicU64,
}

/// In nanoseconds.
pub(crate) const SECOND: u64 = 1_000_000_000;

impl Ceiling {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            full_at: AtomicU64::new(0),
        }
    }

    /// Whether one more may pass where `units` may in `span`, in nanoseconds. Always of one span.
    pub(crate) fn passes(&self, units: u32, span: u64) -> bool {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.passes_at(now, units, span)
    }

    fn passes_at(&self, now: u64, units: u32, span: u64) -> bool {
        let each = span / u64::from(units.max(1));
        let taken = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let full_at = full_at.max(now) + each;
                (full_at <= now + span).then_some(full_at)
            });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_pass_at_once_as_in_a_span() {
        for span in [SECOND, 60 * SECOND] {
            let ceiling = Ceiling::new();
            let passes = |now: u64| ceiling.passes_at(now, 10, span);
            let passed = |now: u64| (0..100).filter(|_| passes(now)).count();
            assert_eq!(passed(0), 10);
            assert_eq!(passed(span / 2), 5);
            assert_eq!(passed(10 * span), 10);
        }
    }
}
