//! Processes of this very program, and others, that end with the one that started them.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
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

/// A process. Killed, and gone, when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
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
    ) -> anyhow::Result<Self> {
        let mut child = this_program(home)?
            .args(["node", "--name", name, "--http", "127.0.0.1:0"])
            .args(["--log", "json", "--config"])
            .arg(config)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let pid = child.id();
        let pipes = child.stdout.take().zip(child.stderr.take());
        let (stdout, stderr) = pipes.expect("both were asked for");
        thread::spawn(move || listen(pid, stdout, stderr, tell));
        Ok(Self { child })
    }

    /// Starts another program, which has nothing to say. One that cannot be started ends at once.
    ///
    /// # Errors
    ///
    /// When there can be no process.
    pub(crate) fn other(program: &str, args: &[&str], home: &Path) -> anyhow::Result<Self> {
        let child = this_program(home)?
            .args(["become", program])
            .args(args)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        Ok(Self { child })
    }

    /// Time that processors have worked for it, where the system tells it.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        cpu(&stat, rustix::param::clock_ticks_per_second())
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
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
        if let Some(http) = ready(&line) {
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

/// User and system time in a line of `/proc/PID/stat`: its fields 14 and 15, in ticks.
fn cpu(stat: &str, ticks_a_second: u64) -> Option<Duration> {
    // The second field, in parentheses, may contain anything.
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(Duration::from_secs_f64(
        ticks as f64 / ticks_a_second as f64,
    ))
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
    fn processor_time_is_that_of_the_process_whatever_it_is_called() {
        let stat = "7 (we (ir) x) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 9 9 20 0 3 0 1";
        assert_eq!(cpu(stat, 100), Some(Duration::from_secs(2)));
        assert_eq!(cpu("", 100), None);
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
