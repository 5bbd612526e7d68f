//! Whom to dial first: the addresses an operator gave, and the other nodes of this user on this host.
//!
//! Nodes of one host, user and cookie find each other through a directory that only this user can read,
//! with one small file per live node. What is found is a candidate and no more: the handshake decides.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use transport::cookie::Cookie;

/// How long a node of this host is given to accept a connection. Loopback needs 50 us; a stopped process
/// still accepts, in its kernel.
const LOOK_DEADLINE: Duration = Duration::from_millis(200);

/// Files read from the directory, at most: more nodes than one host carries.
const NEIGHBOURS_MAX: usize = 256;

/// The longest file worth reading, in bytes. Ours have some 100.
const FILE_MAX: u64 = 4 * 1024;

/// Addresses that one DNS name may stand for. What is beyond is found through the members met first.
const DNS_MAX: usize = 64;

/// How long a DNS name is looked up. A resolver answers in milliseconds, and repeats a lost question itself after some
/// seconds; until then the other seeds are of more use, and the name is looked up again in the next round.
const DNS_DEADLINE: Duration = Duration::from_secs(2);

/// An address that an operator gave to join by.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Seed {
    /// `ADDR:PORT` or `HOST:PORT`: one live node.
    Node(String),
    /// `dns:NAME:PORT`: every address that the name has.
    Dns(String),
}

/// Not an address to join by.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{given}` is neither ADDR:PORT nor dns:NAME:PORT")]
pub struct SeedError {
    given: String,
}

impl FromStr for Seed {
    type Err = SeedError;

    fn from_str(given: &str) -> Result<Self, SeedError> {
        let (dns, address) = match given.strip_prefix("dns:") {
            Some(address) => (true, address),
            None => (false, given),
        };
        let wrong = || SeedError {
            given: given.to_owned(),
        };
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let port_is_usable = port.parse::<u16>().is_ok_and(|port| port != 0);
        if host.is_empty() || !port_is_usable || (host.contains(':') && !bracketed) {
            return Err(wrong());
        }
        Ok(if dns {
            Self::Dns(address.to_owned())
        } else {
            Self::Node(address.to_owned())
        })
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(address) => f.write_str(address),
            Self::Dns(address) => write!(f, "dns:{address}"),
        }
    }
}

/// The addresses worth dialling, without this node's own (`advertised`): seeds, then neighbours.
///
/// A name that does not resolve now is logged and left out; ask again later, it may have changed.
pub async fn candidates(
    seeds: &[Seed],
    neighbours: Option<&Neighbours>,
    advertised: &str,
) -> Vec<String> {
    let mut found = Vec::new();
    for seed in seeds {
        match seed {
            Seed::Node(address) => found.push(address.clone()),
            Seed::Dns(address) => match in_time(tokio::net::lookup_host(address)).await {
                Ok(addresses) => {
                    found.extend(addresses.take(DNS_MAX).map(|address| address.to_string()))
                }
                Err(error) => tracing::warn!(%seed, %error, "a name to join by does not resolve"),
            },
        }
    }
    if let Some(neighbours) = neighbours {
        found.extend(neighbours.look().await);
    }
    let mut seen = BTreeSet::from([advertised.to_owned()]);
    found.retain(|address| seen.insert(address.clone()));
    found
}

/// What comes of looking a name up, unless it takes longer than [`DNS_DEADLINE`].
async fn in_time<T>(lookup: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(DNS_DEADLINE, lookup)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// What a node leaves in the directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Note {
    name: String,
    cluster: String,
    pid: u32,
}

/// The directory in which live nodes of this host, user and cookie find each other.
#[derive(Clone, Debug)]
pub struct Neighbours {
    directory: PathBuf,
}

impl Neighbours {
    /// The directory for nodes with this cookie below `base`. It is made when it is not there, for this user alone.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or belongs to others, too.
    pub fn below(base: &Path, cookie: &Cookie) -> io::Result<Self> {
        let tag = cookie.secret("neighbours");
        let tag: String = tag[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let directory = base.join(tag);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        // Whoever could write here could make nodes dial him, and try guesses of the cookie on their proofs.
        let metadata = fs::symlink_metadata(&directory)?;
        let is_private = metadata.is_dir()
            && metadata.uid() == rustix::process::geteuid().as_raw()
            && metadata.mode() & 0o077 == 0;
        if !is_private {
            let reason = format!(
                "{} is not a directory of this user alone",
                directory.display()
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        }
        Ok(Self { directory })
    }

    /// Tells the others that a node of that name listens at `cluster`. They forget it when the note is dropped.
    ///
    /// The file is named after the process, too: a newcomer that finds its name taken has not erased the
    /// note of the one that has it.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn announce(&self, name: &str, cluster: &str) -> io::Result<Announcement> {
        let note = Note {
            name: name.to_owned(),
            cluster: cluster.to_owned(),
            pid: std::process::id(),
        };
        let path = self
            .directory
            .join(format!("{}.{}.json", file_stem(name), note.pid));
        let unfinished = path.with_extension("new");
        let json = serde_json::to_vec(&note).expect("strings and integers can be encoded");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(&json)?;
        fs::rename(&unfinished, &path)?;
        Ok(Announcement { path, note })
    }

    /// The addresses of the live nodes here, in the order of their files. Removes the notes of dead ones.
    pub async fn look(&self) -> Vec<String> {
        let mut alive = Vec::new();
        for path in self.files() {
            let Some(note) = read(&path) else { continue };
            let connect =
                tokio::time::timeout(LOOK_DEADLINE, TcpStream::connect(&note.cluster)).await;
            match connect {
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    remove(&path, &note);
                    tracing::debug!(node = %note.name, address = %note.cluster, "note of a dead node removed");
                }
                // No answer is no proof of death.
                _ => alive.push(note.cluster),
            }
        }
        alive
    }

    fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        let mut files: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "json")
            })
            .take(NEIGHBOURS_MAX)
            .collect();
        files.sort_unstable();
        files
    }
}

/// A node's note to its neighbours, removed when dropped.
#[derive(Debug)]
pub struct Announcement {
    path: PathBuf,
    note: Note,
}

impl Drop for Announcement {
    fn drop(&mut self) {
        remove(&self.path, &self.note);
    }
}

fn read(path: &Path) -> Option<Note> {
    if FILE_MAX < fs::symlink_metadata(path).ok()?.len() {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Removes a note, unless another has taken its place meanwhile.
fn remove(path: &Path, note: &Note) {
    if read(path).as_ref() == Some(note) {
        // An error means that somebody else has removed it.
        let _ = fs::remove_file(path);
    }
}

/// The name itself where it can be part of a file name everywhere, and short; else its bytes in hexadecimal, cut.
fn file_stem(name: &str) -> String {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || character == '-' || character == '_';
    if name.len() <= 64 && !name.is_empty() && name.chars().all(is_plain) {
        name.to_owned()
    } else {
        let hex: String = name
            .bytes()
            .take(64)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("x{hex}")
    }
}

#[cfg(test)]
mod tests;
