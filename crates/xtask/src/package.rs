//! What is handed out: a Debian package and an archive, each of the binary, what it writes of itself, what it is made of and the files of
//! `deploy/`; the bill of materials; and their checksums.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::bill;
use crate::steps::must;
use crate::tools;

const DEBIAN_PACKAGES: &[(&str, &str)] = &[
    ("lintian", "lintian"),
    ("dpkg-shlibdeps", "dpkg-dev"),
    ("strip", "binutils"),
];

/// A compiler and linker that has the symbols of every C library since 2.17, and what has cargo call it.
const OLD_SYSTEMS: &[&str] = &["cargo-zigbuild==0.24.1", "ziglang==0.17.1"];

/// The oldest C library that the binary runs with, that of 2012: the standard library of Rust wants it. Every Debian since 8, Ubuntu since
/// 14.04 and Red Hat since 7 has it.
const C_LIBRARY: &str = "2.17";

/// Which shell's completions have which file.
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Makes all of it in `target/package/out`. The package is read by lintian, and installed, upgraded and purged on a copy of this system
/// that is thrown away. `binary`: one that is there, in place of one that is built for old systems.
pub(crate) fn package(binary: Option<&str>) -> Result<bool> {
    tools::install_missing(DEBIAN_PACKAGES)?;
    let cargo_deb = tools::cargo_program(("cargo-deb", "3.8.0"))?;
    let binary = match binary {
        Some(binary) => binary.into(),
        None => build()?,
    };
    // The manifest names this folder by its place below the root.
    let folder = Path::new("target/package");
    if folder.is_dir() {
        fs::remove_dir_all(folder)?;
    }
    let out = folder.join("out");
    fs::create_dir_all(&out)?;
    let weir = folder.join("weir");
    fs::copy(&binary, &weir).with_context(|| format!("copying {}", binary.display()))?;
    let mut strip = Command::new("strip");
    strip.arg(&weir);
    must(strip)?;
    let wanted = c_library_of(&weir)?;
    println!("the binary runs with glibc {wanted} and later");
    write_about_itself(&weir, folder)?;
    bill::write(folder)?;
    let python = tools::python_programs(&[bill::VALIDATOR])?.join("python3");
    must(bill::validator(&python, &folder.join("weir.cdx.json")))?;

    // The earlier one is to be upgraded from, and goes to nobody.
    let version = env!("CARGO_PKG_VERSION");
    let earlier = folder.join("weir-earlier.deb");
    let later = out.join(format!("weir_{version}-1_{}.deb", debian_architecture()?));
    make(&cargo_deb, &earlier, &["--deb-revision", "0", "--fast"])?;
    make(&cargo_deb, &later, &["--deb-revision", "1"])?;
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning"]);
    lintian.arg(&later);
    must(lintian)?;
    let mut tries = Command::new("deploy/debian/try.sh");
    tries.args([&earlier, &later]);
    must(tries)?;

    let title = format!("weir-{version}-{}-linux", env::consts::ARCH);
    archive(folder, &title, &out)?;
    fs::copy(
        folder.join("weir.cdx.json"),
        out.join(format!("{title}.cdx.json")),
    )?;
    sum(&out)?;
    println!("{}", out.display());
    Ok(true)
}

/// Builds the binary for systems with [`C_LIBRARY`], the libraries in C included.
fn build() -> Result<PathBuf> {
    let programs = tools::python_programs(OLD_SYSTEMS)?;
    let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let mut build = Command::new(programs.join("cargo-zigbuild"));
    build.args(["zigbuild", "--locked", "--profile", "shipping"]);
    build.args(["--package", "weir", "--target"]);
    build.arg(format!("{target}.{C_LIBRARY}"));
    // It finds the compiler by the Python that is first there.
    let path = env::var_os("PATH").unwrap_or_default();
    let path = [programs].into_iter().chain(env::split_paths(&path));
    build.env("PATH", env::join_paths(path)?);
    must(build)?;
    let weir = tools::target_dir().join(target).join("shipping/weir");
    let wanted = c_library_of(&weir)?;
    if version_of(C_LIBRARY) < version_of(&wanted) {
        bail!("it wants glibc {wanted}, and was built for {C_LIBRARY}");
    }
    Ok(weir)
}

/// The oldest C library that has all symbols that a program asks for.
fn c_library_of(program: &Path) -> Result<String> {
    let mut objdump = Command::new("objdump");
    objdump.arg("--dynamic-syms").arg(program);
    let symbols = tools::output_of(objdump)?;
    newest(&symbols).with_context(|| format!("{} asks for no C library", program.display()))
}

fn newest(symbols: &str) -> Option<String> {
    let versions = symbols.split("GLIBC_").skip(1).map(|rest| {
        let end = rest.find(|it: char| !it.is_ascii_digit() && it != '.');
        &rest[..end.unwrap_or(rest.len())]
    });
    // `GLIBC_PRIVATE` is none.
    let versions = versions.filter(|version| !version.is_empty());
    versions
        .max_by_key(|version| version_of(version))
        .map(str::to_owned)
}

fn version_of(text: &str) -> Vec<u32> {
    text.split('.')
        .filter_map(|part| part.parse().ok())
        .collect()
}

/// What Debian calls this machine's kind.
fn debian_architecture() -> Result<String> {
    let mut dpkg = Command::new("dpkg");
    dpkg.arg("--print-architecture");
    Ok(tools::output_of(dpkg)?.trim().to_owned())
}

/// Packs what is not Debian's for any other system, the same of the same.
fn archive(folder: &Path, title: &str, out: &Path) -> Result<()> {
    let root = folder.join(title);
    fs::create_dir_all(&root)?;
    for name in ["weir", "weir.cdx.json", "THIRD-PARTY"] {
        fs::copy(folder.join(name), root.join(name))?;
    }
    for name in [
        "LICENSE",
        "CHANGELOG.md",
        "deploy/weir.service",
        "deploy/weir.sysusers",
        "deploy/debian/weir.toml",
    ] {
        let file = Path::new(name);
        fs::copy(file, root.join(file.file_name().context("a file")?))?;
    }
    let mut pack = Command::new("cp");
    pack.arg("--recursive").arg(folder.join("man")).arg(&root);
    must(pack)?;
    for shell in SHELLS {
        let name = format!("weir.{shell}");
        fs::copy(folder.join(&name), root.join(&name))?;
    }
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--sort=name", "--mtime=@0"]);
    tar.args(["--owner=0", "--group=0", "--numeric-owner", "--file"]);
    tar.arg(out.join(format!("{title}.tar.gz")));
    tar.arg("--directory").arg(folder).arg(title);
    must(tar)
}

/// Writes `SHA256SUMS` beside what it is of, and reads it as whoever downloads it does.
fn sum(out: &Path) -> Result<()> {
    let script = "sha256sum -- * > ../SHA256SUMS && mv ../SHA256SUMS . && sha256sum --check --strict --quiet SHA256SUMS";
    let mut sum = Command::new("sh");
    sum.args(["-c", script]).current_dir(out);
    must(sum)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_says_which_library_is_wanted() {
        let symbols = "(GLIBC_2.2.5) free\n(GLIBC_2.17) clock_gettime\n(GLIBC_2.9) pipe2\n(GLIBC_PRIVATE) x\n(GCC_3.0) y";
        assert_eq!(newest(symbols).as_deref(), Some("2.17"));
        assert!(version_of("2.17") < version_of("2.34"));
        assert!(version_of("2.2.5") < version_of("2.17"));
        assert_eq!(newest("(GCC_3.0) y"), None);
    }
}
