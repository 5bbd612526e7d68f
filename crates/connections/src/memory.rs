//! Memory that clients may take together, beyond what every connection has.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A sum that clients share: who comes when it is spent is told to come back, and nothing is counted.
///
/// Without it, four hundred bodies of 4 MiB that never end were 1.7 GB. Nobody waits for his share, since all could
/// hold a part of what each needs to finish.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Semaphore>);

/// A share. Given back when it is dropped.
#[derive(Default, Debug)]
pub struct Room {
    permits: Option<OwnedSemaphorePermit>,
    units: usize,
}

/// The others have all the memory that clients may take together. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("requests and answers in flight take all the memory that they may")]
pub struct NoRoom;

/// Memory is shared out in units, so that 32 bits count all of it and small bodies cost one step.
const UNIT: usize = 4 * 1024;

impl Memory {
    /// A sum of `bytes`.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT)))
    }

    /// Makes `room` at least `bytes` large.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] when the others have all of it. `room` stays as it is.
    pub fn grow(&self, room: &mut Room, bytes: usize) -> Result<(), NoRoom> {
        let units = bytes.div_ceil(UNIT);
        let Some(more) = units.checked_sub(room.units).filter(|more| 0 < *more) else {
            return Ok(());
        };
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let permits = Arc::clone(&self.0).try_acquire_many_owned(more);
        let permits = permits.map_err(|_| NoRoom)?;
        match &mut room.permits {
            Some(held) => held.merge(permits),
            none => *none = Some(permits),
        }
        room.units = units;
        Ok(())
    }

    /// Room for `bytes`.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] when the others have all of it.
    pub fn room(&self, bytes: usize) -> Result<Room, NoRoom> {
        let mut room = Room::default();
        self.grow(&mut room, bytes)?;
        Ok(room)
    }
}

impl Room {
    /// Makes it no larger than `bytes`, and gives the rest back.
    pub fn shrink(&mut self, bytes: usize) {
        let units = bytes.div_ceil(UNIT);
        let Some(less) = self.units.checked_sub(units).filter(|less| 0 < *less) else {
            return;
        };
        self.units = units;
        // Dropped, and so given back.
        let _rest = self.permits.as_mut().and_then(|held| held.split(less));
    }

    /// Bytes that keep their room until nobody has them any more: an answer, until it is written.
    #[must_use]
    pub fn keep(mut self, text: impl Into<Vec<u8>>) -> Bytes {
        struct Kept {
            bytes: Vec<u8>,
            _room: Room,
        }
        impl AsRef<[u8]> for Kept {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        let bytes = text.into();
        self.shrink(bytes.len());
        Bytes::from_owner(Kept { bytes, _room: self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shares_together_are_no_more_than_the_sum() {
        let memory = Memory::new(4 * UNIT);
        let mut first = memory.room(1).unwrap();
        let second = memory.room(2 * UNIT).unwrap();
        memory.grow(&mut first, 2 * UNIT).unwrap();
        // Already there.
        memory.grow(&mut first, UNIT).unwrap();
        assert!(memory.room(1).is_err());
        assert!(memory.grow(&mut first, 2 * UNIT + 1).is_err());
        drop(second);
        memory.grow(&mut first, 4 * UNIT).unwrap();
        assert!(memory.room(1).is_err());
        first.shrink(UNIT + 1);
        assert!(memory.room(2 * UNIT).is_ok());
    }

    #[test]
    fn an_answer_keeps_its_room_until_it_is_written() {
        let memory = Memory::new(4 * UNIT);
        let answer = memory.room(4 * UNIT).unwrap().keep("x".repeat(3 * UNIT));
        let _rest = memory.room(UNIT).unwrap();
        let copy = answer.clone();
        drop(answer);
        assert!(memory.room(1).is_err());
        drop(copy);
        assert!(memory.room(3 * UNIT).is_ok());
    }
}
