//! The tables of `bench/README.md`, each between two marks.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::machine;

const PATH: &str = "bench/README.md";

/// Puts the result of a measurement in its place, with all that is needed to measure it again.
pub(crate) fn write(name: &str, load: f64, result: &str) -> Result<()> {
    let text = fs::read_to_string(PATH).with_context(|| format!("reading {PATH}"))?;
    let (begin, end) = (
        format!("<!-- begin {name} -->\n"),
        format!("<!-- end {name} -->"),
    );
    let (before, rest) = text
        .split_once(&begin)
        .with_context(|| format!("{PATH} has no place for {name}"))?;
    let (_, after) = rest
        .split_once(&end)
        .with_context(|| format!("{name} has no end in {PATH}"))?;
    let provenance = format!(
        "`cargo xtask bench {name}`, {} at {}, load before {load:.1}; {}.",
        output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])?,
        commit()?,
        machine::describe(),
    );
    fs::write(
        PATH,
        format!(
            "{before}{begin}\n{provenance}\n\n{}\n\n{end}{after}",
            result.trim_end()
        ),
    )
    .with_context(|| format!("writing {PATH}"))
}

/// The commit that was measured, and whether the product differed from it.
fn commit() -> Result<String> {
    let hash = output("git", &["rev-parse", "--short", "HEAD"])?;
    let changed = output(
        "git",
        &["status", "--porcelain", "--", "crates", "Cargo.lock"],
    )?;
    Ok(if changed.is_empty() {
        format!("commit {hash}")
    } else {
        format!("commit {hash} with changes on top")
    })
}

fn output(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .output()
        .with_context(|| format!("starting {program}"))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
