//! A log of what lies at places: entries that are added at its end, and now and then a new file of those that still say
//! something.
//!
//! ```text
//! title    16 bytes, and the same for every log
//! format   4 bytes
//! batches  length of the entries (4), their sum (8), entries
//! entry    kind (1), length of the place (1), length of the bytes (4), place, bytes
//! ```
//!
//! Numbers are little-endian. An entry overrides those before it at the same place. Each batch is on the disk before the next
//! is begun, so that what a process that was killed, or a host that lost its power, leaves unfinished is the last one: it is
//! dropped. A batch that is not as it was written with others behind it is damage, and the log is refused.

mod read;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::Hasher as _;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use siphasher::sip::SipHasher13;

use self::read::{Found, read};
use crate::directory::sync;
use crate::error::{LogError, OpenError};

const FILE: &str = "counts.log";
const NEW_FILE: &str = "counts.log.new";

const TITLE: [u8; 16] = *b"weir counts log\n";
/// The layout that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = TITLE.len() + 4;

/// Length and sum.
const BATCH_HEAD_BYTES: usize = 4 + 8;

/// Kind and lengths.
const ENTRY_HEAD_BYTES: usize = 1 + 1 + 4;

/// A batch ends with the entry that makes it as long. It is put together in memory and leaves in one piece, at a time when
/// little else is done; a second of 50 000 hits fills half of one.
const BATCH_BYTES: usize = 8 << 20;

/// No batch is longer: what claims to be is damage. A key of 10 000 remembered hits takes half a megabyte.
const BATCH_BYTES_MAX: usize = 2 * BATCH_BYTES;

/// What a log says of a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry<'a> {
    /// These bytes lie there.
    Set(&'a [u8], &'a [u8]),
    /// Nothing lies there.
    Removed(&'a [u8]),
    /// Nothing lies at any place that begins like this.
    RemovedAll(&'a [u8]),
}

/// What lies at places: every place once, in their order.
pub type Places = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// A log that is open for more. One process at a time has it, who has locked its directory.
#[derive(Debug)]
pub struct Log {
    directory: PathBuf,
    file: File,
    bytes: u64,
    /// The file that is to take its place, being written.
    next: Option<Next>,
}

#[derive(Debug)]
struct Next {
    file: File,
    bytes: u64,
}

impl Next {
    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        self.file.write_all(batch)?;
        self.bytes += batch.len() as u64;
        Ok(())
    }
}

impl Log {
    /// Reads the log of a directory and changes nothing.
    pub(crate) fn look(directory: &Path) -> Result<Found, OpenError> {
        let path = directory.join(FILE);
        match File::open(&path) {
            Ok(mut file) => read(&mut file, &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::default()),
            Err(error) => Err(io_at(&path)(error)),
        }
    }

    /// Opens the log that was read, or begins one, for more.
    pub(crate) fn open(directory: &Path, bytes: Option<u64>) -> Result<Self, OpenError> {
        let path = directory.join(FILE);
        let io = io_at(&path);
        if bytes.is_none() {
            make(directory).map_err(&io)?;
        }
        let bytes = bytes.unwrap_or(HEADER_BYTES as u64);
        let mut file = File::options().write(true).open(&path).map_err(&io)?;
        // Whatever was cut short at the end would be damage in the middle from now on.
        file.set_len(bytes).map_err(&io)?;
        file.seek(SeekFrom::Start(bytes)).map_err(&io)?;
        Ok(Self {
            directory: directory.to_owned(),
            file,
            bytes,
            next: None,
        })
    }

