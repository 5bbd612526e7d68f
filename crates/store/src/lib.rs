//! The data directory of a node: what outlives its process.
//!
//! ```text
//! DIR/lock           held for as long as a process uses the directory
//! DIR/format         text: which layout this is, and whose
//! DIR/catalogue.redb records that people made, in a file of redb
//! DIR/counts.log     what is counted, in a log
//! ```
//!
//! A [`Store`] is one open directory. It knows places and bytes; what they mean, and who waits for them, is its caller's
//! business. All of it blocks: call it where that is allowed.
//!
//! Nothing that is not this node's is ever written to. A directory of another cluster, of a later version, with files of
//! somebody else or with damaged ones is refused by [`Store::open`], and stays as it was.

mod directory;
mod error;
mod file;
mod log;

use std::path::Path;

pub use error::{LogError, OpenError, WriteError};
pub use log::{Entry, Log, Places};

use directory::Directory;
use file::RecordFile;

/// An open data directory, locked for as long as this lives. Its [`Log`] is to be closed before.
#[derive(Debug)]
pub struct Store {
    directory: Directory,
    records: RecordFile,
}

/// What is to lie at a place from now on. No bytes: nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Names a record, the same for as long as it lives.
    pub place: Vec<u8>,
    /// The record.
    pub bytes: Option<Vec<u8>>,
}

/// What a directory held when it was opened.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Kept {
    /// Every record, in the order of their places.
    pub records: Vec<Vec<u8>>,
    /// What the log says of every place.
    pub counts: Places,
    /// When it was last written to, in milliseconds since the Unix epoch by its writer's clock. `None`: never.
    pub written_at: Option<u64>,
}

impl Store {
    /// Opens the data directory of the cluster that `cluster` stands for, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. What was there is as it was.
    pub fn open(path: &Path, cluster: [u8; 16]) -> Result<(Self, Log, Kept), OpenError> {
        let directory = Directory::open(path, cluster)?;
        // Before anything is changed: what is refused stays as it was.
        let found = Log::look(path)?;
        let (records, kept) = RecordFile::open(path)?;
        let log = Log::open(path, found.bytes)?;
        let counts = found.places;
        let kept = Kept { counts, ..kept };
        Ok((Self { directory, records }, log, kept))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes all of it or nothing, and returns when it is on the disk. `now` is what [`Kept::written_at`] will say.
    ///
    /// # Errors
    ///
    /// [`WriteError`]: nothing is promised to be on the disk. It may be tried again.
    pub fn write(&mut self, changes: &[Change], now: u64) -> Result<(), WriteError> {
        self.records.write(changes, now)
    }

    /// Forgets every record.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub fn clear(&mut self, now: u64) -> Result<(), WriteError> {
        self.records.clear(now)
    }

    /// For a caller that cannot make sense of a record.
    #[must_use]
    pub fn corrupt(&self, what: String) -> OpenError {
        OpenError::Corrupt {
            path: self.records.path().to_owned(),
            what,
        }
    }
}
