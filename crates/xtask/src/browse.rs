//! The pages in a real browser: a walk through all of them, and pictures for README.

use std::fs;
use std::path::{self, Path};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::tools::{self, cargo};

const DEBIAN_PACKAGES: &[(&str, &str)] =
    &[("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")];

/// Walks through all pages, as `tests/browser/walk.mjs` says, and leaves pictures of them in `target/pages`. `false`: something
/// is wrong with one, and was told.
pub(crate) fn browse() -> Result<bool> {
    let pictures = tools::target_dir().join("pages");
    script("walk.mjs", &pictures)
}

/// Takes the pictures of README's front page anew.
pub(crate) fn pictures() -> Result<bool> {
    script("pictures.mjs", Path::new("docs/pictures"))
}

/// Runs a script of `tests/browser`, which leaves its pictures in `pictures`.
fn script(name: &str, pictures: &Path) -> Result<bool> {
    tools::install_missing(DEBIAN_PACKAGES)?;
    let build = [
        "build",
        "--locked",
        "--profile",
        "test",
        "--package",
        "weir",
    ];
    if !cargo(build).status()?.success() {
        return Ok(false);
    }
    // Below `target`, with what it is installed from: the script finds its packages beside itself.
    let target = tools::target_dir();
    let folder = target.join("browser");
    fs::create_dir_all(&folder)?;
    for file in ["package.json", "nodes.mjs", name] {
        let from = Path::new("tests/browser").join(file);
        fs::copy(from, folder.join(file)).context("copying the script")?;
    }
    let npm = Command::new("npm")
        .args(["install", "--silent", "--no-audit", "--no-fund"])
        .current_dir(&folder)
        .status()?;
    if !npm.success() {
        bail!("npm install in {}: {npm}", folder.display());
    }
    let ran = Command::new("node")
        .arg(folder.join(name))
        .arg(target.join("debug").join("weir"))
        .arg(path::absolute(pictures)?)
        .status()?;
    Ok(ran.success())
}
