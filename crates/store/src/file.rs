//! The file with records.

use std::fs;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable as _, TableDefinition};
use siphasher::sip::SipHasher13;

use crate::directory::sync;
use crate::error::{OpenError, WriteError};
use crate::{Change, Kept};

const FILE: &str = "catalogue.redb";
const NEW_FILE: &str = "catalogue.redb.new";

/// By its place, a sum of both and then the bytes of a record.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
/// Under one key, when this was last written to.
const CLOCK: TableDefinition<'_, (), u64> = TableDefinition::new("clock");

/// Pages kept in memory. What is written lies in a few of them, and is read once, at start; redb's own choice is 1 GiB.
const CACHE_BYTES: usize = 4 << 20;

/// Length of a sum.
const SUM_BYTES: usize = 8;

#[derive(Debug)]
pub(crate) struct RecordFile {
    path: PathBuf,
    /// `None` after an error: redb takes nothing more until it is opened anew.
    database: Option<Database>,
}

impl RecordFile {
    pub(crate) fn open(directory: &Path) -> Result<(Self, Kept), OpenError> {
        let path = directory.join(FILE);
        let opened = match fs::exists(&path) {
            Ok(true) => open_and_read(&path),
            Ok(false) => make(directory, &path).map(|database| (database, Kept::default())),
            Err(error) => Err(redb::Error::Io(error)),
        };
        let (database, kept) = opened.map_err(|error| refused(&path, error))?;
        let database = Some(database);
        Ok((Self { path, database }, kept))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&mut self, changes: &[Change], now: u64) -> Result<(), WriteError> {
        self.change(now, |records| {
            for Change { place, bytes } in changes {
                match bytes {
                    Some(bytes) => {
                        let stored = [&sum(place, bytes)[..], bytes].concat();
                        records.insert(&place[..], &stored[..])?;
                    }
                    None => {
                        records.remove(&place[..])?;
                    }
                }
            }
            Ok(())
        })
    }

    pub(crate) fn clear(&mut self, now: u64) -> Result<(), WriteError> {
        self.change(now, |records| records.retain(|_, _| false))
    }

    fn change(
        &mut self,
        now: u64,
        change: impl FnOnce(&mut Table<'_>) -> Result<(), redb::StorageError>,
    ) -> Result<(), WriteError> {
        let database = match self.database.take() {
            Some(database) => Ok(database),
            None => open(&self.path),
        };
        let written = database.and_then(|database| {
            commit(&database, now, change)?;
            Ok(database)
        });
        match written {
            Ok(database) => {
                self.database = Some(database);
                Ok(())
            }
            Err(error) => Err(WriteError {
                path: self.path.clone(),
                source: Box::new(error),
            }),
        }
    }
}

type Table<'a> = redb::Table<'a, &'static [u8], &'static [u8]>;

/// On the disk when it returns: a commit is, unless it is told not to be.
fn commit(
    database: &Database,
    now: u64,
    change: impl FnOnce(&mut Table<'_>) -> Result<(), redb::StorageError>,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    change(&mut transaction.open_table(RECORDS)?)?;
    transaction.open_table(CLOCK)?.insert((), now)?;
    transaction.commit()?;
    Ok(())
}

/// A file that was closed in order is looked at before anything may write to it, and so is every sum. After a crash redb
/// looks at its own, and finds the last commit.
fn open_and_read(path: &Path) -> Result<(Database, Kept), redb::Error> {
    let mut builder = Database::builder();
    let kept = match builder
        .set_cache_size(CACHE_BYTES)
        .open_read_only(path)
        .map_err(redb::Error::from)
    {
        Ok(database) => Some(read(&database)?),
        Err(redb::Error::RepairAborted) => None,
        Err(error) => return Err(error),
    };
    let database = open(path)?;
    let kept = kept.map_or_else(|| read(&database), Ok)?;
    Ok((database, kept))
}

fn read(database: &impl ReadableDatabase) -> Result<Kept, redb::Error> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(RECORDS)?;
    let mut records = Vec::new();
    for entry in table.iter()? {
        let (place, stored) = entry?;
        let Some(record) = whole(place.value(), stored.value()) else {
            let what = "a record is not as it was written".to_owned();
            return Err(redb::Error::Corrupted(what));
        };
        records.push(record.to_vec());
    }
    let written_at = transaction.open_table(CLOCK)?.get(())?;
    Ok(Kept {
        records,
        written_at: written_at.map(|at| at.value()),
        ..Kept::default()
    })
}

fn open(path: &Path) -> Result<Database, redb::Error> {
    let mut builder = Database::builder();
    Ok(builder.set_cache_size(CACHE_BYTES).open(path)?)
}

/// Made under another name first: a file that was cut short while it was made would be taken for a damaged one.
fn make(directory: &Path, path: &Path) -> Result<Database, redb::Error> {
    let new = directory.join(NEW_FILE);
    if fs::exists(&new)? {
        fs::remove_file(&new)?;
    }
    let database = Database::builder().create(&new)?;
    let transaction = database.begin_write()?;
    transaction.open_table(RECORDS)?;
    transaction.open_table(CLOCK)?;
    transaction.commit()?;
    drop(database);
    fs::rename(&new, path)?;
    sync(directory)?;
    open(path)
}

/// What to say of an error at start: a disk that cannot be read is another matter than a file that makes no sense.
fn refused(path: &Path, error: redb::Error) -> OpenError {
    let path = path.to_owned();
    match error {
        redb::Error::Io(source) if !is_about_content(&source) => OpenError::Io { path, source },
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse { path },
        error => OpenError::Corrupt {
            path,
            what: error.to_string(),
        },
    }
}

fn is_about_content(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// Of a place and what lies there. redb has sums of its own, and looks at them after a crash alone: a bit that has flipped
/// since would be a limit that nobody made.
fn sum(place: &[u8], bytes: &[u8]) -> [u8; SUM_BYTES] {
    let mut hasher = SipHasher13::new();
    hasher.write(place);
    hasher.write(bytes);
    hasher.finish().to_le_bytes()
}

/// The bytes of a record, if they are those that were written.
fn whole<'a>(place: &[u8], stored: &'a [u8]) -> Option<&'a [u8]> {
    let (told, bytes) = stored.split_at_checked(SUM_BYTES)?;
    (told == sum(place, bytes)).then_some(bytes)
}
