//! The latest snapshot in a file, for a restart of the whole cluster.
//!
//! A magic number with the version, the epoch of the group, the index, the parts with their lengths, and SHA-256 over all
//! that. Written beside the file and renamed over it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::codec::{Reader, Writer};
use crate::config::StartError;
use crate::machine::Machine;

/// Ends in the version of the format.
const MAGIC: [u8; 8] = *b"weirrft\x01";
const MAGIC_OTHER: [u8; 7] = *b"weirrft";
const CHECKSUM_BYTES: usize = 32;
const FILE: &str = "raft.snapshot";
const FILE_NEW: &str = "raft.snapshot.new";

/// What a file held.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Saved {
    pub(crate) epoch: u32,
    pub(crate) index: u64,
    pub(crate) parts: Vec<Bytes>,
}

/// Writes snapshots into a directory, one at a time, the latest over the one before.
#[derive(Clone)]
pub(crate) struct Saver {
    dir: PathBuf,
    epoch: u32,
    /// The epoch and index of what is in the file.
    written: Arc<tokio::sync::Mutex<(u32, u64)>>,
}

impl Saver {
    /// Finds what was saved in `dir`, which is made if it is missing.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Option<Saved>), StartError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| StartError::DataDir { path, error }
        };
        std::fs::create_dir_all(dir).map_err(failed(dir))?;
        let path = dir.join(FILE);
        let saved = match std::fs::read(&path) {
            Ok(bytes) => Some(Saved::decode(&bytes.into()).map_err(|reason| {
                let path = path.clone();
                StartError::Snapshot { path, reason }
            })?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(&path)(error)),
        };
        let saver = Self {
            dir: dir.to_owned(),
            epoch: 0,
            written: Arc::default(),
        };
        Ok((saver, saved))
    }

    pub(crate) fn of_epoch(self, epoch: u32) -> Self {
        Self { epoch, ..self }
    }

    /// Saves a snapshot, unless the file has one that is as new. A failure is logged: the cluster goes on without.
    pub(crate) async fn save(&self, index: u64, parts: Vec<Bytes>) {
        let mut written = self.written.lock().await;
        if (self.epoch, index) <= *written {
            return;
        }
        let dir = self.dir.clone();
        let saved = Saved {
            epoch: self.epoch,
            index,
            parts,
        };
        let write = tokio::task::spawn_blocking(move || write(&dir, &saved.encode()));
        match write.await {
            Ok(Ok(())) => *written = (self.epoch, index),
            Ok(Err(error)) => tracing::error!(%error, "raft snapshot not saved"),
            Err(error) => tracing::error!(%error, "raft snapshot not saved"),
        }
    }
}

fn write(dir: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;

    let beside = dir.join(FILE_NEW);
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, dir.join(FILE))?;
    // The rename itself lasts once the directory does.
    std::fs::File::open(dir)?.sync_all()
}

impl Saved {
    fn encode(&self) -> Bytes {
        let bytes: usize = self.parts.iter().map(Bytes::len).sum();
        let mut out = Writer::with_capacity(bytes + 1024);
        out.raw(&MAGIC);
        out.varint(self.epoch);
        out.varint(self.index);
        out.varint(self.parts.len() as u64);
        for part in &self.parts {
            out.varint(part.len() as u64);
            out.raw(part);
        }
        let checksum = Sha256::digest(out.written());
        out.raw(&checksum);
        out.finish()
    }

    /// The whole is read here, so that a bad file is found at the start and not when it is needed.
    fn decode(file: &Bytes) -> Result<Self, &'static str> {
        if !file.starts_with(&MAGIC) {
            return Err(match file.starts_with(&MAGIC_OTHER) {
                true => "it is of another version",
                false => "it is no snapshot",
            });
        }
        let cut_short = "it is cut short";
        let end = file.len().checked_sub(CHECKSUM_BYTES).ok_or(cut_short)?;
        if Sha256::digest(&file[..end])[..] != file[end..] {
            return Err("its checksum is wrong");
        }
        let body = file.slice(..end);
        let mut input = Reader::new(&body[MAGIC.len()..]);
        let saved = Self::read(&body, &mut input).map_err(|malformed| malformed.what)?;
        Machine::restored(&saved.parts).map_err(|malformed| malformed.what)?;
        Ok(saved)
    }

    fn read(body: &Bytes, input: &mut Reader<'_>) -> Result<Self, crate::codec::Malformed> {
        let epoch = input.varint("epoch")?;
        let index = input.varint("index")?;
        let parts = (0..input.items("parts", 1)?)
            .map(|_| {
                let len = input.varint("length of a part")?;
                let part = input.bytes("part", len)?;
                Ok(body.slice_ref(part))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            epoch,
            index,
            parts,
        })
    }
}
