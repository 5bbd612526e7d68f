//! Redis servers for tests: real ones, each in a folder of its own, gone when the test ends.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to answer, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// A `redis-server` on a Unix socket, and on a port if its arguments say so.
pub(crate) struct Server {
    child: Child,
    dir: tempfile::TempDir,
    args: Vec<String>,
}

impl Server {
    /// An empty one that keeps nothing on disk.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further arguments.
    pub(crate) fn start_with(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let args: Vec<String> = args.iter().map(|&arg| arg.into()).collect();
        let child = spawn(&dir, &args);
        let server = Self { child, dir, args };
        server.wait_until_it_answers();
        server
    }

    /// The URL of its socket.
    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// Ends it as a crash would. Whatever it held is lost.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        let _ = fs::remove_file(self.socket());
        self.child = spawn(&self.dir, &self.args);
        self.wait_until_it_answers();
    }

    pub(crate) fn pause(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    pub(crate) fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Runs one command by `redis-cli` and tells what it printed.
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .arg("-s")
            .arg(self.socket())
            .args(args)
            .output()
            .expect("redis-cli comes with the package redis-tools");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// How many are connected to it, the one that finds out included.
    pub(crate) fn connections(&self) -> usize {
        self.cli(&["CLIENT", "LIST"]).lines().count()
    }

    fn wait_until_it_answers(&self) {
        wait_until("redis-server answers", || {
            let mut stream = UnixStream::connect(self.socket()).ok()?;
            stream.write_all(b"PING\r\n").ok()?;
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).ok()?;
            // Whether or not it wants a password.
            (&answer == b"+PONG" || &answer == b"-NOAU").then_some(())
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A stopped process, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &tempfile::TempDir, args: &[String]) -> Child {
    let port_given = args
        .iter()
        .any(|arg| arg == "--port" || arg == "--tls-port");
    let mut command = Command::new("redis-server");
    command.args(["--save", "", "--appendonly", "no"]);
    if !port_given {
        command.args(["--port", "0"]);
    }
    command
        .arg("--unixsocket")
        .arg(dir.path().join("s"))
        .arg("--dir")
        .arg(dir.path())
        .args(args)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server comes with the package redis-server")
}

/// An address that leads to one server now and to another one later, as a service's does. What is connected stays so.
pub(crate) struct Address {
    leads_to: Arc<Mutex<PathBuf>>,
    port: u16,
}

impl Address {
    pub(crate) async fn of(server: &Server) -> Self {
        let leads_to = Arc::new(Mutex::new(server.socket()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Arc::clone(&leads_to);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let socket = target.lock().unwrap().clone();
                tokio::spawn(async move {
                    let mut server = tokio::net::UnixStream::connect(socket).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self { leads_to, port }
    }

    pub(crate) fn lead_to(&self, server: &Server) {
        *self.leads_to.lock().unwrap() = server.socket();
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

/// A port that was free a moment ago. `redis-server` cannot be asked which it took, so that another process may be
/// faster: then the server ends at once, and the test fails.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits for `condition` to give something.
pub(crate) fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
