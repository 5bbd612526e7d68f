//! A node that was stopped has left nothing behind.

use std::fs;

use super::{MINUTE, builder, until};

/// What a process holds that a node might forget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Held {
    tasks: usize,
    sockets: usize,
    threads: usize,
}

impl Held {
    fn now() -> Self {
        let links = fs::read_dir("/proc/self/fd").unwrap();
        let sockets = links.filter(|link| {
            let target = link
                .as_ref()
                .ok()
                .and_then(|link| fs::read_link(link.path()).ok());
            target.is_some_and(|target| target.to_string_lossy().starts_with("socket:"))
        });
        Self {
            tasks: tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks(),
            sockets: sockets.count(),
            threads: fs::read_dir("/proc/self/task").unwrap().count(),
        }
    }

    /// Whether there is no more of anything than there was.
    fn is_within(self, before: Self) -> bool {
        self.tasks <= before.tasks
            && self.sockets <= before.sockets
            && self.threads <= before.threads
    }
}

/// Starts and stops so many clusters of two, and asks each once.
async fn clusters(of: std::ops::Range<usize>, neighbours: &std::path::Path) {
    for number in of {
        let cookie = format!("cluster {number}");
        let http = "127.0.0.1:0".parse().unwrap();
        let one = builder("one", &cookie).http(http).neighbours(neighbours);
        let one = one.start().await.unwrap();
        let other = builder("other", &cookie).neighbours(neighbours);
        let other = other.start().await.unwrap();
        until("both", async || one.members() == 2 && other.members() == 2).await;
        assert!(one.allow("x", MINUTE).await.unwrap().is_ok());
        assert!(other.allow("x", MINUTE).await.unwrap().is_err());
        one.stop().await;
        other.stop().await;
    }
}

/// Runs in a process of its own, as nextest has it; elsewhere the tasks of other tests have runtimes of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_nodes_leave_no_task_socket_thread_or_file() {
    let home = tempfile::tempdir().unwrap();
    // The first may make what the process keeps: threads that look names up, the sockets of signals.
    clusters(0..1, home.path()).await;
    let before = Held::now();
    clusters(1..26, home.path()).await;
    let mut held = Held::now();
    until("nothing more than before", async || {
        held = Held::now();
        held.is_within(before)
    })
    .await;
    let directories = fs::read_dir(home.path()).unwrap();
    let files = directories.flat_map(|directory| fs::read_dir(directory.unwrap().path()).unwrap());
    let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    assert!(files.is_empty(), "{files:?}");
}
