//! What the kernel tells about this machine and about single processes.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

/// How long to wait for others on this machine to be done.
const QUIET_WAIT: Duration = Duration::from_secs(180);

/// CPU time that the processes have used so far, user and system, all threads. Resolution: one tick, 10 ms.
pub(crate) fn cpu_time(pids: &[u32]) -> Result<Duration> {
    let mut ticks = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/stat");
        let stat = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        // The name of the program, in parentheses, may contain anything.
        let (_, fields) = stat.rsplit_once(')').context("a stat line has a name")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        ticks += fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    }
    Ok(Duration::from_secs_f64(
        ticks as f64 / clock_ticks_per_second() as f64,
    ))
}

/// CPU time that this thread has used so far.
pub(crate) fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// The process and its children, for servers that fork workers.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let children =
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children
        .split_whitespace()
        .filter_map(|child| child.parse().ok());
    [pid].into_iter().chain(children).collect()
}

/// Memory of a process that is in RAM, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .context("reading the status of a process")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("a process has an RSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1_024)
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
