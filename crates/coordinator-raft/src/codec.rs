//! Putting values into bytes and taking them out again: what the log, snapshots and calls between nodes have in common.

use quota::{
    Algorithm, Anchor, Calendar, CalendarUnit, Cost, Count, Decision, FixedWindow, KeyHash, Limit,
    Log, LogEntry, Nanos, SlidingCounter, Stamp, Tat, UnixNanos, Verdict,
};

/// Bytes that are not what they should be. Names the part that was looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed: {what}")]
pub(crate) struct Malformed {
    pub(crate) what: &'static str,
}

const fn malformed<T>(what: &'static str) -> Result<T, Malformed> {
    Err(Malformed { what })
}

/// 64 bits, seven a byte.
const VARINT_BYTES_MAX: usize = 10;

/// Appends to a buffer.
#[derive(Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn written(&self) -> &[u8] {
        &self.out
    }

    pub(crate) fn finish(self) -> bytes::Bytes {
        self.out.into()
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Seven bits a byte, the lowest first; the top bit says that more follow.
    #[inline]
    pub(crate) fn varint(&mut self, value: impl Into<u64>) {
        let mut rest: u64 = value.into();
        while 0x80 <= rest {
            self.out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.out.push(rest as u8);
    }

    pub(crate) fn key(&mut self, key: KeyHash) {
        self.raw(&key.get().to_le_bytes());
    }

    pub(crate) fn limit(&mut self, limit: &Limit) {
        self.byte(match limit.algorithm() {
            Algorithm::Gcra => 0,
            Algorithm::SlidingLog => 1,
            Algorithm::SlidingCounter => 2,
            Algorithm::FixedWindow => match limit.anchor() {
                Anchor::Epoch => 3,
                Anchor::FirstHit => 4,
                Anchor::Calendar(_) => 6,
                Anchor::Ending(_) => 7,
            },
            Algorithm::LeakyBucket => 5,
        });
        match limit.anchor() {
            Anchor::Epoch | Anchor::FirstHit => {}
            Anchor::Calendar(calendar) => {
                self.byte(match calendar.unit {
                    CalendarUnit::Day => 0,
                    CalendarUnit::Week => 1,
                    CalendarUnit::Month => 2,
                    CalendarUnit::Year => 3,
                });
                let zone = calendar.zone.name();
                self.varint(zone.len() as u64);
                self.raw(zone.as_bytes());
            }
            Anchor::Ending(end) => self.varint(end.get()),
        }
        self.varint(limit.units());
        self.varint(limit.period().ceil_millis());
        self.varint(limit.burst());
    }

    pub(crate) fn decision(&mut self, decision: &Decision) {
        match decision.verdict {
            Verdict::Allow => self.byte(0),
            Verdict::Deny { retry_after } => {
                self.byte(1);
                self.varint(retry_after.get());
            }
            Verdict::NeverConforms => self.byte(2),
        }
        self.varint(decision.remaining);
        self.varint(decision.grows_after.get());
        self.varint(decision.reset_after.get());
    }

    pub(crate) fn count(&mut self, count: &Count) {
        match count {
            Count::Gcra(tat) => self.tat(0, tat),
            Count::LeakyBucket(tat) => self.tat(1, tat),
            Count::FixedWindow(window) => {
                self.byte(2);
                self.varint(window.end().get());
                self.varint(window.used());
                self.varint(window.period().get());
            }
            Count::SlidingCounter(counter) => {
                self.byte(3);
                self.varint(counter.end().get());
                self.varint(counter.current());
                self.varint(counter.previous());
                self.varint(counter.period().get());
            }
            Count::SlidingLog(log) => {
                self.byte(4);
                self.varint(log.period().get());
                self.varint(log.entries().len() as u64);
                for entry in log.entries() {
                    self.varint(entry.at.get());
                    self.varint(entry.cost);
                    self.varint(entry.stamp.term);
                    self.varint(entry.stamp.seq);
                }
            }
            Count::Reset { until } => {
                self.byte(5);
                self.varint(until.get());
            }
        }
    }

    fn tat(&mut self, kind: u8, tat: &Tat) {
        self.byte(kind);
        self.varint(tat.at().get());
        self.varint(tat.fraction());
        self.varint(tat.units());
        self.varint(tat.period().get());
    }
}

/// What is left to read. Each reader names what it reads, for the error.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn bytes(&mut self, what: &'static str, len: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Malformed { what })?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, Malformed> {
        let [byte] = self.raw(what)?;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn raw<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Malformed { what })?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// A number that fits `T`.
    #[inline]
    pub(crate) fn varint<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, Malformed> {
        let mut value = 0;
        for (place, &byte) in self.rest.iter().take(VARINT_BYTES_MAX).enumerate() {
            let digit = u64::from(byte & 0x7f);
            let shifted = digit << (7 * place);
            if shifted >> (7 * place) != digit {
                break;
            }
            value |= shifted;
            if byte < 0x80 {
                self.rest = &self.rest[place + 1..];
                return T::try_from(value).map_err(|_| Malformed { what });
            }
        }
        malformed(what)
    }

    /// How many items follow, each of which takes at least `bytes_min`: that bounds what is reserved for them.
    pub(crate) fn items(
        &mut self,
        what: &'static str,
        bytes_min: usize,
    ) -> Result<usize, Malformed> {
        let items = self.varint(what)?;
        if self.rest.len() / bytes_min < items {
            return malformed(what);
        }
        Ok(items)
    }

    pub(crate) fn key(&mut self) -> Result<KeyHash, Malformed> {
        let bytes = self.raw("key")?;
        Ok(KeyHash::new(u128::from_le_bytes(bytes)))
    }

    pub(crate) fn instant(&mut self) -> Result<UnixNanos, Malformed> {
        self.varint("instant").map(UnixNanos::new)
    }

    fn span(&mut self) -> Result<Nanos, Malformed> {
        self.varint("span").map(Nanos::new)
    }

    pub(crate) fn cost(&mut self) -> Result<Cost, Malformed> {
        self.varint("cost").map(Cost::new)
    }

    pub(crate) fn limit(&mut self) -> Result<Limit, Malformed> {
        let what = "limit";
        let (algorithm, anchor) = match self.byte(what)? {
            0 => (Algorithm::Gcra, Anchor::Epoch),
            1 => (Algorithm::SlidingLog, Anchor::Epoch),
            2 => (Algorithm::SlidingCounter, Anchor::Epoch),
            3 => (Algorithm::FixedWindow, Anchor::Epoch),
            4 => (Algorithm::FixedWindow, Anchor::FirstHit),
            5 => (Algorithm::LeakyBucket, Anchor::Epoch),
            6 => (Algorithm::FixedWindow, Anchor::Calendar(self.calendar()?)),
            7 => (Algorithm::FixedWindow, Anchor::Ending(self.instant()?)),
            _ => return malformed(what),
        };
        let units = self.varint(what)?;
        let period = Nanos::from_millis(self.varint(what)?);
        let burst: u32 = self.varint(what)?;
        if let Anchor::Ending(end) = anchor {
            return Limit::ending(units, end, period).ok_or(Malformed { what });
        }
        Limit::new(algorithm, units, period)
            .and_then(|limit| match burst {
                burst if burst == limit.burst() => Ok(limit),
                burst => limit.with_burst(burst),
            })
            .and_then(|limit| match anchor {
                Anchor::Epoch => Ok(limit),
                anchor => limit.with_anchor(anchor),
            })
            .map_err(|_| Malformed { what })
    }

    fn calendar(&mut self) -> Result<Calendar, Malformed> {
        let unit = match self.byte("calendar")? {
            0 => CalendarUnit::Day,
            1 => CalendarUnit::Week,
            2 => CalendarUnit::Month,
            3 => CalendarUnit::Year,
            _ => return malformed("calendar"),
        };
        let what = "time zone";
        let len = self.varint(what)?;
        let name = str::from_utf8(self.bytes(what, len)?).map_err(|_| Malformed { what })?;
        let zone = name.parse().map_err(|_| Malformed { what })?;
        Ok(Calendar { unit, zone })
    }

    pub(crate) fn decision(&mut self) -> Result<Decision, Malformed> {
        let verdict = match self.byte("verdict")? {
            0 => Verdict::Allow,
            1 => Verdict::Deny {
                retry_after: self.span()?,
            },
            2 => Verdict::NeverConforms,
            _ => return malformed("verdict"),
        };
        Ok(Decision {
            verdict,
            remaining: self.varint("remaining units")?,
            grows_after: self.span()?,
            reset_after: self.span()?,
        })
    }

    pub(crate) fn count(&mut self) -> Result<Count, Malformed> {
        let what = "count";
        let count = match self.byte(what)? {
            0 => self.tat()?.map(Count::Gcra),
            1 => self.tat()?.map(Count::LeakyBucket),
            2 => FixedWindow::new(self.instant()?, self.varint(what)?, self.span()?)
                .map(Count::FixedWindow),
            3 => SlidingCounter::new(
                self.instant()?,
                self.varint(what)?,
                self.varint(what)?,
                self.span()?,
            )
            .map(Count::SlidingCounter),
            4 => self.log()?.map(|log| Count::SlidingLog(Box::new(log))),
            5 => Some(Count::Reset {
                until: self.instant()?,
            }),
            _ => None,
        };
        count.ok_or(Malformed { what })
    }

    fn tat(&mut self) -> Result<Option<Tat>, Malformed> {
        let what = "count";
        Ok(Tat::new(
            self.instant()?,
            self.varint(what)?,
            self.varint(what)?,
            self.span()?,
        ))
    }

    fn log(&mut self) -> Result<Option<Log>, Malformed> {
        /// An instant and three numbers, a byte each.
        const ENTRY_BYTES_MIN: usize = 4;

        let what = "log";
        let period = self.span()?;
        let entries = (0..self.items(what, ENTRY_BYTES_MIN)?)
            .map(|_| {
                Ok(LogEntry {
                    at: self.instant()?,
                    cost: self.varint(what)?,
                    stamp: Stamp {
                        term: self.varint(what)?,
                        seq: self.varint(what)?,
                    },
                })
            })
            .collect::<Result<Vec<_>, Malformed>>()?;
        Ok(Log::from_entries(period, entries))
    }
}
