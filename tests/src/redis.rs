//! A real Redis on a port of its own.

use std::process::{Command, Stdio};

use rehearsal::{Process, free_address};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::wait::eventually;

/// A `redis-server` that keeps nothing on disk. Killed and reaped when dropped.
#[derive(Debug)]
pub struct Redis {
    /// Where it listens, on this host.
    pub port: u16,
    process: Process,
    dir: TempDir,
    args: Vec<String>,
}

impl Redis {
    /// An empty one, with these arguments besides, that answers.
    ///
    /// # Panics
    ///
    /// Without the program `redis-server`, or when it does not answer.
    #[must_use]
    pub fn start(args: &[&str]) -> Self {
        let port = free_address().expect("a free port").port();
        let dir = TempDir::with_prefix("weir-e2e-redis-").expect("a temporary folder");
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let process = spawn(port, &dir, &args);
        let redis = Self {
            port,
            process,
            dir,
            args,
        };
        redis.answers();
        redis
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it as a crash would. What it held is lost.
    ///
    /// # Panics
    ///
    /// If it cannot be killed.
    pub fn kill(&mut self) {
        self.process.kill().expect("killing a child");
    }

    /// Starts it again where it was, empty.
    pub fn start_again(&mut self) {
        self.process = spawn(self.port, &self.dir, &self.args);
        self.answers();
    }

    /// Stops it, without closing anything.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// What `redis-cli` prints for one command.
    ///
    /// # Panics
    ///
    /// Without the program `redis-cli`.
    #[must_use]
    pub fn cli(&self, command: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(command)
            .output()
            .expect("redis-cli comes with the package redis-tools");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn signal(&self, signal: Signal) {
        self.process.signal(signal).expect("signalling a child");
    }

    fn answers(&self) {
        eventually("redis-server answers", || {
            let pong = self.cli(&["ping"]);
            let answered = pong == "PONG" || pong.contains("NOAUTH");
            answered.then_some(()).ok_or(pong)
        });
    }
}

fn spawn(port: u16, dir: &TempDir, args: &[String]) -> Process {
    let mut command = Command::new("redis-server");
    command
        .args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"])
        .args(["--port", &port.to_string()])
        .arg("--dir")
        .arg(dir.path())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::start(&mut command).expect("redis-server comes with the package redis-server")
}
