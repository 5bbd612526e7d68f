//! A real Envoy in front of a service of its own.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rehearsal::{Client, Process, Response};
use tempfile::TempDir;

use crate::wait::eventually;

/// An `envoy` process. Killed and reaped when dropped.
#[derive(Debug)]
pub struct Envoy {
    _process: Process,
    log: PathBuf,
    _dir: TempDir,
}

impl Envoy {
    /// Starts it with this configuration, and waits until it answers at `listener`.
    ///
    /// # Panics
    ///
    /// Without `WEIR_ENVOY`, the path of the program, or when it does not answer.
    #[must_use]
    pub fn start(config: &Path, listener: SocketAddr) -> Self {
        let dir = TempDir::with_prefix("weir-e2e-envoy-").expect("a temporary folder");
        let log = dir.path().join("envoy.log");
        let stderr = File::create(&log).expect("creating a log");
        let mut command = Command::new(program());
        command
            .arg("--config-path")
            .arg(config)
            // Hot restart would meet other Envoys of this machine; a thread is enough.
            .args(["--disable-hot-restart", "--concurrency", "1"])
            .args(["--log-level", "warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        let mut process = Process::start(&mut command).expect("starting envoy");
        eventually("envoy listens", || {
            if let Some(status) = process.ended().expect("waiting for a child") {
                let log = fs::read_to_string(&log).unwrap_or_default();
                panic!("envoy ended with {status}: {log}");
            }
            let client = Client::connect(listener);
            client.map(drop).map_err(|error| error.to_string())
        });
        Self {
            _process: process,
            log,
            _dir: dir,
        }
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the log of envoy\n{}", self.log());
        }
    }
}

fn program() -> OsString {
    let program = std::env::var_os("WEIR_ENVOY")
        .expect("WEIR_ENVOY names Envoy; `cargo xtask test end-to-end` installs it and sets this");
    assert!(
        Path::new(&program).is_file(),
        "WEIR_ENVOY={program:?} is no file"
    );
    program
}

/// One `GET` as a client of Envoy, on a connection of its own.
///
/// # Panics
///
/// If there is no answer.
#[track_caller]
#[must_use]
pub fn get(listener: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Response {
    let client = Client::connect(listener);
    let answer = client.and_then(|mut client| client.request("GET", path, headers, None));
    answer.unwrap_or_else(|error| panic!("GET {path} of envoy at {listener}: {error}"))
}
