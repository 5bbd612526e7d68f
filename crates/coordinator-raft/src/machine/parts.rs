//! The state in parts: what a snapshot holds, and what a new group takes over from an earlier one.

use std::sync::Arc;

use bytes::Bytes;
use quota::UnixNanos;

use super::Machine;
use super::counts::{Kept, Slice};
use super::windows::Windows;
use crate::codec::{Malformed, Reader, Writer};

/// A part is closed at this size. One more record is at most a log of 10 000 entries, some 300 kB: that stays below
/// the 1 MiB of a call.
const PART_BYTES: usize = 512 * 1024;

/// Decisions of a window that go into one record, so that no record is larger than a log is.
const DECISIONS_PER_RECORD: usize = 4_096;

/// What a record is.
const KEY: u8 = 0;
const WINDOW: u8 = 1;
const CLOCK: u8 = 2;

/// The state at one moment, while the machine goes on. Cheap to take: it shares what is not written to meanwhile.
pub(crate) struct Frozen {
    now: UnixNanos,
    slices: Vec<Arc<Slice>>,
    windows: Windows,
}

impl Machine {
    pub(crate) fn freeze(&self) -> Frozen {
        Frozen {
            now: self.now,
            slices: self.counts.slices().to_vec(),
            windows: self.windows.clone(),
        }
    }

    /// Takes in one part. Parts may come in any order.
    pub(crate) fn restore(&mut self, part: &[u8]) -> Result<(), Malformed> {
        let mut input = Reader::new(part);
        while !input.is_empty() {
            match input.byte("record")? {
                KEY => {
                    let key = input.key()?;
                    let due = input.varint("second")?;
                    let count = Some(input.count()?);
                    self.counts.insert(key, Kept { count, due });
                }
                WINDOW => self.restore_window(&mut input)?,
                CLOCK => self.now = self.now.max(input.instant()?),
                _ => return Err(Malformed { what: "record" }),
            }
        }
        Ok(())
    }

    fn restore_window(&mut self, input: &mut Reader<'_>) -> Result<(), Malformed> {
        let origin = input.varint("origin")?;
        let window = self.windows.of(origin);
        window.settled = window.settled.max(input.varint("settled sequence")?);
        window.heard = window.heard.max(input.instant()?);
        for _ in 0..input.items("decisions", 5)? {
            let sequence = input.varint("sequence")?;
            window.decided.insert(sequence, input.decision()?);
        }
        Ok(())
    }

    pub(crate) fn restored(parts: &[Bytes]) -> Result<Self, Malformed> {
        let mut machine = Self::default();
        for part in parts {
            machine.restore(part)?;
        }
        Ok(machine)
    }
}

impl Frozen {
    /// The state in parts. A million keys take some 100 ms, so others get their turn a thousand times in between.
    pub(crate) async fn parts(&self) -> Vec<Bytes> {
        let mut parts = Parts::default();
        parts.open.byte(CLOCK);
        parts.open.varint(self.now.get());
        for (&origin, window) in &self.windows.by_origin {
            let decided: Vec<_> = window.decided.iter().collect();
            // One without decisions says what is settled.
            let records = decided.len().div_ceil(DECISIONS_PER_RECORD).max(1);
            for record in 0..records {
                let from = record * DECISIONS_PER_RECORD;
                let to = decided.len().min(from + DECISIONS_PER_RECORD);
                let out = parts.open();
                out.byte(WINDOW);
                out.varint(origin);
                out.varint(window.settled);
                out.varint(window.heard.get());
                out.varint((to - from) as u64);
                for &(&sequence, decision) in &decided[from..to] {
                    out.varint(sequence);
                    out.decision(decision);
                }
            }
        }
        for slice in self.slices.iter().filter(|slice| !slice.is_empty()) {
            for (&key, kept) in slice.iter() {
                let Some(count) = &kept.count else { continue };
                let out = parts.open();
                out.byte(KEY);
                out.key(key);
                out.varint(kept.due);
                out.count(count);
            }
            tokio::task::yield_now().await;
        }
        parts.finish()
    }
}

#[derive(Default)]
struct Parts {
    closed: Vec<Bytes>,
    open: Writer,
}

impl Parts {
    /// Where the next record goes.
    fn open(&mut self) -> &mut Writer {
        if PART_BYTES <= self.open.len() {
            self.closed.push(std::mem::take(&mut self.open).finish());
        }
        &mut self.open
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.closed.push(self.open.finish());
        self.closed
    }
}
