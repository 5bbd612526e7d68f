//! The log, as far as a writer needs to know it.

use delta_crdt::Cell;
use membership::Member;
use quota::KeyHash;
use shard::ShardId;

/// What a log says. Of one place, the last word is all there is to it.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// These count.
    Members(&'a [Member]),
    /// The whole cell of a key.
    Set(ShardId, KeyHash, &'a Cell),
    /// Nothing is kept of this key.
    Removed(ShardId, KeyHash),
    /// Nothing is kept of any key of this shard.
    RemovedAll(ShardId),
}

/// A log of kept counts, and the one that is to take its place while that is written.
pub trait Log {
    /// Why something is not written.
    type Error;

    /// How long it is, in bytes.
    fn bytes(&self) -> u64;

    /// Adds to this log, and to the new one if one is written. Need not be on the disk before [`Self::sync`].
    ///
    /// # Errors
    ///
    /// Any part of what was added since the last [`Self::sync`] may be there.
    fn append(&mut self, entry: Entry<'_>) -> Result<(), Self::Error>;

    /// Returns when all that was added is on the disk.
    ///
    /// # Errors
    ///
    /// As for [`Self::append`].
    fn sync(&mut self) -> Result<(), Self::Error>;

    /// Begins a new log, beside this one.
    ///
    /// # Errors
    ///
    /// There is none.
    fn begin_rewrite(&mut self) -> Result<(), Self::Error>;

    /// Whether a new log is being written.
    fn is_rewriting(&self) -> bool;

    /// Adds to the new log alone. Returns about how many bytes. Need not be on the disk.
    ///
    /// # Errors
    ///
    /// The new log is as good as given up.
    fn rewrite(&mut self, entries: &[Entry<'_>]) -> Result<usize, Self::Error>;

    /// Puts the new log in the place of this one, and returns when it is there.
    ///
    /// # Errors
    ///
    /// This log is as it was, and the new one given up.
    fn end_rewrite(&mut self) -> Result<(), Self::Error>;

    /// Gives up the new log, and what was added and is not on the disk.
    fn give_up(&mut self);
}
