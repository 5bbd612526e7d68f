//! The arithmetic part of a limit: how many units, how often, counted how.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use crate::calendar::Calendar;
use crate::rate::Rate;
use crate::time::{Nanos, UnixNanos};

/// How hits are counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Algorithm {
    /// The generic cell rate algorithm: one theoretical arrival time per key. A token bucket admits the same hits,
    /// so `token_bucket` is another name for this.
    Gcra,
    /// Every admitted hit is remembered for one period. Exact over every window; memory grows with the limit.
    SlidingLog,
    /// Two counters, the older weighted by how much of it the window still covers. Approximate.
    SlidingCounter,
    /// One counter per window, starting anew with each.
    FixedWindow,
    /// A bucket that hits fill and time drains, as a meter: what does not fit is denied, never queued.
    LeakyBucket,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [
        Self::Gcra,
        Self::SlidingLog,
        Self::SlidingCounter,
        Self::FixedWindow,
        Self::LeakyBucket,
    ];

    /// The name in files and on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gcra => "gcra",
            Self::SlidingLog => "sliding_log",
            Self::SlidingCounter => "sliding_counter",
            Self::FixedWindow => "fixed_window",
            Self::LeakyBucket => "leaky_bucket",
        }
    }

    const fn has_burst(self) -> bool {
        matches!(self, Self::Gcra | Self::LeakyBucket)
    }

    const fn units_max(self) -> u32 {
        match self {
            Self::SlidingLog => LOG_UNITS_MAX,
            _ => Limit::UNITS_MAX,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        if name == "token_bucket" {
            return Ok(Self::Gcra);
        }
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| UnknownAlgorithm { given: name.into() })
    }
}

/// A name that is no [`Algorithm`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("algorithm is {given:?}, accepted: {accepted}", accepted = Self::ACCEPTED)]
pub struct UnknownAlgorithm {
    /// The name that was given.
    pub given: String,
}

impl UnknownAlgorithm {
    /// The names that are accepted.
    pub const ACCEPTED: &'static str =
        "gcra, token_bucket, sliding_log, sliding_counter, fixed_window, leaky_bucket";
}

/// Where the windows of [`Algorithm::FixedWindow`] begin.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Anchor {
    /// At whole multiples of the period since the Unix epoch: the same for all keys.
    #[default]
    Epoch,
    /// For each key, at its first hit since it was last full.
    FirstHit,
    /// Where a calendar's days, weeks, months or years begin, which are not all as long.
    Calendar(Calendar),
    /// So that one ends at this instant, and others as long follow it: a window of a calendar for whoever cannot ask the
    /// calendar, see [`Limit::at`].
    Ending(UnixNanos),
}

impl Anchor {
    /// The calendar that windows follow; `None` if they follow none.
    #[must_use]
    pub const fn calendar(self) -> Option<Calendar> {
        match self {
            Self::Calendar(calendar) => Some(calendar),
            Self::Epoch | Self::FirstHit | Self::Ending(_) => None,
        }
    }
}

/// How many units pass how often, and how that is counted.
///
/// Small and `Copy`: hits carry it between nodes, so that the node that decides needs no table of limits. What
/// depends on the parameters alone is worked out once, here, and not for every hit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limit {
    algorithm: Algorithm,
    anchor: Anchor,
    burst: u32,
    pub(crate) rate: Rate,
    pub(crate) ticks: Option<Ticks>,
    keep: bool,
}

/// Every hit that waits for another node holds one.
const _: () = assert!(size_of::<Limit>() <= 56);

/// The rate and burst of a limit in ticks, chosen so that neither needs a fraction and 64 bits are enough.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Ticks {
    /// One where the emission interval is a whole number of nanoseconds, as it nearly always is; else the units.
    pub(crate) per_nano: NonZeroU32,
    /// The emission interval.
    pub(crate) interval: u64,
    /// The burst tolerance: burst times interval.
    pub(crate) tolerance: u64,
}

impl Ticks {
    /// `None` if the tolerance does not fit, which takes units that do not divide the period, and for example
    /// more than 200 000 of them a day.
    fn new(units: u32, period: Nanos, burst: u32) -> Option<Self> {
        let (per_nano, interval) = if period.get().is_multiple_of(u64::from(units)) {
            (NonZeroU32::MIN, period.get() / u64::from(units))
        } else {
            (NonZeroU32::new(units)?, period.get())
        };
        let tolerance = interval.checked_mul(u64::from(burst))?;
        Some(Self {
            per_nano,
            interval,
            tolerance,
        })
    }
}

/// Most units of a sliding log, which remembers each: 10 000 entries of 32 bytes are 320 kB for one key.
const LOG_UNITS_MAX: u32 = 10_000;
/// A hundred years: an instant this far ahead still fits [`UnixNanos`](crate::UnixNanos), which ends in 2554.
const TOLERANCE_MAX: u64 = 100 * 365 * 24 * 60 * 60 * 1_000_000_000;

