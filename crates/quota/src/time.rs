//! Clock readings and spans. Values only: whoever drives a machine reads the clocks.

use std::fmt;
use std::ops::{Add, Sub};

/// A span of time in nanoseconds. Arithmetic saturates: half a millennium is for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Nanos(u64);

/// A wall-clock instant: nanoseconds since the Unix epoch, in cluster time.
///
/// For values that other nodes will compare, such as TATs. Right up to clock skew.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UnixNanos(u64);

/// A reading of a clock that never steps and goes on during suspension (`CLOCK_BOOTTIME`), in nanoseconds.
///
/// For leases and timers on this node. Meaningless on any other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct BootNanos(u64);

/// One reading of both clocks, taken by the driver once per event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// For leases and timers on this node.
    pub boot: BootNanos,
    /// For values that other nodes will compare.
    pub wall: UnixNanos,
}

impl Nanos {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// Longer than any limit.
    pub const MAX: Self = Self(u64::MAX);

    /// A span of `nanos` nanoseconds.
    #[must_use]
    pub const fn new(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A span of `millis` milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// A span of `secs` seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// The span in nanoseconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whole milliseconds, rounded up: a wait told to a client is never too short.
    #[must_use]
    pub const fn ceil_millis(self) -> u64 {
        self.0.div_ceil(1_000_000)
    }

    /// Whole seconds, rounded up.
    #[must_use]
    pub const fn ceil_secs(self) -> u64 {
        self.0.div_ceil(1_000_000_000)
    }

    /// The span repeated `times` times.
    #[must_use]
    pub const fn times(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl From<std::time::Duration> for Nanos {
    fn from(duration: std::time::Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for std::time::Duration {
    fn from(nanos: Nanos) -> Self {
        Self::from_nanos(nanos.0)
    }
}

impl Add for Nanos {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Nanos {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", std::time::Duration::from_nanos(self.0))
    }
}

macro_rules! instant {
    ($name:ident) => {
        impl $name {
            /// Before every other instant.
            pub const ZERO: Self = Self(0);

            /// The instant `nanos` nanoseconds after the clock's origin.
            #[must_use]
            pub const fn new(nanos: u64) -> Self {
                Self(nanos)
            }

            /// Nanoseconds since the clock's origin.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl Add<Nanos> for $name {
            type Output = Self;
            fn add(self, span: Nanos) -> Self {
                Self(self.0.saturating_add(span.0))
            }
        }

        impl Sub<Nanos> for $name {
            type Output = Self;
            fn sub(self, span: Nanos) -> Self {
                Self(self.0.saturating_sub(span.0))
            }
        }

        /// The span since `earlier`; zero when `earlier` is later.
        impl Sub for $name {
            type Output = Nanos;
            fn sub(self, earlier: Self) -> Nanos {
                Nanos(self.0.saturating_sub(earlier.0))
            }
        }
    };
}

instant!(UnixNanos);
instant!(BootNanos);
