//! The directory: locked, and of this cluster.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::OpenError;

/// The layout that this version writes, and the only one that it reads.
pub(crate) const FORMAT: u32 = 1;

const LOCK: &str = "lock";
const SIGN: &str = "format";
const NEW_SIGN: &str = "format.new";
const TITLE: &str = "weir data directory";

/// What may lie in a directory that is made ours: of an attempt that was cut short, and of a file system of its own.
const OF_NOBODY: [&str; 3] = [LOCK, NEW_SIGN, "lost+found"];

/// A locked directory that is known to be of this cluster and format.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Unlocked when it is closed.
    _lock: File,
}

impl Directory {
    pub(crate) fn open(path: &Path, cluster: [u8; 16]) -> Result<Self, OpenError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        let mut builder = DirBuilder::new();
        // Names of limits and of keys lie in it.
        let made = builder.recursive(true).mode(0o700).create(path);
        made.map_err(io(path))?;
        let sign = path.join(SIGN);
        // Before a lock is put there: what is not ours is left as it is.
        let is_signed = fs::exists(&sign).map_err(io(&sign))?;
        if !is_signed && has_files(path).map_err(io(path))? {
            let path = path.to_owned();
            return Err(OpenError::Foreign { path });
        }
        let lock = path.join(LOCK);
        let lock = lock_file(&lock)
            .map_err(io(&lock))?
            .ok_or_else(|| OpenError::InUse {
                path: path.to_owned(),
            })?;
        match fs::read(&sign) {
            Ok(text) => check(path, &sign, &text, cluster)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                write_sign(path, cluster).map_err(io(&sign))?;
            }
            Err(error) => return Err(io(&sign)(error)),
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn has_files(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if !OF_NOBODY.iter().any(|ours| OsStr::new(ours) == name) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `None`: another process holds it.
fn lock_file(path: &Path) -> io::Result<Option<File>> {
    let mut options = File::options();
    let file = options.create(true).append(true).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn check(path: &Path, sign: &Path, text: &[u8], cluster: [u8; 16]) -> Result<(), OpenError> {
    let corrupt = |what: &str| OpenError::Corrupt {
        path: sign.to_owned(),
        what: what.to_owned(),
    };
    let text = str::from_utf8(text).map_err(|_| corrupt("it is no text"))?;
    let mut lines = text.lines();
    if lines.next() != Some(TITLE) {
        return Err(corrupt("its first line is another"));
    }
    let format = lines.next().and_then(|line| line.strip_prefix("format "));
    let format = format.and_then(|number| number.parse::<u32>().ok());
    match format {
        Some(FORMAT) => {}
        Some(given) if FORMAT < given => {
            let path = path.to_owned();
            return Err(OpenError::Newer { path, given });
        }
        _ => return Err(corrupt("it names no format")),
    }
    let of = lines.next().and_then(|line| line.strip_prefix("cluster "));
    match of {
        Some(of) if of == hex(cluster) => Ok(()),
        Some(of) if of.len() == 2 * cluster.len() => Err(OpenError::OtherCluster {
            path: path.to_owned(),
        }),
        _ => Err(corrupt("it names no cluster")),
    }
}

/// Whole or not at all.
fn write_sign(path: &Path, cluster: [u8; 16]) -> io::Result<()> {
    let new = path.join(NEW_SIGN);
    let mut file = File::create(&new)?;
    let cluster = hex(cluster);
    write!(file, "{TITLE}\nformat {FORMAT}\ncluster {cluster}\n")?;
    file.sync_all()?;
    fs::rename(&new, path.join(SIGN))?;
    sync(path)
}

/// What was made or renamed in a directory is there after a crash.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn hex(bytes: [u8; 16]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("text takes text");
        text
    })
}
