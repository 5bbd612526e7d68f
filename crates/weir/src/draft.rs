//! A file that is there whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// What is to be a file, on its way there: beside it until it is whole, for its owner alone, and gone if it never is.
pub(crate) struct Draft {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Draft {
    /// An empty one, in the folder in which it is to be named.
    ///
    /// # Errors
    ///
    /// Of the kind [`ErrorKind::AlreadyExists`] if something is there.
    pub(crate) fn begin(path: PathBuf) -> io::Result<Self> {
        let mut file = OpenOptions::new();
        let file = file.write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
        })
    }

    /// Where it is as long as it has no name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line.
    pub(crate) fn write_line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.file, "{line}")
    }

    /// Has all of it on the disk.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()
    }

    /// Gives it its name, once [`sync`](Self::sync) has been called: nothing that is there is overwritten.
    ///
    /// # Errors
    ///
    /// Of the kind [`ErrorKind::AlreadyExists`] if something is there: of several that are given one name at once, the first has it.
    pub(crate) fn name(self, name: &Path) -> io::Result<()> {
        self.name_by(name, |from, to| fs::hard_link(from, to))
    }

    fn name_by(
        self,
        name: &Path,
        link: impl FnOnce(&Path, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        // A second name for the file, as renaming would take the place of another.
        match link(&self.path, name) {
            Err(error) if has_no_links(&error) => self.rename(name),
            named => named,
        }
    }

    /// In place of a file that is made for it: who finds that has found none of somebody else.
    fn rename(self, name: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).create_new(true).open(name)?;
        fs::rename(&self.path, name).inspect_err(|_| {
            let _empty = fs::remove_file(name);
        })
    }
}

/// Under its own name it stays, if it was given one.
impl Drop for Draft {
    fn drop(&mut self) {
        let _renamed = fs::remove_file(&self.path);
    }
}

/// Whether it says that the file system knows no second names, as FAT: `EPERM` by link(2), and what others say of it.
fn has_no_links(error: &io::Error) -> bool {
    error.kind() == ErrorKind::Unsupported
        || matches!(
            Errno::from_io_error(error),
            Some(Errno::PERM | Errno::OPNOTSUPP)
        )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn draft(folder: &Path) -> Draft {
        let mut draft = Draft::begin(folder.join("draft")).unwrap();
        draft.write_line("ours").unwrap();
        draft.sync().unwrap();
        draft
    }

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    fn says(errno: Errno) -> impl FnOnce(&Path, &Path) -> io::Result<()> {
        move |_, _| Err(errno.into())
    }

    #[test]
    fn where_there_are_no_links_it_gets_its_name_all_the_same() {
        for errno in [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS] {
            let folder = tempfile::tempdir().unwrap();
            let name = folder.path().join("file");
            draft(folder.path()).name_by(&name, says(errno)).unwrap();
            assert_eq!(names_in(folder.path()), ["file"]);
            assert_eq!(fs::read_to_string(&name).unwrap(), "ours\n");
            let mode = fs::metadata(&name).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);

            fs::write(&name, "theirs").unwrap();
            let late = draft(folder.path()).name_by(&name, says(errno));
            assert_eq!(late.unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert_eq!(fs::read_to_string(&name).unwrap(), "theirs");
            assert_eq!(names_in(folder.path()), ["file"]);
        }
    }

    #[test]
    fn any_other_error_names_nothing() {
        for errno in [Errno::IO, Errno::ACCESS, Errno::NOSPC] {
            let folder = tempfile::tempdir().unwrap();
            let name = folder.path().join("file");
            let refused = draft(folder.path()).name_by(&name, says(errno));
            assert_eq!(Errno::from_io_error(&refused.unwrap_err()), Some(errno));
            assert!(names_in(folder.path()).is_empty());
        }
    }
}
