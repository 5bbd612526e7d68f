//! A `redis-server` of the comparison's own.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rehearsal::{Process, free_address};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::process;

/// An empty one answers within milliseconds; a busy machine is no failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks whether it answers.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Ports tried: another process may take a free one first.
const TRIES: usize = 3;

/// The program is not there.
#[derive(Debug, thiserror::Error)]
#[error("redis-server is not installed; it comes with the package of that name")]
pub(crate) struct NotInstalled;

/// A server that keeps nothing on disk. Killed, and gone, when this is dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    port: u16,
    process: Process,
}

impl Redis {
    /// An empty one that answers.
    ///
    /// # Errors
    ///
    /// [`NotInstalled`], or what is wrong with it.
    pub(crate) async fn start(home: &Path) -> anyhow::Result<Self> {
        installed()?;
        for _ in 0..TRIES {
            let port = free_address().context("a port for redis")?.port();
            let process = spawn(port, home)?;
            let mut redis = Self { port, process };
            if redis.answers().await {
                return Ok(redis);
            }
        }
        bail!("redis-server does not answer")
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts it again where it was, empty, once it was killed.
    ///
    /// # Errors
    ///
    /// When there can be no process.
    pub(crate) fn start_again(&mut self, home: &Path) -> anyhow::Result<()> {
        self.process = spawn(self.port, home)?;
        Ok(())
    }

    /// Waits until it answers; `false` when it ended or does not.
    async fn answers(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && matches!(self.process.ended(), Ok(None)) {
            if matches!(timeout(PATIENCE, ping(self.port)).await, Ok(Ok(()))) {
                return true;
            }
            sleep(LOOK_EVERY).await;
        }
        false
    }
}

fn installed() -> anyhow::Result<()> {
    let asked = Command::new("redis-server")
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match asked {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("redis-server --version: {status}"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(NotInstalled.into()),
        Err(error) => Err(error).context("asking redis-server for its version"),
    }
}

fn spawn(port: u16, home: &Path) -> anyhow::Result<Process> {
    let (port, dir) = (port.to_string(), home.display().to_string());
    let mut args = vec!["--save", "", "--appendonly", "no"];
    args.extend(["--bind", "127.0.0.1", "--port", &port, "--dir", &dir]);
    process::other("redis-server", &args, home)
}

async fn ping(port: u16) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut pong = [0; 7];
    stream.read_exact(&mut pong).await?;
    match &pong {
        b"+PONG\r\n" => Ok(()),
        _ => Err(std::io::ErrorKind::InvalidData.into()),
    }
}
