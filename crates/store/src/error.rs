//! Why a data directory cannot be used.

use std::io;
use std::path::PathBuf;

/// Why a data directory was not opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It could not be read, or not be made.
    #[error("the data directory: {}", path.display())]
    Io {
        /// What was tried.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the data directory {} is in use by another process; give each node its own", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It was made with another cookie.
    #[error("the data directory {} belongs to another cluster; start the node with that cluster's cookie, or with another directory", path.display())]
    OtherCluster {
        /// The directory.
        path: PathBuf,
    },
    /// A later version of Weir made it.
    #[error("the data directory {} has format {given}; this version reads format {}", path.display(), crate::directory::FORMAT)]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        given: u32,
    },
    /// A later version of Weir wrote a file of it.
    #[error("{} has format {given}; this version reads format {accepted}", path.display())]
    NewerLog {
        /// The file.
        path: PathBuf,
        /// Its format.
        given: u32,
        /// What this version reads.
        accepted: u32,
    },
    /// It has files, and none that says what they are.
    #[error("{} is no data directory of Weir and is not empty; name an empty or a new one", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// It is damaged.
    #[error("{} is damaged, {what}; move it away to start without what it holds, and the other nodes tell this one what they have", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// Why entries were not written. What was on the disk before is still there.
#[derive(Debug, thiserror::Error)]
#[error("writing to {}", path.display())]
pub struct LogError {
    pub(crate) path: PathBuf,
    #[source]
    pub(crate) source: io::Error,
}

/// Why records were not written. What was on the disk before is still there.
#[derive(Debug, thiserror::Error)]
#[error("writing to {}", path.display())]
pub struct WriteError {
    pub(crate) path: PathBuf,
    #[source]
    pub(crate) source: Box<redb::Error>,
}
