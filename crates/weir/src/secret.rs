//! Secrets: the cluster's cookie and the API's token. Never printed, not even for debugging.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::config::node::SecretSource;
use crate::draft::Draft;

/// Longest secret taken from a file: what is longer is the wrong file.
const SECRET_BYTES_MAX: usize = 4_096;
/// Bytes of a cookie made here: as hard to guess as the keys derived from it, 256 bits.
const COOKIE_BYTES: usize = 32;

/// A secret. Not blank; compares and derives keys, and shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("reading {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("making {}", path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("{} is blank; write a secret into it, or remove it", path.display())]
    Blank { path: PathBuf },
    #[error("{} holds more than {SECRET_BYTES_MAX} bytes; is it the right file?", path.display())]
    TooLong { path: PathBuf },
    #[error("{} can be used by others; forbid it: chmod 600 {}", path.display(), path.display())]
    Open { path: PathBuf },
}

impl Secret {
    /// The secret in `text`, without the white space around it. `None` if nothing is left.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The secret itself, for whoever must prove or compare it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Gets the secret from where it is. A default file that does not exist is made, with a secret nobody knows.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or made, is blank or overlong, or is a default file that others may use.
    pub(crate) fn load(source: &SecretSource) -> Result<Self, SecretError> {
        match source {
            SecretSource::Given(secret) => Ok(secret.clone()),
            SecretSource::File(path) => {
                // A secret mounted into a container is often readable by all, and there is nobody else inside.
                if is_open(path)? {
                    tracing::warn!(path = %path.display(), "secret can be read by others, using it");
                }
                read(path)
            }
            SecretSource::Default(path) => {
                make_unless_there(path).map_err(|source| SecretError::Make {
                    path: path.clone(),
                    source,
                })?;
                if is_open(path)? {
                    return Err(SecretError::Open { path: path.clone() });
                }
                read(path)
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn read(path: &Path) -> Result<Secret, SecretError> {
    let text = fs::read_to_string(path).map_err(|source| SecretError::Read {
        path: path.to_owned(),
        source,
    })?;
    if SECRET_BYTES_MAX < text.len() {
        return Err(SecretError::TooLong {
            path: path.to_owned(),
        });
    }
    Secret::new(&text).ok_or_else(|| SecretError::Blank {
        path: path.to_owned(),
    })
}

/// Whether anybody but the owner of the file may use it.
fn is_open(path: &Path) -> Result<bool, SecretError> {
    let metadata = fs::metadata(path).map_err(|source| SecretError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(metadata.permissions().mode() & 0o077 != 0)
}

/// Makes the file with a fresh secret; leaves one that exists alone.
///
/// Drafted beside it: nodes started at the same moment all end up with the secret of the one that was first, and none reads half
/// a file.
fn make_unless_there(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let secret = hex(&random()?);
    let mut draft = Draft::begin(path.with_extension(format!("{}.draft", hex(&random()?[..4]))))?;
    draft.write_line(&secret)?;
    draft.sync()?;
    match draft.name(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        named => named,
    }
}

fn random() -> io::Result<[u8; COOKIE_BYTES]> {
    let mut bytes = [0; COOKIE_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::thread;

    use super::*;

    fn default_in(dir: &tempfile::TempDir) -> SecretSource {
        SecretSource::Default(dir.path().join(".weir.cookie"))
    }

    fn file_with(dir: &tempfile::TempDir, text: &str, mode: u32) -> PathBuf {
        let path = dir.path().join("cookie");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn the_default_cookie_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = Secret::load(&default_in(&dir)).unwrap();
        assert_eq!(first.expose().len(), 2 * COOKIE_BYTES);
        assert_eq!(first, Secret::load(&default_in(&dir)).unwrap());
        let mode = fs::metadata(dir.path().join(".weir.cookie"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no draft is left behind"
        );
    }

    #[test]
    fn nodes_that_start_together_agree_on_a_cookie() {
        let dir = tempfile::tempdir().unwrap();
        let source = default_in(&dir);
        let loaded: Vec<Secret> = thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| Secret::load(&source).unwrap()))
                .collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap())
                .collect()
        });
        assert!(
            loaded.iter().all(|secret| *secret == loaded[0]),
            "all the same"
        );
    }

    #[test]
    fn a_secret_is_what_stands_between_white_space() {
        let dir = tempfile::tempdir().unwrap();
        let path = file_with(&dir, " s3cret\r\n", 0o600);
        assert_eq!(
            Secret::load(&SecretSource::File(path)).unwrap().expose(),
            "s3cret"
        );
    }

    #[test]
    fn a_bad_file_is_refused_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let refusal = |source: SecretSource| Secret::load(&source).unwrap_err().to_string();

        let blank = file_with(&dir, " \n", 0o600);
        assert!(refusal(SecretSource::File(blank)).contains("is blank"));
        let long = file_with(&dir, &"x".repeat(SECRET_BYTES_MAX + 1), 0o600);
        assert!(refusal(SecretSource::File(long)).contains("more than 4096 bytes"));
        let open = file_with(&dir, "s3cret", 0o640);
        assert!(refusal(SecretSource::Default(open)).contains("chmod 600"));
        assert!(refusal(SecretSource::File(dir.path().join("none"))).starts_with("reading"));
        assert!(refusal(SecretSource::Default(dir.path().join("no/where"))).starts_with("making"));
    }

    #[test]
    fn a_secret_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Some(Secret(..))");
    }
}
