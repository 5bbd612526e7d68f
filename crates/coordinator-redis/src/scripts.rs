//! The scripts, and how they are called.

use quota::{Algorithm, Anchor, Calendar, CalendarUnit, Limit, Nanos, UnixNanos};
use redis::Cmd;

/// The parts of a script that follow the prelude.
macro_rules! script {
    ($file:literal) => {
        Script::new(concat!(
            include_str!("scripts/prelude.lua"),
            include_str!(concat!("scripts/", $file))
        ))
    };
}

/// How long a state is kept beyond the instant from which it says nothing more, in milliseconds.
///
/// The server's clock may step back by this much without forgetting what was counted.
pub(crate) const GRACE_MS: u32 = 1_000;

/// A script and the name that Redis gives it.
pub(crate) struct Script {
    source: &'static str,
    /// SHA-1 in hexadecimal.
    hash: String,
}

impl Script {
    fn new(source: &'static str) -> Self {
        let hash = redis::Script::new(source).get_hash().to_owned();
        Self { source, hash }
    }

    /// The command that runs this on `key`.
    pub(crate) fn call(&self, by: By, key: &[u8], args: &[&[u8]]) -> Cmd {
        let (name, text) = match by {
            By::Hash => ("EVALSHA", self.hash.as_str()),
            By::Source => ("EVAL", self.source),
        };
        let mut cmd = redis::cmd(name);
        cmd.arg(text).arg(1).arg(key);
        for arg in args {
            cmd.arg(arg);
        }
        cmd
    }
}

/// All scripts. One per algorithm, of which `leaky_bucket` is another name for the arithmetic of `gcra`.
pub(crate) struct Scripts {
    gcra: Script,
    fixed_window: Script,
    sliding_counter: Script,
    sliding_log: Script,
    pub(crate) replace: Script,
    pub(crate) probe: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            gcra: script!("gcra.lua"),
            fixed_window: script!("fixed_window.lua"),
            sliding_counter: script!("sliding_counter.lua"),
            sliding_log: script!("sliding_log.lua"),
            replace: Script::new(include_str!("scripts/replace.lua")),
            probe: Script::new(include_str!("scripts/probe.lua")),
        }
    }

    pub(crate) const fn of(&self, algorithm: Algorithm) -> &Script {
        match algorithm {
            Algorithm::Gcra | Algorithm::LeakyBucket => &self.gcra,
            Algorithm::FixedWindow => &self.fixed_window,
            Algorithm::SlidingCounter => &self.sliding_counter,
            Algorithm::SlidingLog => &self.sliding_log,
        }
    }
}

/// How a script is called: by its hash, or with its source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum By {
    /// `EVALSHA`. Refused, and nothing done, when the server has not seen the source since it started.
    Hash,
    /// `EVAL`, after which the server knows it.
    Source,
}

/// What a state written under given parameters begins with: the kind, the units where draining depends on them, and
/// the period. A script that finds another beginning leaves the state to [`crate::counting`].
pub(crate) const SIGNATURE: usize = 13;

/// The beginning of a state.
pub(crate) fn signature(kind: u8, units: u32, period_ms: u64) -> [u8; SIGNATURE] {
    let mut bytes = [0; SIGNATURE];
    bytes[0] = kind;
    bytes[1..5].copy_from_slice(&units.to_le_bytes());
    bytes[5..].copy_from_slice(&period_ms.to_le_bytes());
    bytes
}

/// The beginning of a state whose window is one of a calendar's: its length stands in the state. Zones are not told apart: a
/// window that was opened in another runs to its end.
pub(crate) fn calendar_signature(unit: CalendarUnit) -> [u8; SIGNATURE] {
    let unit = match unit {
        CalendarUnit::Day => 0,
        CalendarUnit::Week => 1,
        CalendarUnit::Month => 2,
        CalendarUnit::Year => 3,
    };
    signature(b'k', unit, 0)
}

/// Where windows of a calendar begin, as `fixed_window.lua` reads it: that of `around`, the one before, and two after. The
/// server's clock may be in another of them than this node's, and says so when it is in none.
pub(crate) fn edges(calendar: Calendar, around: UnixNanos) -> [u8; 32] {
    let this = calendar.window(around);
    let before = calendar.window(this.start - Nanos::new(1));
    let next = calendar.window(this.end);
    let mut bytes = [0; 32];
    let edges = [before.start, this.start, this.end, next.end];
    for (place, edge) in bytes.chunks_exact_mut(8).zip(edges) {
        let micros = edge.get() / 1_000;
        place.copy_from_slice(&(micros as f64).to_le_bytes());
    }
    bytes
}

/// What a script is told of a limit and a cost: the signature and six doubles, as `prelude.lua` reads them.
pub(crate) fn arguments(limit: &Limit, cost: i64, grace_ms: u32) -> [u8; SIGNATURE + 48] {
    let (kind, units) = match limit.algorithm() {
        Algorithm::Gcra => (b'g', limit.units()),
        Algorithm::LeakyBucket => (b'b', limit.units()),
        Algorithm::FixedWindow => (b'w', 0),
        Algorithm::SlidingCounter => (b'c', 0),
        Algorithm::SlidingLog => (b'l', 0),
    };
    let period_ms = limit.period().ceil_millis();
    let signature = match limit.anchor().calendar() {
        Some(calendar) => calendar_signature(calendar.unit),
        None => signature(kind, units, period_ms),
    };
    let numbers = [
        cost as f64,
        f64::from(limit.burst()),
        f64::from(limit.units()),
        period_ms as f64 * 1_000.0,
        f64::from(grace_ms),
        f64::from(match limit.anchor() {
            Anchor::Epoch => 0_u8,
            // No limit that people make ends at an instant; from there on its windows are anchored nowhere else.
            Anchor::FirstHit | Anchor::Ending(_) => 1,
            Anchor::Calendar(_) => 2,
        }),
    ];
    let mut bytes = [0; SIGNATURE + 48];
    bytes[..SIGNATURE].copy_from_slice(&signature);
    for (place, number) in bytes[SIGNATURE..].chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}
