//! The Debian package: the binary, what it writes of itself, and the files of `deploy/`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::steps::must;
use crate::tools::{self, cargo};

const DEBIAN_PACKAGES: &[(&str, &str)] = &[
    ("lintian", "lintian"),
    ("dpkg-shlibdeps", "dpkg-dev"),
    ("strip", "binutils"),
];

/// Which shell's completions have which file.
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Makes the package in `target/package`, has lintian read it, and installs, upgrades and purges it on a copy of this system that is
/// thrown away. `binary`: one that is there, in place of one that is built to be handed out.
pub(crate) fn package(binary: Option<&str>) -> Result<bool> {
    tools::install_missing(DEBIAN_PACKAGES)?;
    let cargo_deb = tools::cargo_program(("cargo-deb", "3.8.0"))?;
    let target = tools::target_dir();
    let binary = match binary {
        Some(binary) => binary.into(),
        None => {
            must(cargo([
                "build",
                "--locked",
                "--profile",
                "shipping",
                "--package",
                "weir",
            ]))?;
            target.join("shipping/weir")
        }
    };
    // The manifest names this folder by its place below the root.
    let folder = Path::new("target/package");
    if folder.is_dir() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let weir = folder.join("weir");
    fs::copy(&binary, &weir).with_context(|| format!("copying {}", binary.display()))?;
    let mut strip = Command::new("strip");
    strip.arg(&weir);
    must(strip)?;
    write_about_itself(&weir, folder)?;
    // The earlier one is to be upgraded from, and goes to nobody.
    let [earlier, later] = ["weir-earlier.deb", "weir.deb"].map(|name| folder.join(name));
    make(&cargo_deb, &earlier, &["--deb-revision", "0", "--fast"])?;
    make(&cargo_deb, &later, &["--deb-revision", "1"])?;
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning"]);
    lintian.arg(&later);
    must(lintian)?;
    let mut tries = Command::new("deploy/debian/try.sh");
    tries.args([&earlier, &later]);
    must(tries)?;
    println!("{}", later.display());
    Ok(true)
}

/// Manual pages, and what shells complete.
fn write_about_itself(weir: &Path, folder: &Path) -> Result<()> {
    let mut man = Command::new(weir);
    man.arg("man").arg(folder.join("man"));
    must(man)?;
    for shell in SHELLS {
        let output = Command::new(weir).args(["completions", shell]).output()?;
        if !output.status.success() {
            bail!("weir completions {shell}: {}", output.status);
        }
        fs::write(folder.join(format!("weir.{shell}")), output.stdout)?;
    }
    Ok(())
}

/// Makes one package.
fn make(cargo_deb: &Path, made: &Path, options: &[&str]) -> Result<()> {
    let mut deb = Command::new(cargo_deb);
    deb.args([
        "--package",
        "weir",
        "--no-build",
        "--no-strip",
        "--no-dbgsym",
        "--quiet",
    ]);
    deb.args(options).arg("--output").arg(made);
    must(deb)
}