impl Limit {
    /// Most units, and the largest burst: what fits a signed 32-bit integer, which some clients use. Single algorithms take
    /// less.
    pub const UNITS_MAX: u32 = i32::MAX as u32;
    /// The longest period: a leap year.
    pub const PERIOD_MAX: Nanos = Nanos::from_secs(366 * 24 * 60 * 60);
    /// What is counted under a limit of so long a period is kept, unless [told otherwise](Self::with_keep). Shorter ones are
    /// full again soon after a cluster is.
    pub const KEPT_FROM: Nanos = Nanos::from_secs(60 * 60);

    /// A limit of `units` per `period`, with a burst of `units`, and windows anchored at the epoch.
    ///
    /// `units` is 1 to `i32::MAX`, for a sliding log 1 to 10 000. `period` is a whole number of milliseconds
    /// from 1 ms to 366 days.
    ///
    /// # Errors
    ///
    /// [`LimitError::Units`] and [`LimitError::Period`] for values outside of that.
    pub fn new(algorithm: Algorithm, units: u32, period: Nanos) -> Result<Self, LimitError> {
        let accepted_max = algorithm.units_max();
        if !(1..=accepted_max).contains(&units) {
            return Err(LimitError::Units {
                given: units,
                accepted_max,
            });
        }
        let rate = Rate::new(units, period).ok_or(LimitError::Period { given: period })?;
        Ok(Self {
            algorithm,
            anchor: Anchor::Epoch,
            burst: units,
            rate,
            // Of the others no rate says how they drain.
            ticks: algorithm
                .has_burst()
                .then(|| Ticks::new(units, period, units))
                .flatten(),
            keep: Self::KEPT_FROM <= period,
        })
    }

    /// A limit of `units` in each window of `calendar`, by fixed window.
    ///
    /// # Errors
    ///
    /// [`LimitError::Units`] as for [`Self::new`].
    pub fn of_calendar(units: u32, calendar: Calendar) -> Result<Self, LimitError> {
        let limit = Self::new(Algorithm::FixedWindow, units, calendar.unit.longest())?;
        limit.with_anchor(Anchor::Calendar(calendar))
    }

    /// A limit of `units` in the window of length `period` that ends at `end`, and in windows as long that follow it.
    ///
    /// `None` unless `units` are those of [`Self::new`], and `period` is a whole number of milliseconds from 1 ms to 368 days.
    #[must_use]
    pub fn ending(units: u32, end: UnixNanos, period: Nanos) -> Option<Self> {
        let limit = Self::new(Algorithm::FixedWindow, units, Nanos::from_millis(1)).ok()?;
        Some(Self {
            anchor: Anchor::Ending(end),
            rate: limit.rate.per_window(period)?,
            keep: Self::KEPT_FROM <= period,
            ..limit
        })
    }

    /// The same limit with another burst, 1 to `i32::MAX`.
    ///
    /// # Errors
    ///
    /// [`LimitError::BurstUnsupported`] unless the algorithm is gcra or leaky bucket, [`LimitError::Burst`] for a
    /// value outside of the range, and [`LimitError::BurstTooSlow`] if the burst would take over a hundred years
    /// to come back.
    pub fn with_burst(self, burst: u32) -> Result<Self, LimitError> {
        if !self.algorithm.has_burst() {
            return Err(LimitError::BurstUnsupported {
                given: burst,
                algorithm: self.algorithm,
            });
        }
        if !(1..=Self::UNITS_MAX).contains(&burst) {
            return Err(LimitError::Burst { given: burst });
        }
        let units = u128::from(self.units());
        let period = self.period();
        let tolerance = (u128::from(burst) * u128::from(period.get())).div_ceil(units);
        if u128::from(TOLERANCE_MAX) < tolerance {
            let accepted = u128::from(TOLERANCE_MAX) * units / u128::from(period.get());
            return Err(LimitError::BurstTooSlow {
                given: burst,
                accepted_max: u32::try_from(accepted).unwrap_or(Self::UNITS_MAX),
            });
        }
        Ok(Self {
            burst,
            ticks: Ticks::new(self.units(), period, burst),
            ..self
        })
    }

    /// The same limit with windows anchored elsewhere. A calendar's have lengths of their own, in place of the period.
    ///
    /// # Errors
    ///
    /// [`LimitError::AnchorUnsupported`] unless the algorithm is fixed window.
    pub fn with_anchor(self, anchor: Anchor) -> Result<Self, LimitError> {
        if self.algorithm != Algorithm::FixedWindow {
            return Err(LimitError::AnchorUnsupported {
                given: anchor,
                algorithm: self.algorithm,
            });
        }
        let rate = match anchor {
            Anchor::Calendar(calendar) => {
                let rate = self.rate.per_window(calendar.unit.longest());
                rate.expect("no unit is longer than a window may be")
            }
            Anchor::Epoch | Anchor::FirstHit | Anchor::Ending(_) => self.rate,
        };
        let anchored = Self {
            anchor,
            rate,
            ..self
        };
        Ok(match self.keeps_as_usual() {
            true => anchored.with_keep(Self::KEPT_FROM <= anchored.period()),
            false => anchored,
        })
    }

