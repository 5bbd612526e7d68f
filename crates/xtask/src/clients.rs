//! The packages for other languages: packed, installed as whoever uses them installs them, and asked.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::steps::{must, must_counting, weir_binary};
use crate::tally::Tally;
use crate::tools;

/// What runs programs for node, and installs what they need.
pub(crate) const NODE: &[(&str, &str)] = &[("node", "nodejs"), ("npm", "npm")];

/// What checks the types of the Python package, runs its tests, and runs the example for FastAPI.
const PYTHON_PACKAGES: &[&str] = &[
    "mypy==2.4.1",
    "pytest==9.2.0",
    "fastapi==0.165.0",
    "uvicorn==0.54.0",
];

/// What somebody who tried a package in place has left there.
const LEFT_BEHIND: &[&str] = &["node_modules", "dist", "build", "__pycache__"];

/// Packs, installs and tests them below `target`, so that the tree stays as it is.
pub(crate) fn clients(tally: &mut Tally) -> Result<()> {
    tools::install_missing(NODE)?;
    let weir = weir_binary()?;
    let folder = tools::target_dir().join("clients");
    if folder.is_dir() {
        fs::remove_dir_all(&folder).context("removing what was tested before")?;
    }
    copy(&tools::workspace_root()?.join("clients"), &folder).context("copying clients/")?;
    typescript(&folder, &weir, tally)?;
    python(&folder, &weir, tally)
}

fn typescript(folder: &Path, weir: &Path, tally: &mut Tally) -> Result<()> {
    let package = folder.join("typescript");
    must(npm(&package, ["install"]))?;
    // Builds it, types included.
    must(npm(&package, ["pack"]))?;
    let packed = only_file(&package, "tgz")?;
    let (tests, example) = (package.join("tests"), folder.join("examples/express"));
    for program in [&tests, &example] {
        must(npm(program, [OsStr::new("install"), packed.as_os_str()]))?;
    }
    let tsc = tests.join("node_modules/.bin/tsc");
    let mut build = within(&tests, &tsc);
    build.args(["--project", "."]);
    must(build)?;
    let mut check = within(&example, &tsc);
    check.args(["--noEmit", "--strict", "--allowJs", "--checkJs"]);
    check.args(["--target", "es2022", "--module", "nodenext", "app.mjs"]);
    must(check)?;
    let mut run = within(&tests, "node");
    run.args(["--test", "--test-reporter=spec"]);
    for test in ["played", "nodes", "express"] {
        run.arg(format!("out/{test}.test.js"));
    }
    run.env("WEIR_BIN", weir);
    must_counting(run, tally)
}

fn python(folder: &Path, weir: &Path, tally: &mut Tally) -> Result<()> {
    let package = folder.join("python");
    let programs = tools::python_programs(PYTHON_PACKAGES)?;
    let mut install = within(&package, programs.join("pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check"]);
    // Of the same version each time, and yet another.
    install.args(["--no-deps", "--force-reinstall", "."]);
    must(install)?;
    let mut types = within(&package, programs.join("mypy"));
    types.args(["src", "tests", "../examples/fastapi/app.py"]);
    let cache = tools::target_dir().join("mypy");
    types.arg("--cache-dir").arg(cache);
    must(types)?;
    let mut run = within(&package, programs.join("python3"));
    run.args(["-m", "pytest", "--quiet", "tests"]);
    run.env("WEIR_BIN", weir);
    must_counting(run, tally)
}

pub(crate) fn within(folder: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    command
}

/// `npm` in a folder, which writes down nothing of what it has found.
pub(crate) fn npm<const N: usize>(folder: &Path, args: [impl AsRef<OsStr>; N]) -> Command {
    let mut command = within(folder, "npm");
    command.args(args);
    command.args(["--silent", "--no-audit", "--no-fund", "--prefer-offline"]);
    command.args(["--no-save", "--no-package-lock"]);
    command
}

/// The one file of `folder` whose name ends so.
fn only_file(folder: &Path, extension: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let mut paths = entries.into_iter().map(|entry| entry.path());
    paths
        .find(|path| path.extension().is_some_and(|ending| ending == extension))
        .with_context(|| format!("no .{extension} in {}", folder.display()))
}

/// Copies a folder, but for what is made in it.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if LEFT_BEHIND.iter().any(|left| name == *left) {
            continue;
        }
        let target = to.join(&name);
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => drop(fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}
