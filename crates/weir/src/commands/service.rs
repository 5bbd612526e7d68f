//! `weir service`: all that a service for many has, in a file.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Value, json};

use super::Outcome;
use crate::api::{Api, not_confirmed, segment};
use crate::cli::ServiceCommand;

/// Records of a page, and taken in at once.
const AT_ONCE: usize = 500;

const PATH: &str = "/v1/service/records";

/// Exports or imports.
///
/// # Errors
///
/// When the node cannot be asked, or the file not be written or read. Of an export nothing is left then; of an import what came before is
/// taken in.
pub(crate) fn service(command: &ServiceCommand) -> anyhow::Result<Outcome> {
    let told = match command {
        ServiceCommand::Export { file, operator } => {
            let count = export(&Api::of_operator(&operator.api, None)?, file)?;
            match operator.json {
                true => format!("{}\n", json!({ "records": count })),
                false => format!("{count} records\n"),
            }
        }
        ServiceCommand::Import { file, operator } => {
            let imported = import(&Api::of_operator(&operator.api, None)?, file)?;
            tell(&imported, operator.json)
        }
    };
    Ok(Outcome::success(told))
}

fn export(api: &Api, path: &Path) -> anyhow::Result<usize> {
    let mut part = Part::begin(path)?;
    let (mut count, mut query) = (0, format!("?count={AT_ONCE}"));
    loop {
        let answer = api.get(&format!("{PATH}{query}"))?;
        let page = api.expect(&answer, &[200])?;
        for record in page["items"].as_array().into_iter().flatten() {
            part.write(record)?;
            count += 1;
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        query = format!("?count={AT_ONCE}&after={}", segment(next));
    }
    part.end(path)?;
    Ok(count)
}

/// An export on its way to a file: beside it until it is whole, and gone if it never is.
struct Part {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Part {
    /// An empty one, if nothing is at `path` yet.
    fn begin(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        if path.symlink_metadata().is_ok() {
            bail!("{shown} is there already, and is not overwritten");
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        let mut file = OpenOptions::new();
        let file = file.write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| {
            let shown = path.display();
            match error.kind() {
                ErrorKind::AlreadyExists => anyhow!(
                    "{shown} is there already: another export is being written, or one was killed and its part can be removed"
                ),
                _ => anyhow::Error::new(error).context(format!("making {shown}")),
            }
        })?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
        })
    }

    fn write(&mut self, record: &Value) -> anyhow::Result<()> {
        let written = writeln!(self.file, "{record}");
        written.with_context(|| format!("writing {}", self.path.display()))
    }

    /// Gives it its name, once it is on the disk: nothing that is there is overwritten.
    fn end(mut self, path: &Path) -> anyhow::Result<()> {
        let shown = path.display();
        let written = self.file.flush();
        let synced = written.and_then(|()| self.file.get_ref().sync_all());
        synced.with_context(|| format!("writing {}", self.path.display()))?;
        // A second name for the file, as renaming would take the place of another. Where there are none (FAT), renaming has to do.
        let named = match fs::hard_link(&self.path, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists && !path.exists() => {
                fs::rename(&self.path, path)
            }
            named => named,
        };
        named.with_context(|| format!("making {shown}"))?;
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        let synced = folder.and_then(|folder| folder.sync_all());
        synced.with_context(|| format!("writing the folder of {shown}"))
    }
}

/// Under its own name it stays, if it was given one.
impl Drop for Part {
    fn drop(&mut self) {
        let _renamed = fs::remove_file(&self.path);
    }
}

/// What was taken in so far.
#[derive(Default)]
struct Imported {
    records: usize,
    new: u64,
    /// Members that had not confirmed all of it.
    pending: BTreeSet<String>,
}

