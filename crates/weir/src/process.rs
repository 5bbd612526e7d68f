//! Processes of this very program, and others, that end with the one that started them.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStderr, ChildStdout, Command, Stdio};
use std::thread;

use anyhow::Context as _;
use rehearsal::{Process, Ready};
use serde_json::Value;

/// Set for a process that must not outlive the one that started it, which may be killed as well: the id of that one.
const ONLY_WITH: &str = "WEIR_PARENT_PID";

/// Lines kept of what a node logs, to be shown if it ends by itself.
const LAST_WORDS_MAX: usize = 8;

/// What a process lets its starter know.
#[derive(Debug)]
pub(crate) enum News {
    /// It serves.
    Ready { pid: u32, http: SocketAddr },
    /// It logged something worth showing.
    Said(String),
    /// It is no more. The last.
    Ended { last_words: Vec<String> },
}

/// Starts a node that meets nothing but the others that have the same `home`, and shares a cookie with them.
///
/// What it says is told on threads of their own, which may be held up: then the node is, too, once it says much.
///
/// # Errors
///
/// When there can be no process.
pub(crate) fn node(
    name: &str,
    home: &Path,
    config: &Path,
    tell: impl Fn(News) + Clone + Send + 'static,
) -> anyhow::Result<Process> {
    let mut command = this_program(home)?;
    command
        .args(["node", "--name", name, "--http", "127.0.0.1:0"])
        .args(["--log", "json", "--config"])
        .arg(config)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = Process::start(&mut command).with_context(|| format!("starting {name}"))?;
    let pid = process.id();
    let pipes = process.stdout().zip(process.stderr());
    let (stdout, stderr) = pipes.expect("both were asked for");
    thread::spawn(move || listen(pid, stdout, stderr, tell));
    Ok(process)
}

/// Starts another program, which has nothing to say. One that cannot be started ends at once.
///
/// # Errors
///
/// When there can be no process.
pub(crate) fn other(program: &str, args: &[&str], home: &Path) -> anyhow::Result<Process> {
    let mut command = this_program(home)?;
    command
        .args(["become", program])
        .args(args)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::start(&mut command).with_context(|| format!("starting {program}"))
}

/// This program, in surroundings where it meets nothing but what has the same `home`, and ends with this process.
fn this_program(home: &Path) -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .env(ONLY_WITH, std::process::id().to_string())
        .stdin(Stdio::null());
    Ok(command)
}

/// Turns this process into another program, which ends with the process that started this one. Returns only why that
/// cannot be.
///
/// What is asked of the kernel by [`end_with_the_starter`] outlasts the change, and only a process itself can ask.
pub(crate) fn become_other(program: &[String]) -> std::io::Error {
    end_with_the_starter();
    match program {
        [name, args @ ..] => Command::new(name).args(args).env_remove(ONLY_WITH).exec(),
        [] => std::io::ErrorKind::InvalidInput.into(),
    }
}

/// Has the kernel kill this process when the one that started it is no more, however that died. Nothing for a process
/// that a person started.
#[cfg(target_os = "linux")]
pub(crate) fn end_with_the_starter() {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};

    let Ok(starter) = std::env::var(ONLY_WITH) else {
        return;
    };
    let asked = set_parent_process_death_signal(Some(Signal::KILL));
    let orphaned = getppid().is_none_or(|parent| parent.as_raw_nonzero().to_string() != starter);
    if asked.is_ok() && orphaned {
        std::process::exit(1);
    }
}

/// Only Linux tells a process that its parent died.
#[cfg(not(target_os = "linux"))]
pub(crate) fn end_with_the_starter() {}

/// Reads what a node says until it ends.
fn listen(
    pid: u32,
    stdout: ChildStdout,
    stderr: ChildStderr,
    tell: impl Fn(News) + Clone + Send + 'static,
) {
    let logs = {
        let tell = tell.clone();
        thread::spawn(move || listen_to_logs(stderr, &tell))
    };
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if let Ok(Ready { http, .. }) = line.parse() {
            tell(News::Ready { pid, http });
        }
    }
    let last_words = logs.join().unwrap_or_default();
    tell(News::Ended { last_words });
}

fn listen_to_logs(stderr: ChildStderr, tell: &impl Fn(News)) -> Vec<String> {
    let mut last_words = VecDeque::new();
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let heard = Heard::read(&line);
        if heard.worth_showing {
            tell(News::Said(heard.text.clone()));
        }
        last_words.push_back(heard.text);
        if LAST_WORDS_MAX < last_words.len() {
            last_words.pop_front();
        }
    }
    last_words.into()
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
