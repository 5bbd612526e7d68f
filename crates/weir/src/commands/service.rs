//! `weir service`: all that a service for many has, in a file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Value, json};

use super::Outcome;
use crate::api::{Api, not_confirmed, segment};
use crate::cli::ServiceCommand;
use crate::draft::Draft;

/// Records of a page, and taken in at once.
const AT_ONCE: usize = 500;

const PATH: &str = "/v1/service/records";

/// Exports or imports.
///
/// # Errors
///
/// When the node cannot be asked, or the file not be written or read. Of an export nothing is left then, unless it says that the file is
/// there; of an import what came before is taken in, which stderr tells.
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
            let mut imported = Imported::default();
            let done = import(&Api::of_operator(&operator.api, None)?, file, &mut imported);
            if done.is_err() && imported.records != 0 {
                // It stays, and who has not confirmed it is told by nobody else.
                eprint!("{}", tell(&imported, false));
            }
            done?;
            tell(&imported, operator.json)
        }
    };
    Ok(Outcome::success(told))
}

fn export(api: &Api, path: &Path) -> anyhow::Result<usize> {
    let mut part = begin(path)?;
    let (mut count, mut query) = (0, format!("?count={AT_ONCE}"));
    loop {
        let answer = api.get(&format!("{PATH}{query}"))?;
        let page = api.expect(&answer, &[200])?;
        for record in page["items"].as_array().into_iter().flatten() {
            let written = part.write_line(&record.to_string());
            written.with_context(|| format!("writing {}", part.path().display()))?;
            count += 1;
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        query = format!("?count={AT_ONCE}&after={}", segment(next));
    }
    end(part, path)?;
    Ok(count)
}

/// Begins an export beside `path`, if nothing is there yet.
fn begin(path: &Path) -> anyhow::Result<Draft> {
    let shown = path.display();
    if path.symlink_metadata().is_ok() {
        bail!("{shown} is there already, and is not overwritten");
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let shown = part.display().to_string();
    Draft::begin(part).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow!(
            "{shown} is there already: another export is being written, or one was killed and its part can be removed"
        ),
        _ => anyhow::Error::new(error).context(format!("making {shown}")),
    })
}

/// Gives an export its name, once it is on the disk.
fn end(mut part: Draft, path: &Path) -> anyhow::Result<()> {
    let synced = part.sync();
    synced.with_context(|| format!("writing {}", part.path().display()))?;
    let named = part.name(path);
    named.with_context(|| format!("making {}", path.display()))?;
    sync_folder_of(path)
}

/// Has the name of the file on the disk as well.
fn sync_folder_of(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new(".")));
    let synced = folder.and_then(|folder| folder.sync_all());
    synced.with_context(|| {
        let shown = path.display();
        format!("{shown} is there, and whole, but may be gone if this machine loses power now: writing its folder")
    })
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

fn import(api: &Api, path: &Path, imported: &mut Imported) -> anyhow::Result<()> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("opening {shown}"))?;
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
    Ok(())
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
    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::cli::ApiArgs;

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

    /// What had been taken in, and who had not confirmed it, was forgotten with the error.
    #[test]
    fn an_import_that_fails_half_way_has_what_came_before() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let args = ApiArgs {
            url: format!("http://{}", listener.local_addr().unwrap()),
            api_token: Some("t".into()),
            cookie_file: None,
            cookie: None,
            insecure: false,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.jsonl");
        let lines = "{\"record\":\"AAAA\"}\n".repeat(AT_ONCE) + "tenants\n";
        fs::write(&path, lines).unwrap();
        let node = thread::spawn(move || {
            let (mut asker, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            // Until the end of its body.
            while !asked.ends_with(b"]}") {
                let mut bytes = [0; 4_096];
                let read = asker.read(&mut bytes).unwrap();
                assert_ne!(read, 0, "it leaves");
                asked.extend_from_slice(&bytes[..read]);
            }
            let answer =
                "HTTP/1.1 200 OK\r\nWeir-Pending: oskar3\r\nContent-Length: 9\r\n\r\n{\"new\":2}";
            asker.write_all(answer.as_bytes()).unwrap();
        });
        let mut imported = Imported::default();
        let error = import(&Api::new(&args).unwrap(), &path, &mut imported).unwrap_err();
        node.join().unwrap();
        assert!(
            error.to_string().contains("500 records before it"),
            "{error}"
        );
        assert_eq!(
            tell(&imported, false),
            "500 records, 2 of them new\nnot confirmed yet by oskar3: in force there when it answers again\n"
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
        let mut part = begin(&path).unwrap();
        part.write_line("{\"record\":\"AAAA\"}").unwrap();
        assert_eq!(names_in(folder.path()), ["weir.jsonl.part"]);
        let another = begin(&path).err().unwrap();
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
        let mut part = begin(&path).unwrap();
        part.write_line("{\"record\":\"AAAA\"}").unwrap();
        end(part, &path).unwrap();
        assert_eq!(names_in(folder.path()), ["weir.jsonl"]);
        let written = "{\"record\":\"AAAA\"}\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), written);
        let refused = begin(&path).err().unwrap();
        assert!(
            refused.to_string().contains("is not overwritten"),
            "{refused}"
        );

        // Somebody makes the file meanwhile.
        let path = folder.path().join("late.jsonl");
        let part = begin(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        assert!(end(part, &path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(names_in(folder.path()).len(), 2);
    }

    #[test]
    fn an_export_whose_folder_cannot_be_written_says_that_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let error = sync_folder_of(&folder.path().join("none/weir.jsonl")).unwrap_err();
        assert!(
            error.to_string().contains("weir.jsonl is there, and whole"),
            "{error}"
        );
    }
}
