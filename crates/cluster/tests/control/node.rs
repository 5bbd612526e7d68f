//! A node of the tests: a transport and what happened to it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use delta_crdt::ReplicaId;
use supervisor::Supervisor;
use tokio::sync::mpsc;
use transport::cookie::Cookie;
use transport::handshake::Hello;
use transport::{Transport, TransportConfig, TransportEvent};

/// How long a test waits for what must happen. Long: it is waited for, not timed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub(crate) transport: Transport,
    pub(crate) hello: Hello,
    /// Kept, for a transport whose events nobody can take tells its peers nothing.
    _events: mpsc::Receiver<TransportEvent>,
}

impl Node {
    pub(crate) fn start_on(transport: Transport, hello: Hello) -> Self {
        let events = transport.start(
            hello.clone(),
            Arc::new(|_: &Hello| Ok(())),
            Arc::new(|_, _| ()),
        );
        Self {
            transport,
            hello,
            _events: events,
        }
    }

    pub(crate) fn dial(&self, other: &Self) {
        self.transport.dial(&other.hello.cluster);
    }
}

pub(crate) async fn bind(cookie: &str, supervisor: &Supervisor) -> Transport {
    let config = TransportConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        advertise: None,
        cookie: Cookie::new(cookie),
    };
    Transport::bind(config, supervisor).await.unwrap()
}

pub(crate) fn hello(transport: &Transport, name: &str, incarnation: u64) -> Hello {
    let replica = name.bytes().fold(incarnation as u32, |sum, byte| {
        sum.wrapping_mul(131) + u32::from(byte)
    });
    Hello {
        name: name.to_owned(),
        incarnation,
        replica: ReplicaId(replica),
        cluster: transport.advertised().to_owned(),
        http: "127.0.0.1:4000".to_owned(),
        zone: None,
        asks: false,
    }
}

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("this happens soon")
}

/// Waits until `condition` holds.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    soon(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}
