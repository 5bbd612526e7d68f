//! The demo's nodes: real processes of this very program.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread;

use anyhow::Context as _;
use serde_json::Value;
use tokio::sync::mpsc::Sender;

use super::story::{Event, NAMES};

/// Set for a node that must not outlive the demo, which may be killed as well: the process id of the demo.
const ONLY_WITH: &str = "WEIR_DEMO_PID";

/// Lines kept of what a node logs, to be shown if it ends by itself.
const LAST_WORDS_MAX: usize = 8;

/// A node's process. Killed, and gone, when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a node that meets nothing but the others that have the same `home`, and shares a cookie with them.
    ///
    /// What it says arrives as events; the last is [`Event::Ended`].
    ///
    /// # Errors
    ///
    /// When there can be no process.
    pub(crate) fn start(
        node: usize,
        run: u32,
        home: &Path,
        events: &Sender<Event>,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(program)
            .args([
                "node",
                "--name",
                NAMES[node],
                "--http",
                "127.0.0.1:0",
                "--log",
                "json",
            ])
            .arg("--config")
            .arg(home.join("replicated.toml"))
            .env_clear()
            .env("HOME", home)
            .env("XDG_RUNTIME_DIR", home)
            .env(ONLY_WITH, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", NAMES[node]))?;
        let pid = child.id();
        let pipes = child.stdout.take().zip(child.stderr.take());
        let (stdout, stderr) = pipes.expect("both were asked for");
        let events = events.clone();
        thread::spawn(move || listen(node, run, pid, stdout, stderr, &events));
        Ok(Self { child })
    }

    /// `kill -9`; returns when the process is no more.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(crate) fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_status| ())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.kill();
    }
}

/// Has the kernel kill this process when the demo that started it is no more, however that died. Nothing for a node
/// that no demo started.
#[cfg(target_os = "linux")]
pub(crate) fn end_with_the_demo() {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};

    let Ok(demo) = std::env::var(ONLY_WITH) else {
        return;
    };
    let asked = set_parent_process_death_signal(Some(Signal::KILL));
    let orphaned = getppid().is_none_or(|parent| parent.as_raw_nonzero().to_string() != demo);
    if asked.is_ok() && orphaned {
        std::process::exit(1);
    }
}

/// Only Linux tells a process that its parent died.
#[cfg(not(target_os = "linux"))]
pub(crate) fn end_with_the_demo() {}

/// Reads what a process says until it ends. A driver that has gone no longer listens, and that is fine.
fn listen(
    node: usize,
    run: u32,
    pid: u32,
    stdout: ChildStdout,
    stderr: ChildStderr,
    events: &Sender<Event>,
) {
    let logs = {
        let events = events.clone();
        thread::spawn(move || listen_to_logs(node, stderr, &events))
    };
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if let Some(http) = ready(&line) {
            let _ = events.blocking_send(Event::Ready {
                node,
                run,
                pid,
                http,
            });
        }
    }
    let last_words = logs.join().unwrap_or_default();
    let _ = events.blocking_send(Event::Ended {
        node,
        run,
        last_words,
    });
}

fn listen_to_logs(node: usize, stderr: ChildStderr, events: &Sender<Event>) -> Vec<String> {
    let mut last_words = VecDeque::new();
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let heard = Heard::read(&line);
        if heard.worth_showing {
            let _ = events.blocking_send(Event::Said {
                node,
                text: heard.text.clone(),
            });
        }
        last_words.push_back(heard.text);
        if LAST_WORDS_MAX < last_words.len() {
            last_words.pop_front();
        }
    }
    last_words.into()
}

/// Where the node serves, if this is the line that says so.
fn ready(line: &str) -> Option<SocketAddr> {
    let mut words = line.split_whitespace();
    let is_it = words.next() == Some("weir") && words.nth(1) == Some("ready");
    let http = words.find_map(|word| word.strip_prefix("http="));
    http.filter(|_| is_it)?.parse().ok()
}

/// A line of a node's log.
#[derive(PartialEq, Eq, Debug)]
struct Heard {
    text: String,
    /// Warnings and worse, and what changes the cluster.
    worth_showing: bool,
}

impl Heard {
    fn read(line: &str) -> Self {
        let Ok(Value::Object(event)) = serde_json::from_str(line) else {
            return Self {
                text: line.to_owned(),
                worth_showing: true,
            };
        };
        let message = event.get("message").and_then(Value::as_str).unwrap_or(line);
        let level = event.get("level").and_then(Value::as_str);
        let mut text = message.to_owned();
        for (name, value) in &event {
            if !["message", "level", "timestamp", "target", "view"].contains(&name.as_str()) {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                text.push_str(&format!(" {name}={value}"));
            }
        }
        Self {
            text,
            worth_showing: message == "view changed" || matches!(level, Some("WARN" | "ERROR")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_tells_where_http_is() {
        let line = "weir ada ready http=127.0.0.1:4000 cluster=127.0.0.1:5000 members=1";
        assert_eq!(ready(line), Some("127.0.0.1:4000".parse().unwrap()));
        assert_eq!(ready("weir ada steady http=127.0.0.1:4000"), None);
        assert_eq!(ready(""), None);
    }

    #[test]
    fn warnings_and_views_are_worth_showing() {
        let heard = |line| Heard::read(line);
        let view = heard(
            r#"{"timestamp":"t","level":"INFO","message":"view changed","view":"9f3c","members":2,"target":"x"}"#,
        );
        assert_eq!(
            (view.text.as_str(), view.worth_showing),
            ("view changed members=2", true)
        );
        let peer = heard(r#"{"level":"INFO","message":"peer connected","node":"ben"}"#);
        assert_eq!(
            (peer.text.as_str(), peer.worth_showing),
            ("peer connected node=ben", false)
        );
        assert!(heard(r#"{"level":"WARN","message":"slow"}"#).worth_showing);
        assert!(heard("weir: the cookie: reading").worth_showing);
    }
}
