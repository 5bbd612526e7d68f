//! Walking through the pages in a real browser.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::tools::{self, cargo};

const DEBIAN_PACKAGES: &[(&str, &str)] =
    &[("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")];

/// Walks through all pages, as `tests/browser/walk.mjs` says, and leaves pictures of them in `target/pages`. `false`: something
/// is wrong with one, and was told.
pub(crate) fn browse() -> Result<bool> {
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
    let (target, script) = (tools::target_dir(), "tests/browser");
    let folder = target.join("browser");
    fs::create_dir_all(&folder)?;
    for file in ["package.json", "walk.mjs"] {
        fs::copy(format!("{script}/{file}"), folder.join(file)).context("copying the walk")?;
    }
    let npm = Command::new("npm")
        .args(["install", "--silent", "--no-audit", "--no-fund"])
        .current_dir(&folder)
        .status()?;
    if !npm.success() {
        bail!("npm install in {}: {npm}", folder.display());
    }
    let walk = Command::new("node")
        .arg(folder.join("walk.mjs"))
        .arg(target.join("debug").join("weir"))
        .arg(target.join("pages"))
        .status()?;
    Ok(walk.success())
}