impl Imported {
    fn take_in(&mut self, api: &Api, records: &mut Vec<Value>) -> anyhow::Result<()> {
        let records = std::mem::take(records);
        let count = records.len();
        let answered = api.post(PATH, &json!({ "records": records }));
        let answered = answered.and_then(|answer| {
            let told = api.expect(&answer, &[200])?;
            Ok((told, answer.pending))
        });
        let (told, pending) = answered.with_context(|| {
            let (first, before) = (self.records + 1, self.records);
            let last = self.records + count;
            format!("lines {first} to {last}, after {before} records were taken in")
        })?;
        self.records += count;
        self.new += told["new"].as_u64().unwrap_or_default();
        let pending = pending.iter().flat_map(|names| names.split(','));
        self.pending
            .extend(pending.map(|name| name.trim().to_owned()));
        Ok(())
    }
}

fn import(api: &Api, path: &Path) -> anyhow::Result<Imported> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("opening {shown}"))?;
    let mut imported = Imported::default();
    let mut records = Vec::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(|| format!("reading {shown}"))?;
        let record = serde_json::from_str::<Value>(&line).ok();
        let Some(record) = record.and_then(|record| record["record"].as_str().map(Into::into))
        else {
            let taken = imported.records;
            bail!(
                "{shown}, line {}: no record of an export; {taken} records before it were taken in",
                number + 1
            );
        };
        records.push(record);
        if records.len() == AT_ONCE {
            imported.take_in(api, &mut records)?;
        }
    }
    if !records.is_empty() {
        imported.take_in(api, &mut records)?;
    }
    Ok(imported)
}

fn tell(imported: &Imported, as_json: bool) -> String {
    let Imported {
        records,
        new,
        pending,
    } = imported;
    if as_json {
        return format!(
            "{}\n",
            json!({ "records": records, "new": new, "pending": pending })
        );
    }
    let pending: Vec<&str> = pending.iter().map(String::as_str).collect();
    let pending = (!pending.is_empty()).then(|| pending.join(", "));
    format!(
        "{records} records, {new} of them new\n{}",
        not_confirmed(pending.as_deref())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_the_records_is_told() {
        let mut imported = Imported {
            records: 3,
            new: 1,
            pending: BTreeSet::new(),
        };
        let told = |imported: &Imported| [false, true].map(|as_json| tell(imported, as_json));
        assert_eq!(
            told(&imported),
            [
                "3 records, 1 of them new\n",
                "{\"new\":1,\"pending\":[],\"records\":3}\n"
            ]
        );
        imported.pending = ["oskar3", "oskar2"].map(Into::into).into();
        assert_eq!(
            told(&imported),
            [
                "3 records, 1 of them new\nnot confirmed yet by oskar2, oskar3: in force there when it answers again\n",
                "{\"new\":1,\"pending\":[\"oskar2\",\"oskar3\"],\"records\":3}\n"
            ]
        );
    }

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn an_export_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.jsonl");
        let mut part = Part::begin(&path).unwrap();
        part.write(&json!({ "record": "AAAA" })).unwrap();
        assert_eq!(names_in(folder.path()), ["weir.jsonl.part"]);
        let another = Part::begin(&path).err().unwrap();
        assert!(
            another.to_string().contains("is there already"),
            "{another}"
        );
        drop(part);
        assert!(names_in(folder.path()).is_empty());
    }

    #[test]
    fn an_export_is_under_its_name_when_it_is_whole_and_overwrites_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.jsonl");
        let mut part = Part::begin(&path).unwrap();
        part.write(&json!({ "record": "AAAA" })).unwrap();
        part.end(&path).unwrap();
        assert_eq!(names_in(folder.path()), ["weir.jsonl"]);
        let written = "{\"record\":\"AAAA\"}\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), written);
        let refused = Part::begin(&path).err().unwrap();
        assert!(
            refused.to_string().contains("is not overwritten"),
            "{refused}"
        );

        // Somebody makes the file meanwhile.
        let path = folder.path().join("late.jsonl");
        let part = Part::begin(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        assert!(part.end(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(names_in(folder.path()).len(), 2);
    }
}
