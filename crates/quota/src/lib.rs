//! Limits, keys, costs, decisions, and the algorithms behind them: values and arithmetic only.
//!
//! A [`Limit`] and the [`Count`] of one key give a [`Decision`] for a hit at a given instant. Read [`Limit`] first,
//! then [`Limit::hit`], then [`Count`].
//!
//! This crate knows no clock: `now` is an argument. It knows nothing of nodes either, but counts are made to be
//! replicated: they can be taken apart and put together by a peer protocol, expire by themselves, and can be
//! [folded](Count::plus) and [compared](Count::stricter). Nothing here panics, whatever the input, and arithmetic
//! saturates at the year 2554, where 64 bits of nanoseconds end. What calendars say comes from a database of time zones that
//! is compiled in: the same for every `now`, whatever the machine has.
//!
//! ```
//! use quota::{Algorithm, Cost, Limit, Nanos, Stamp, UnixNanos, Verdict};
//!
//! let limit = Limit::new(Algorithm::Gcra, 10, Nanos::from_secs(1))?.with_burst(1)?;
//! let (now, mut count) = (UnixNanos::new(1_800_000_000_000_000_000), None);
//! let stamp = Stamp { term: 1, seq: 1 };
//! assert_eq!(limit.hit(now, &mut count, Cost::ONE, stamp).decision.verdict, Verdict::Allow);
//!
//! let denied = limit.hit(now, &mut count, Cost::ONE, stamp).decision.verdict;
//! assert_eq!(denied, Verdict::Deny { retry_after: Nanos::from_millis(100) });
//! # Ok::<(), quota::LimitError>(())
//! ```

mod calendar;
mod clamp;
mod count;
mod decision;
mod fixed_window;
mod gcra;
mod hit;
mod key;
mod limit;
mod rate;
mod sliding_counter;
mod sliding_log;
mod time;

pub use calendar::{Calendar, CalendarUnit, UnknownZone, Window, Zone};
pub use count::{Count, Stamp};
pub use decision::{Cost, Decision, Taken, Verdict};
pub use fixed_window::FixedWindow;
pub use gcra::Tat;
pub use key::{KeyHash, KeyHasher, LimitHasher};
pub use limit::{Algorithm, Anchor, Limit, LimitError, UnknownAlgorithm};
pub use sliding_counter::SlidingCounter;
pub use sliding_log::{Log, LogEntry};
pub use time::{BootNanos, Nanos, Now, UnixNanos};