    /// The same limit for whoever has another calendar, or none: of a calendar's windows the one that holds `now`.
    #[must_use]
    pub fn at(self, now: UnixNanos) -> Self {
        let Anchor::Calendar(calendar) = self.anchor else {
            return self;
        };
        let window = calendar.window(now);
        let ending = Self::ending(self.units(), window.end, window.length());
        ending.map_or(self, |limit| limit.with_keep(self.keep))
    }

    /// The same limit, whose counts outlive all nodes of a cluster or do not.
    #[must_use]
    pub const fn with_keep(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    /// How hits are counted.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Units gained per period, or admitted per window.
    #[must_use]
    pub const fn units(&self) -> u32 {
        self.rate.units()
    }

    /// The time in which `units` come back; the length of a window, or of a calendar's windows that of the longest.
    #[must_use]
    pub const fn period(&self) -> Nanos {
        self.rate.period().get()
    }

    /// The period, or of a calendar's windows the length of the one that holds `now`.
    #[must_use]
    pub fn period_at(&self, now: UnixNanos) -> Nanos {
        match self.anchor {
            Anchor::Calendar(calendar) => calendar.window(now).length(),
            Anchor::Epoch | Anchor::FirstHit | Anchor::Ending(_) => self.period(),
        }
    }

    /// Most units that pass at one instant. For windows and logs, the same as the units.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// Where fixed windows begin. Means nothing for other algorithms.
    #[must_use]
    pub const fn anchor(&self) -> Anchor {
        self.anchor
    }

    /// Whether what is counted outlives all nodes of a cluster, where they have a disk for it. It changes no decision.
    #[must_use]
    pub const fn keep(&self) -> bool {
        self.keep
    }

    /// Whether [`keep`](Self::keep) is what its period says.
    #[must_use]
    pub fn keeps_as_usual(&self) -> bool {
        self.keep == (Self::KEPT_FROM <= self.period())
    }
}

/// Why a limit cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field} is {given}, accepted: {accepted}", field = self.field(), given = self.given(), accepted = self.accepted())]
pub enum LimitError {
    /// No units, or too many.
    Units {
        /// The units asked for.
        given: u32,
        /// The most that this algorithm takes.
        accepted_max: u32,
    },
    /// A period too short, too long, or not in whole milliseconds.
    Period {
        /// The period asked for.
        given: Nanos,
    },
    /// No burst, or too large a one.
    Burst {
        /// The burst asked for.
        given: u32,
    },
    /// A burst that would take over a hundred years to come back at this rate.
    BurstTooSlow {
        /// The burst asked for.
        given: u32,
        /// The largest burst for this rate.
        accepted_max: u32,
    },
    /// A burst for an algorithm whose burst is its units.
    BurstUnsupported {
        /// The burst asked for.
        given: u32,
        /// The algorithm it was asked for.
        algorithm: Algorithm,
    },
    /// An anchor for an algorithm that has no windows to anchor.
    AnchorUnsupported {
        /// The anchor asked for.
        given: Anchor,
        /// The algorithm it was asked for.
        algorithm: Algorithm,
    },
}

impl LimitError {
    /// The field that is wrong, by its name in files and on the wire.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Units { .. } => "limit",
            Self::Period { .. } => "per",
            Self::Burst { .. } | Self::BurstTooSlow { .. } | Self::BurstUnsupported { .. } => {
                "burst"
            }
            Self::AnchorUnsupported { .. } => "anchor",
        }
    }

    /// The value that was given.
    #[must_use]
    pub fn given(&self) -> String {
        match self {
            Self::Units { given, .. }
            | Self::Burst { given }
            | Self::BurstTooSlow { given, .. }
            | Self::BurstUnsupported { given, .. } => given.to_string(),
            Self::Period { given } => given.to_string(),
            Self::AnchorUnsupported { given, .. } => match given {
                Anchor::Epoch => "epoch".into(),
                Anchor::FirstHit => "first_hit".into(),
                Anchor::Calendar(calendar) => calendar.unit.name().into(),
                Anchor::Ending(end) => format!("ending {}", end.get()),
            },
        }
    }

    /// The values that would have been accepted.
    #[must_use]
    pub fn accepted(&self) -> String {
        match self {
            Self::Units { accepted_max, .. } => format!("1 to {accepted_max}"),
            Self::Period { .. } => "1ms to 366d, in whole milliseconds".into(),
            Self::Burst { .. } => format!("1 to {}", Limit::UNITS_MAX),
            Self::BurstTooSlow { accepted_max, .. } => {
                format!("1 to {accepted_max}, so that it is back within 100 years")
            }
            Self::BurstUnsupported { algorithm, .. } => {
                format!("none, {algorithm} has no burst")
            }
            Self::AnchorUnsupported { algorithm, .. } => {
                format!("none, {algorithm} has no anchor")
            }
        }
    }
}
