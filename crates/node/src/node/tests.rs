//! What becomes of a node in which something panics.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::{Counted, Remote};

use tokio::sync::Notify;

use super::*;

/// `running`, which panics when it is told to.
pub(super) async fn may_panic(running: impl Future<Output = ()>, told: Arc<Notify>) {
    tokio::select! {
        () = running => {}
        () = told.notified() => panic!("on purpose"),
    }
}

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

const MINUTE: Duration = Duration::from_secs(60);

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Whether one hit in a minute passes, asked over HTTP.
async fn is_allowed(http: SocketAddr) -> bool {
    let remote = Remote::new([format!("http://{http}")]).unwrap();
    remote.allow("x", MINUTE).await.unwrap().is_ok()
}

fn tasks() -> usize {
    let runtime = tokio::runtime::Handle::current();
    runtime.metrics().num_alive_tasks()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let seen = tokio::time::timeout(PATIENCE, wait).await;
    seen.unwrap_or_else(|_| panic!("not seen: {what}"));
}

/// Connects again and again until nobody holds `told` any more, and says how often.
fn connect_again_and_again(
    at: SocketAddr,
    told: std::sync::mpsc::Receiver<()>,
) -> std::io::Result<usize> {
    use std::sync::mpsc::TryRecvError;
    let mut connected = 0;
    while told.try_recv() != Err(TryRecvError::Disconnected) {
        drop(std::net::TcpStream::connect(at)?);
        connected += 1;
    }
    Ok(connected)
}

/// Its port once closed with a panic, without a line or a number; `weir node` then ended without having handed off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_panics_begins_anew_on_its_socket() {
    let before = tasks();
    let node = Node::builder().name("anna").cookie("panics").http(ANY);
    let node = node.redis(ANY).grpc(ANY).start().await.unwrap();
    let http = node.http().unwrap();
    assert!(is_allowed(http).await);

    let (told, is_told) = std::sync::mpsc::channel();
    let connecting = tokio::task::spawn_blocking(move || connect_again_and_again(http, is_told));
    // At once the first time, and after a pause from then on.
    for _ in 0..3 {
        node.inner.supervisor.panic("front-http").await;
    }
    node.inner.supervisor.panic("front-resp").await;
    node.inner.supervisor.panic("front-grpc").await;
    drop(told);
    let connected = connecting.await.unwrap();
    assert!(connected.is_ok_and(|connected| 0 < connected));

    assert!(!is_allowed(http).await);
    let restarts = node.metrics();
    for line in ["front-http\"} 3", "front-resp\"} 1", "front-grpc\"} 1"] {
        let line = format!("weir_task_restarts_total{{task=\"{line}");
        assert!(restarts.contains(&line), "{line} in {restarts}");
    }
    for address in [node.redis(), node.grpc()] {
        assert!(std::net::TcpStream::connect(address.unwrap()).is_ok());
    }

    let addresses = [node.http(), node.redis(), node.grpc()];
    node.stop().await;
    for address in addresses {
        assert!(std::net::TcpStream::connect(address.unwrap()).is_err());
    }
    drop(node);
    until("no task more than before", || tasks() <= before).await;
}

/// Whoever waited for it was told that it had stopped, while its cluster went on without anybody to stop it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_own_task_panics_says_so_and_leaves_nothing() {
    let before = tasks();
    let node = Node::builder().name("anna").cookie("panics").http(ANY);
    let node = node.start().await.unwrap();
    assert!(node.allow("x", MINUTE).await.unwrap().is_ok());
    node.inner.panic.notify_one();
    let failed = tokio::time::timeout(PATIENCE, node.failed());
    assert_eq!(failed.await.unwrap(), Failure::Panicked);
    let asked = node.allow("x", MINUTE).await;
    assert_eq!(asked.unwrap_err().counted(), Counted::No);
    tokio::time::timeout(PATIENCE, node.stop()).await.unwrap();
    assert_eq!(node.failed().await, Failure::Panicked);
    assert!(node.joined().await.is_err());
    for address in [node.http().unwrap(), node.cluster()] {
        assert!(std::net::TcpStream::connect(address).is_err());
    }
    until("no task more than before", || tasks() <= before).await;
}

/// Samples of histograms once piled up until somebody asked for `/metrics`, where nobody does.
#[tokio::test(start_paused = true)]
async fn the_metrics_of_a_node_are_kept_up() {
    let calls = Arc::new(AtomicUsize::new(0));
    let called = Arc::clone(&calls);
    let metrics = Metrics::new(metrics::NoopRecorder, String::new);
    let metrics = metrics.with_upkeep(move || {
        called.fetch_add(1, Ordering::Relaxed);
    });
    let mut tasks = Tasks::start(metrics);
    until("two rounds", || 2 <= calls.load(Ordering::Relaxed)).await;
    tasks.supervisor().panic("metrics-upkeep").await;
    until("another", || 3 <= calls.load(Ordering::Relaxed)).await;
    tasks.stop().await;
}