    /// How long it is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds entries, and returns when they are on the disk.
    ///
    /// # Errors
    ///
    /// [`LogError`]: some of them may be there. The log is as long as before, and takes more.
    pub fn append<'a>(
        &mut self,
        entries: impl IntoIterator<Item = Entry<'a>>,
    ) -> Result<(), LogError> {
        let Self {
            directory,
            file,
            bytes,
            next,
        } = self;
        let mut write = |batch: &[u8]| {
            if let Some(next) = next {
                next.write(batch)?;
            }
            file.write_all(batch)?;
            file.sync_data()?;
            *bytes += batch.len() as u64;
            Ok(())
        };
        let appended = in_batches(entries, &mut write);
        appended.map_err(|source| {
            // A part of a batch in the middle would be damage.
            let _cut = file.set_len(*bytes);
            let _back = file.seek(SeekFrom::Start(*bytes));
            failed(directory, source)
        })
    }

    /// Begins a file that is to take the place of this one: all that still says something is to be added to it, in parts,
    /// by [`Self::rewrite`]. Whatever is appended meanwhile goes to both.
    ///
    /// # Errors
    ///
    /// [`LogError`]: nothing has changed.
    pub fn begin_rewrite(&mut self) -> Result<(), LogError> {
        let begun = begin(&self.directory.join(NEW_FILE));
        let file = begun.map_err(|source| failed(&self.directory, source))?;
        let bytes = HEADER_BYTES as u64;
        self.next = Some(Next { file, bytes });
        Ok(())
    }

    /// Whether a new file is being written.
    #[must_use]
    pub fn is_rewriting(&self) -> bool {
        self.next.is_some()
    }

    /// Adds entries to the new file. They need not be on the disk when it returns.
    ///
    /// # Errors
    ///
    /// [`LogError`]: the new file is given up, the old one is as it was.
    pub fn rewrite<'a>(
        &mut self,
        entries: impl IntoIterator<Item = Entry<'a>>,
    ) -> Result<(), LogError> {
        let Some(mut next) = self.next.take() else {
            return Ok(());
        };
        in_batches(entries, |batch| next.write(batch))
            .map_err(|source| failed(&self.directory, source))?;
        self.next = Some(next);
        Ok(())
    }

    /// Puts the new file in the place of this one.
    ///
    /// # Errors
    ///
    /// [`LogError`]: the new file is given up, the old one is as it was.
    pub fn end_rewrite(&mut self) -> Result<(), LogError> {
        let Some(next) = self.next.take() else {
            return Ok(());
        };
        let new = self.directory.join(NEW_FILE);
        let put = next
            .file
            .sync_all()
            .and_then(|()| fs::rename(&new, self.directory.join(FILE)))
            .and_then(|()| sync(&self.directory));
        put.map_err(|source| failed(&self.directory, source))?;
        (self.file, self.bytes) = (next.file, next.bytes);
        Ok(())
    }

    /// Gives up the new file.
    pub fn abandon_rewrite(&mut self) {
        if self.next.take().is_some() {
            let _gone = fs::remove_file(self.directory.join(NEW_FILE));
        }
    }

    /// For a caller that cannot make sense of an entry.
    #[must_use]
    pub fn corrupt(&self, what: String) -> OpenError {
        OpenError::Corrupt {
            path: self.directory.join(FILE),
            what,
        }
    }
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> OpenError + '_ {
    |source| OpenError::Io {
        path: path.to_owned(),
        source,
    }
}

fn failed(directory: &Path, source: io::Error) -> LogError {
    LogError {
        path: directory.join(FILE),
        source,
    }
}

/// A file with nothing in it but what it is.
fn begin(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    let mut file = options
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&TITLE)?;
    file.write_all(&FORMAT.to_le_bytes())?;
    Ok(file)
}

/// Made under another name first: a title that was cut short would be taken for damage.
fn make(directory: &Path) -> io::Result<()> {
    let new = directory.join(NEW_FILE);
    begin(&new)?.sync_all()?;
    fs::rename(new, directory.join(FILE))?;
    sync(directory)
}

/// Lets `write` have the entries, batch by batch.
fn in_batches<'a>(
    entries: impl IntoIterator<Item = Entry<'a>>,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut batch = vec![0; BATCH_HEAD_BYTES];
    for entry in entries {
        put(&mut batch, entry);
        if BATCH_BYTES <= batch.len() {
            finish(&mut batch);
            write(&batch)?;
            batch.truncate(BATCH_HEAD_BYTES);
        }
    }
    if BATCH_HEAD_BYTES < batch.len() {
        finish(&mut batch);
        write(&batch)?;
    }
    Ok(())
}

fn put(batch: &mut Vec<u8>, entry: Entry<'_>) {
    let (kind, place, bytes) = match entry {
        Entry::Set(place, bytes) => (1, place, bytes),
        Entry::Removed(place) => (2, place, &[][..]),
        Entry::RemovedAll(prefix) => (3, prefix, &[][..]),
    };
    let place_bytes = u8::try_from(place.len()).expect("a place is short");
    let length = u32::try_from(bytes.len()).expect("what lies at a place is short");
    batch.extend_from_slice(&[kind, place_bytes]);
    batch.extend_from_slice(&length.to_le_bytes());
    batch.extend_from_slice(place);
    batch.extend_from_slice(bytes);
}

/// Fills in the head of a batch.
fn finish(batch: &mut [u8]) {
    let (head, body) = batch.split_at_mut(BATCH_HEAD_BYTES);
    let length = u32::try_from(body.len()).expect("a batch is short");
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..].copy_from_slice(&sum(body));
}

fn sum(body: &[u8]) -> [u8; 8] {
    let mut hasher = SipHasher13::new();
    hasher.write(body);
    hasher.finish().to_le_bytes()
}
