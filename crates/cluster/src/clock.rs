//! The one place where this process reads a clock for the state machines.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use quota::{BootNanos, Now, UnixNanos};
use rustix::time::{ClockId, clock_gettime};

/// How far one call of [`Clock::slew_towards`] moves the wall clock, in nanoseconds.
///
/// 1 ms a heartbeat round (100 ms) is one percent: a skew at the tolerated maximum of 500 ms is gone
/// after a minute, and no limit's period is bent by more than that percent meanwhile. A step back is
/// as small, so that a key decided just before and just after sees time stand still, not a window reopened.
pub const SLEW_MAX_NANOS: i64 = 1_000_000;

/// Both clocks of this node.
///
/// Wall time is read once, at start, and from then on follows `CLOCK_BOOTTIME`: when an operator or NTP
/// steps the system's wall clock, counts do not notice. What keeps nodes together is [`Self::slew_towards`].
/// A reading costs one `clock_gettime`, which needs no system call where the kernel maps it (vDSO).
#[derive(Debug)]
pub struct Clock {
    /// Wall time minus boot time when this clock started.
    anchor: i64,
    /// What was slewed since.
    slewed: AtomicI64,
}

impl Clock {
    /// Anchors wall time to boot time, now.
    #[must_use]
    pub fn start() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| nanos_i64(since.as_nanos()));
        Self::anchored(boot_nanos(), wall)
    }

    fn anchored(boot: u64, wall: i64) -> Self {
        Self {
            anchor: wall.saturating_sub_unsigned(boot),
            slewed: AtomicI64::new(0),
        }
    }

    /// One reading of both clocks, of the same instant.
    #[must_use]
    pub fn now(&self) -> Now {
        let boot = boot_nanos();
        Now {
            boot: BootNanos::new(boot),
            wall: self.wall_at(boot),
        }
    }

    fn wall_at(&self, boot: u64) -> UnixNanos {
        let offset = self
            .anchor
            .saturating_add(self.slewed.load(Ordering::Relaxed));
        UnixNanos::new(boot.saturating_add_signed(offset))
    }

    /// Moves wall time by at most [`SLEW_MAX_NANOS`] towards the cluster's, and returns how far it moved.
    ///
    /// `median_offset` is the cluster's median wall time minus this node's, in nanoseconds, as measured
    /// with the present slew. Call it once per heartbeat round.
    pub fn slew_towards(&self, median_offset: i64) -> i64 {
        let step = median_offset.clamp(-SLEW_MAX_NANOS, SLEW_MAX_NANOS);
        self.slewed.fetch_add(step, Ordering::Relaxed);
        step
    }
}

fn boot_nanos() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    // Both parts are non-negative: the clock starts at zero with the machine.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

fn nanos_i64(nanos: u128) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_follows_boot_time_from_its_anchor() {
        let clock = Clock::anchored(1_000, 5_000_000);
        assert_eq!(clock.wall_at(1_000), UnixNanos::new(5_000_000));
        assert_eq!(clock.wall_at(4_000), UnixNanos::new(5_003_000));
    }

    #[test]
    fn a_machine_older_than_the_epoch_is_told_so_by_a_small_wall_time_not_by_a_panic() {
        let clock = Clock::anchored(9_000, 0);
        assert_eq!(clock.wall_at(9_000), UnixNanos::new(0));
    }

    #[test]
    fn one_slew_moves_at_most_a_millisecond_and_many_arrive_exactly() {
        let clock = Clock::anchored(0, 10 * SLEW_MAX_NANOS);
        assert_eq!(clock.slew_towards(i64::MAX), SLEW_MAX_NANOS);
        assert_eq!(clock.wall_at(0).get(), 11_000_000);
        assert_eq!(clock.slew_towards(-2_500_000), -SLEW_MAX_NANOS);
        assert_eq!(clock.slew_towards(-1_500_000), -SLEW_MAX_NANOS);
        assert_eq!(clock.slew_towards(-500_000), -500_000);
        assert_eq!(clock.slew_towards(0), 0);
        assert_eq!(clock.wall_at(0).get(), 8_500_000);
    }

    #[test]
    fn readings_do_not_go_back() {
        let clock = Clock::start();
        let earlier = clock.now();
        let later = clock.now();
        assert!(earlier.boot <= later.boot && earlier.wall <= later.wall);
    }
}
