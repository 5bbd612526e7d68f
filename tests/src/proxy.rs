//! A proxy of somebody else's in front of an application, configured as a file of `demo/` has it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rehearsal::{Client, Process, Response};
use rustix::process::Signal;

use crate::wait::eventually;

/// A program beside Weir. Told to end, and waited for, when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    process: Process,
}

impl Proxy {
    /// Starts `command` and waits until it listens on `address`.
    ///
    /// # Panics
    ///
    /// If it cannot be started, or does not listen in time.
    #[must_use]
    pub fn start(mut command: Command, address: &str) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = Process::start(&mut command)
            .unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
        let address = address.parse().expect("an address");
        let mut proxy = Self { address, process };
        eventually("the proxy listens", || {
            if let Some(status) = proxy.process.ended().expect("asking for a child") {
                panic!("the proxy ended: {status}");
            }
            TcpStream::connect(address)
                .map(drop)
                .map_err(|error| error.to_string())
        });
        proxy
    }

    /// One `GET` on a connection of its own.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    #[track_caller]
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut headers = headers.to_vec();
        headers.push(("Connection", "close"));
        Client::connect(self.address)
            .and_then(|mut client| client.request("GET", path, &headers, None))
            .unwrap_or_else(|error| panic!("GET {path} through the proxy: {error}"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Not killed: nginx would leave its workers behind.
        let _gone = self.process.signal(Signal::TERM);
        let _gone = self.process.wait();
    }
}

/// What stands behind a proxy: answers everything with 200 and `app`, and notes the targets.
#[derive(Debug)]
pub struct App {
    seen: Arc<Mutex<Vec<String>>>,
}

impl App {
    /// Listens on `address` until the process ends.
    ///
    /// # Panics
    ///
    /// If the port is taken.
    #[must_use]
    pub fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that leaves in the middle is its own affair.
                let _left = answer(stream, &noted);
            }
        });
        Self { seen }
    }

    /// The targets that were asked for so far.
    ///
    /// # Panics
    ///
    /// If a thread panicked while it noted one.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("noting does not panic").clone()
    }
}

fn answer(stream: TcpStream, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    while !line.trim().is_empty() {
        line.clear();
        stream.read_line(&mut line)?;
    }
    seen.lock().expect("noting does not panic").push(target);
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\napp";
    stream.get_mut().write_all(answer.as_bytes())
}

/// The folder `demo/`.
#[must_use]
pub fn demo() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("a workspace").join("demo")
}

/// A program that `cargo xtask test` installs from PyPI, below the folder that cargo builds in.
///
/// # Panics
///
/// If it is not there.
#[must_use]
pub fn python_program(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| demo().with_file_name("target"), PathBuf::from);
    let program = target.join("python").join("bin").join(name);
    assert!(
        program.is_file(),
        "{} is missing: `cargo xtask test end-to-end` installs it",
        program.display()
    );
    program
}
