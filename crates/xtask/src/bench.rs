//! Building and installing what is measured, and measuring it.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::tools::{self, cargo};

/// The load generator, a peer and what another is built with, each with the Debian package that brings it.
const DEBIAN_PACKAGES: &[(&str, &str)] = &[
    ("wrk", "wrk"),
    ("nginx", "nginx-light"),
    ("protoc", "protobuf-compiler"),
    ("redis-server", "redis-server"),
    ("redis-benchmark", "redis-tools"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("sysctl", "procps"),
];

/// A peer that is built from source, below `target` and not where it would meet the user's own.
const THROTTLECRAB: &str = "throttlecrab-server@0.4.40";
const PEERS: &str = "target/peers";

/// Measures what `names` name, or everything; see `bench/README.md`. `false`: something went wrong and was told.
pub(crate) fn bench(names: &[String]) -> Result<bool> {
    tools::install_missing(DEBIAN_PACKAGES)?;
    if !Path::new(PEERS).join("bin/throttlecrab-server").exists() {
        must(cargo([
            "install",
            "--locked",
            "--root",
            PEERS,
            THROTTLECRAB,
        ]))?;
    }
    // The bench finds them beside itself.
    let shipping = || {
        let mut build = cargo(["build", "--locked", "--profile", "shipping"]);
        build.args(["--target-dir", "target"]);
        build
    };
    let mut programs = shipping();
    programs.args(["--package", "weir", "--package", "bench"]);
    must(programs)?;
    let mut examples = shipping();
    examples.args([
        "--package",
        "coordinator-redis",
        "--example",
        "redis-throughput",
    ]);
    examples.args([
        "--package",
        "coordinator-raft",
        "--example",
        "raft-throughput",
    ]);
    must(examples)?;
    Ok(Command::new("target/shipping/bench")
        .args(names)
        // For what is measured with the nodes of the end-to-end tests.
        .env("WEIR_BIN", std::path::absolute("target/shipping/weir")?)
        .status()?
        .success())
}

fn must(mut command: Command) -> Result<()> {
    let status = command.status()?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}
