//! What the kernel tells about this machine and about single processes.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rehearsal::cpu_of;
use rustix::time::{ClockId, clock_gettime};

/// How long to wait for others on this machine to be done.
const QUIET_WAIT: Duration = Duration::from_secs(180);

/// CPU time that the processes have used so far, user and system, all threads. Resolution: one tick, 10 ms.
pub(crate) fn cpu_time(pids: &[u32]) -> Result<Duration> {
    let times = pids.iter().map(|&pid| cpu_of(pid));
    let times: Option<Vec<Duration>> = times.collect();
    Ok(times
        .context("a process that is measured runs")?
        .iter()
        .sum())
}

/// CPU time that this thread has used so far.
pub(crate) fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Runnable processes, averaged over a minute.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or(f64::NAN)
}

/// Waits until little else runs, or not for ever.
pub(crate) fn wait_until_quiet() {
    let start = Instant::now();
    while 1.0 <= load() && start.elapsed() < QUIET_WAIT {
        thread::sleep(Duration::from_secs(5));
    }
}

/// The machine in one line.
pub(crate) fn describe() -> String {
    let read = |path: &str| fs::read_to_string(Path::new(path)).unwrap_or_default();
    let after = |text: &str, label: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(label))
            .unwrap_or_default();
        line.rsplit(':')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let model = after(&read("/proc/cpuinfo"), "model name");
    let memory_kib: u64 = after(&read("/proc/meminfo"), "MemTotal")
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or(0);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cores} cores ({model}), {} GiB, Linux {}",
        memory_kib >> 20,
        kernel.trim()
    )
}
