//! Processes: started, signalled by their ids, and gone with the value that stands for them.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A process. When this is dropped it is killed, with the workers that it forked, and gone.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts what `command` says.
    ///
    /// # Errors
    ///
    /// When there can be no process.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        Ok(Self {
            child: command.spawn()?,
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it says, where that was asked for, and nobody has taken it.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The same of its errors.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        kill_process(Pid::from_child(&self.child), signal)?;
        Ok(())
    }

    /// `kill -9`; returns when the process is no more.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_status| ())
    }

    /// How it ended, if it has by itself.
    ///
    /// # Errors
    ///
    /// When the kernel does not say.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    ///
    /// When the kernel does not say.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has been reaped has no id any more: another process may have it.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // A master that is killed leaves its workers behind.
        for id in family(self.id()) {
            if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
                let _gone = kill_process(id, Signal::KILL);
            }
        }
        let _status = self.child.wait();
    }
}

/// A process and its children.
#[must_use]
pub fn family(id: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace();
    let children = children.filter_map(|child| child.parse().ok());
    [id].into_iter().chain(children).collect()
}

/// Time that processors have worked for a process, all its threads, where the system tells it: in ticks of 10 ms.
#[must_use]
pub fn cpu_of(id: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    cpu(&stat, rustix::param::clock_ticks_per_second())
}

/// Memory of a process that is in RAM, in bytes, where the system tells it.
#[must_use]
pub fn memory_of(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let mut lines = status.lines();
    let kib = lines.find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))?;
    Some(kib.parse::<u64>().ok()? * 1_024)
}

/// Whether a process still runs. One that has ended and waits for its parent does not.
#[must_use]
pub fn runs(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"));
    stat.is_ok_and(|stat| state(&stat).is_some_and(|state| state != 'Z'))
}

/// An address for a program that cannot tell which port it took: one that was free just now.
///
/// # Errors
///
/// When there is none.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The fields of a line of `/proc/ID/stat` after the second, which is a name in parentheses and may contain anything.
fn fields(stat: &str) -> Option<std::str::SplitWhitespace<'_>> {
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace())
}

/// User and system time: the fields 14 and 15, in ticks.
fn cpu(stat: &str, ticks_a_second: u64) -> Option<Duration> {
    let mut fields = fields(stat)?.skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(Duration::from_secs_f64(
        ticks as f64 / ticks_a_second as f64,
    ))
}

fn state(stat: &str) -> Option<char> {
    fields(stat)?.next()?.chars().next()
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;
    use crate::until;

    const STAT: &str = "7 (we (ir) x) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 9 9 20 0 3 0 1";

    #[test]
    fn processor_time_and_state_are_those_of_the_process_whatever_it_is_called() {
        assert_eq!(cpu(STAT, 100), Some(Duration::from_secs(2)));
        assert_eq!(state(STAT), Some('S'));
        assert_eq!((cpu("", 100), state("")), (None, None));
    }

    #[test]
    fn this_process_runs_and_takes_memory() {
        let id = std::process::id();
        assert!(runs(id) && memory_of(id).is_some_and(|bytes| 0 < bytes));
        assert!(cpu_of(id).is_some());
        assert_eq!(family(id)[0], id);
    }

    #[test]
    fn a_process_goes_with_its_value_and_its_workers_with_it() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 1000 & wait"]).stdin(Stdio::null());
        let process = Process::start(&mut shell).unwrap();
        let ids = until(Duration::from_secs(60), "the shell has a child", || {
            let ids = family(process.id());
            if ids.len() < 2 {
                Err(format!("{ids:?}"))
            } else {
                Ok(ids)
            }
        });
        let ids = ids.unwrap();
        drop(process);
        until(Duration::from_secs(60), "both are gone", || {
            let left: Vec<_> = ids.iter().filter(|&&id| runs(id)).collect();
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        })
        .unwrap();
    }

    #[test]
    fn a_process_that_ended_says_how() {
        let mut process = Process::start(Command::new("sh").args(["-c", "exit 3"])).unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(3));
        assert_eq!(process.ended().unwrap().unwrap().code(), Some(3));
        assert!(!runs(process.id()));
    }
}
