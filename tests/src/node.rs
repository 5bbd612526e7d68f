//! One `weir node` process.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rehearsal::{Client, Ready, Response, cpu_of, memory_of};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::load::Target;
use crate::wait::{DEADLINE, eventually};

/// Checks of one batch: the most that is taken.
const BATCH: usize = 1_000;

/// Lines of a node's log that a failed test shows.
const TAIL: usize = 40;

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--name`
    pub name: String,
    /// `--cookie`
    pub cookie: String,
    /// More arguments.
    pub args: Vec<String>,
    /// The network namespace that is its host, and the address there. `None`: this host.
    pub host: Option<(String, String)>,
    /// By how much its wall clock is off, as `faketime` reads it: `+1h`. `None`: as this host's.
    pub clock: Option<String>,
    /// Port of `--http`. 0: any.
    pub http_port: u16,
    /// Another version of the program. `None`: the one under test.
    pub program: Option<PathBuf>,
}

impl Options {
    /// A node on this host.
    #[must_use]
    pub fn new(name: &str, cookie: &str) -> Self {
        Self {
            name: name.to_owned(),
            cookie: cookie.to_owned(),
            args: Vec::new(),
            host: None,
            clock: None,
            http_port: 0,
            program: None,
        }
    }
}

/// A running node. Killed and reaped when dropped.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Where it serves HTTP.
    pub http: SocketAddr,
    /// Where it serves the Redis protocol, if it was told to.
    pub redis: Option<SocketAddr>,
    /// Where it serves other nodes.
    pub cluster: SocketAddr,
    /// Where it serves Envoy's rate limit service, if it was told to.
    pub grpc: Option<SocketAddr>,
    /// Live members when it was ready, itself included.
    pub members: usize,
    process: Process,
}

/// A node that has been started and may not be ready. Killed and reaped when dropped.
#[derive(Debug)]
pub struct Starting {
    told: mpsc::Receiver<String>,
    process: Process,
}

/// A child that does not outlive its test, and whose log a failed test shows.
#[derive(Debug)]
struct Process {
    child: rehearsal::Process,
    log: PathBuf,
    /// What was asked for is not always a surprise: the log of a node that a test killed is shown, too.
    name: String,
}

/// The `weir` command in the world of a test: its home is `home`, and no variable of ours reaches it.
///
/// # Panics
///
/// Without `WEIR_BIN`, the path of the program under test.
#[must_use]
pub fn weir(home: &Path) -> Command {
    let mut command = Command::new(program());
    isolate(&mut command, home);
    command
}

/// The program under test.
pub(crate) fn program() -> OsString {
    let program = std::env::var_os("WEIR_BIN").expect(
        "WEIR_BIN names the weir program to test; `cargo xtask test end-to-end` builds it and sets this",
    );
    assert!(
        Path::new(&program).is_file(),
        "WEIR_BIN={program:?} is no file"
    );
    program
}

fn isolate(command: &mut Command, home: &Path) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .stdin(Stdio::null());
}

impl Node {
    /// Starts a node and waits until it is ready.
    ///
    /// # Errors
    ///
    /// If it ends before it is ready: how, and what it said on stderr.
    ///
    /// # Panics
    ///
    /// If it is not ready within the deadline, or its ready line is not as promised.
    pub fn start(home: &Path, options: &Options) -> Result<Self, (ExitStatus, String)> {
        Starting::launch(home, options).ready()
    }

    /// A new connection to it.
    ///
    /// # Panics
    ///
    /// If it cannot be reached.
    #[must_use]
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.http)
            .unwrap_or_else(|error| panic!("connecting to {}: {error}", self.name))
    }

    /// One `GET` on a connection of its own.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    #[track_caller]
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.ask("GET", path, headers, None)
    }

    /// One request on a connection of its own.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    #[track_caller]
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Response {
        self.client()
            .request(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path} of {}: {error}", self.name))
    }

    /// Counts one hit of `cost`.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    #[track_caller]
    pub fn check(&self, limit: &str, key: &str, cost: u32) -> Response {
        let checked = self.client().check(limit, key, cost);
        checked.unwrap_or_else(|error| panic!("a check by {}: {error}", self.name))
    }

    /// Units of `key` that are counted now. Waits for an answer where none could be had.
    #[must_use]
    #[track_caller]
    pub fn counted(&self, limit: &str, key: &str) -> u64 {
        eventually("a peek is answered", || {
            let peek = self.check(limit, key, 0);
            let units = |name: &str| peek.json()[name].as_u64();
            match (peek.status, units("limit"), units("remaining")) {
                (200, Some(limit), Some(remaining)) => Ok(limit - remaining),
                _ => Err(format!("{peek:?}")),
            }
        })
    }

    /// The same of many, a batch at a time.
    #[must_use]
    #[track_caller]
    pub fn counts(&self, targets: &[Target]) -> Vec<u64> {
        let batches = targets.chunks(BATCH);
        batches
            .flat_map(|batch| eventually("peeks are answered", || self.peek(batch)))
            .collect()
    }

    fn peek(&self, targets: &[Target]) -> Result<Vec<u64>, String> {
        let peek =
            |Target { limit, key }: &Target| json!({ "limit": limit, "key": key, "cost": 0 });
        let checks: Vec<Value> = targets.iter().map(peek).collect();
        let body = json!({ "checks": checks }).to_string();
        let answer = self.ask("POST", "/v1/check/batch", &[], Some(&body));
        let results = answer.json()["results"].as_array().cloned();
        let results = results.unwrap_or_default().into_iter();
        let counted = |result: Value| {
            let units = |name: &str| result[name].as_u64();
            let counted = units("limit").zip(units("remaining"));
            counted
                .map(|(limit, remaining)| limit - remaining)
                .ok_or_else(|| result.to_string())
        };
        let counts: Vec<u64> = results.map(counted).collect::<Result<_, String>>()?;
        match counts.len() == targets.len() {
            true => Ok(counts),
            false => Err(format!("{answer:?}")),
        }
    }

    /// Waits until a replica has everything that this node has counted.
    pub fn replicated(&self) {
        eventually("everything counted is replicated", || {
            let cluster = self.get("/v1/cluster", &[]);
            match cluster.json()["replication_lag_ms"].as_f64() {
                Some(0.0) => Ok(()),
                lag => Err(format!("{lag:?} ms")),
            }
        });
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.child.kill().expect("killing a child");
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGSTOP, and waits until the kernel has stopped all of its threads.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.pid());
        eventually("a node is stopped", || {
            let stat = fs::read_to_string(&stat).map_err(|error| error.to_string())?;
            // The state follows the name, which is in parentheses.
            match stat.rsplit(')').next().map(str::trim_start) {
                Some(rest) if rest.starts_with('T') => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        self.process.ended()
    }

    /// Resident memory in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        memory_of(self.pid()).expect("it runs")
    }

    /// Time that processors have worked for it, in ticks of 10 ms.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        cpu_of(self.pid()).expect("it runs")
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }
}

impl Starting {
    /// Starts a node.
    ///
    /// # Panics
    ///
    /// If there is no program, or it cannot be started.
    #[must_use]
    pub fn launch(home: &Path, options: &Options) -> Self {
        let mut command = match &options.host {
            None => {
                let program = options.program.clone().map(OsString::from);
                let mut command = Command::new(program.unwrap_or_else(self::program));
                isolate(&mut command, home);
                command
            }
            Some((namespace, _)) => {
                // Replaces itself with what it starts, so that the child is the node.
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program());
                isolate(&mut command, home);
                command
            }
        };
        command.args(["node", "--name", &options.name, "--cookie", &options.cookie]);
        match &options.host {
            None => command.args(["--http", &format!("127.0.0.1:{}", options.http_port)]),
            Some((_, address)) => {
                let any = format!("{address}:0");
                command.args(["--http", &any, "--cluster", &any, "--insecure"])
            }
        };
        command.args(["--log", "text"]).args(&options.args);
        if let Some(off_by) = &options.clock {
            // As the command `faketime` does, which would start the node as a child.
            command
                .env("LD_PRELOAD", faketime_library())
                .env("FAKETIME", off_by)
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        Self::of(home, &options.name, command)
    }

    /// Starts a node by a command of the test's own. Its log is in `home`.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn of(home: &Path, name: &str, mut command: Command) -> Self {
        let (log, stderr) = new_log(home, name);
        command.stdout(Stdio::piped()).stderr(stderr);
        let mut child = rehearsal::Process::start(&mut command).expect("starting weir");
        let stdout = child.stdout().expect("stdout is piped");
        let process = Process {
            child,
            log,
            name: name.to_owned(),
        };
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            // An error reads as the end, which the process explains.
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = tell.send(line);
        });
        Self { told, process }
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Whether it has said nothing yet: neither that it is ready, nor by ending.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(self.told.try_recv(), Err(mpsc::TryRecvError::Empty))
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    ///
    /// If it ends before it is ready: how, and what it said on stderr.
    ///
    /// # Panics
    ///
    /// If it is not ready within the deadline, or its ready line is not as promised.
    pub fn ready(self) -> Result<Node, (ExitStatus, String)> {
        let Self { told, mut process } = self;
        let line = told
            .recv_timeout(DEADLINE)
            .unwrap_or_else(|_| panic!("{} was not ready within {DEADLINE:?}", process.name));
        if line.is_empty() {
            let status = process.child.wait().expect("waiting for weir");
            return Err((status, process.log()));
        }
        let ready: Ready = line.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(ready.name, process.name, "{line:?}");
        Ok(Node {
            name: ready.name,
            http: ready.http,
            redis: ready.redis,
            cluster: ready.cluster,
            grpc: ready.grpc,
            members: ready.members,
            process,
        })
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        self.process.ended()
    }
}

impl Process {
    fn signal(&self, signal: Signal) {
        self.child.signal(signal).expect("signalling a child");
    }

    fn ended(&mut self) -> ExitStatus {
        let name = self.name.clone();
        eventually(&format!("{name} ends"), || {
            let status = self.child.ended().expect("waiting for a child");
            status.ok_or_else(|| "it runs".to_owned())
        })
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(TAIL)..];
            eprintln!(
                "--- the end of the log of {}\n{}",
                self.name,
                tail.join("\n")
            );
        }
    }
}

/// Where Debian has it: below the folder of the machine's architecture.
fn faketime_library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("reading /usr/lib");
    let mut libraries = folders.filter_map(|folder| {
        let library = folder.ok()?.path().join("faketime/libfaketime.so.1");
        library.exists().then_some(library)
    });
    let library = libraries.next();
    library.expect("libfaketime, which `cargo xtask test end-to-end` installs")
}

/// A file of its own for the log of a node: others may have been started under this name before, or be starting now.
fn new_log(home: &Path, name: &str) -> (PathBuf, File) {
    for start in 0.. {
        let path = home.join(format!("{name}-{start}.log"));
        match File::create_new(&path) {
            Ok(file) => return (path, file),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => panic!("creating {}: {error}", path.display()),
        }
    }
    unreachable!("numbers do not end")
}
