//! How much memory this process may use: the machine's, or what its container is allowed.

use std::path::{Path, PathBuf};

/// Bytes that this process may use. `None` where the machine does not say: anywhere but on Linux.
pub(crate) fn memory() -> Option<u64> {
    memory_by(|path| std::fs::read_to_string(path).ok())
}

/// The same by the text of files, as far as there are such.
fn memory_by(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let machine = read(Path::new("/proc/meminfo")).and_then(|info| total_of(&info));
    let container = read(Path::new("/proc/self/cgroup"))
        .and_then(|groups| group_of(&groups))
        .and_then(|group| allowed_to(&group, &read));
    machine.into_iter().chain(container).min()
}

/// The `MemTotal` of `/proc/meminfo`, which counts in KiB.
fn total_of(info: &str) -> Option<u64> {
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// Where the process stands among the control groups of version 2, which is the line with the number 0.
fn group_of(groups: &str) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(path))
}

/// The least that the group or any group around it may use. `None`: as much as there is.
fn allowed_to(group: &Path, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = group
        .ancestors()
        .take_while(|around| around.starts_with("/sys/fs/cgroup"));
    // The outermost has no such file, and others may say "max".
    let limits = groups.filter_map(|around| read(&around.join("memory.max"))?.trim().parse().ok());
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory_of(files: &[(&str, &str)]) -> Option<u64> {
        memory_by(|path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path)?;
            Some(file.1.to_owned())
        })
    }

    const MEMINFO: (&str, &str) = (
        "/proc/meminfo",
        "MemTotal:       16303412 kB\nMemFree:         1234567 kB\n",
    );

    #[test]
    fn a_machine_has_what_it_has() {
        assert_eq!(memory_of(&[MEMINFO]), Some(16_303_412 * 1_024));
        let unlimited = [
            MEMINFO,
            ("/proc/self/cgroup", "0::/user.slice/a\n"),
            ("/sys/fs/cgroup/user.slice/a/memory.max", "max\n"),
        ];
        assert_eq!(memory_of(&unlimited), Some(16_303_412 * 1_024));
        assert_eq!(memory_of(&[]), None);
    }

    /// Inside of a container the process sees its own group as the outermost.
    #[test]
    fn a_container_has_the_least_that_any_group_around_it_may_use() {
        let container = [
            MEMINFO,
            ("/proc/self/cgroup", "0::/\n"),
            ("/sys/fs/cgroup/memory.max", "536870912\n"),
        ];
        assert_eq!(memory_of(&container), Some(536_870_912));
        let nested = [
            MEMINFO,
            ("/proc/self/cgroup", "1:name=systemd:/x\n0::/pods/p/c\n"),
            ("/sys/fs/cgroup/pods/memory.max", "1073741824\n"),
            ("/sys/fs/cgroup/pods/p/memory.max", "268435456\n"),
            ("/sys/fs/cgroup/pods/p/c/memory.max", "max\n"),
        ];
        assert_eq!(memory_of(&nested), Some(268_435_456));
    }

    #[test]
    fn more_than_the_machine_has_is_not_to_be_had() {
        let generous = [
            ("/proc/meminfo", "MemTotal: 1024 kB\n"),
            ("/proc/self/cgroup", "0::/a\n"),
            ("/sys/fs/cgroup/a/memory.max", "99999999999\n"),
        ];
        assert_eq!(memory_of(&generous), Some(1_048_576));
    }
}
