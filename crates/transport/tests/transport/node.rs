//! A node of the tests: a transport, what it received and what happened to it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use delta_crdt::ReplicaId;
use supervisor::Supervisor;
use tokio::sync::mpsc;
use transport::cookie::Cookie;
use transport::handshake::{Hello, Refusal};
use transport::{Transport, TransportConfig, TransportEvent};

/// How long a test waits for what must happen. Long: it is waited for, not timed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A frame that panics whoever handles it.
pub(crate) const POISON: &[u8] = b"poison";

pub(crate) struct Node {
    pub(crate) transport: Transport,
    pub(crate) hello: Hello,
    pub(crate) events: mpsc::Receiver<TransportEvent>,
    pub(crate) frames: mpsc::UnboundedReceiver<(ReplicaId, Bytes)>,
}

impl Node {
    pub(crate) async fn start(name: &str, incarnation: u64) -> Self {
        Self::start_with(name, incarnation, "cookie").await
    }

    pub(crate) async fn start_with(name: &str, incarnation: u64, cookie: &str) -> Self {
        let transport = bind(cookie).await;
        let hello = hello(&transport, name, incarnation);
        Self::start_on(transport, hello)
    }

    pub(crate) fn start_on(transport: Transport, hello: Hello) -> Self {
        Self::start_admitting(transport, hello, |_| Ok(()))
    }

    pub(crate) fn start_admitting(
        transport: Transport,
        hello: Hello,
        admit: impl Fn(&Hello) -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> Self {
        let (sender, frames) = mpsc::unbounded_channel();
        let on_frame = Arc::new(move |from, frame: Bytes| {
            assert_ne!(&frame[..], POISON, "a frame that cannot be handled");
            let _ = sender.send((from, frame));
        });
        let events = transport.start(hello.clone(), Arc::new(admit), on_frame);
        Self {
            transport,
            hello,
            events,
            frames,
        }
    }

    pub(crate) fn replica(&self) -> ReplicaId {
        self.hello.replica
    }

    pub(crate) fn dial(&self, other: &Self) {
        self.transport.dial(&other.hello.cluster);
    }

    pub(crate) async fn event(&mut self) -> TransportEvent {
        soon(self.events.recv())
            .await
            .expect("the transport goes on")
    }

    /// Waits for an event that `pick` recognises, passing over others.
    pub(crate) async fn event_where<T>(
        &mut self,
        pick: impl Fn(&TransportEvent) -> Option<T>,
    ) -> T {
        soon(async {
            loop {
                if let Some(found) = pick(&self.event().await) {
                    return found;
                }
            }
        })
        .await
    }

    pub(crate) async fn connected_to(&mut self, other: &Self) {
        let replica = other.replica();
        self.event_where(|event| {
            matches!(event, TransportEvent::Connected { peer } if peer.replica == replica)
                .then_some(())
        })
        .await;
    }

    pub(crate) async fn frame(&mut self) -> (ReplicaId, Bytes) {
        soon(self.frames.recv())
            .await
            .expect("the transport goes on")
    }

    pub(crate) fn no_event(&mut self) -> bool {
        self.events.try_recv().is_err()
    }
}

pub(crate) async fn bind(cookie: &str) -> Transport {
    bind_below(&Supervisor::start(), cookie).await
}

pub(crate) async fn bind_below(supervisor: &Supervisor, cookie: &str) -> Transport {
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

/// Two nodes, connected by the first.
pub(crate) async fn pair() -> (Node, Node) {
    let (mut a, mut b) = (Node::start("anna", 1).await, Node::start("bert", 1).await);
    a.dial(&b);
    a.connected_to(&b).await;
    b.connected_to(&a).await;
    (a, b)
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

/// A node in a runtime of its own. Dropping it closes its sockets without a word, as death does.
pub(crate) struct Mortal {
    pub(crate) hello: Hello,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Mortal {
    pub(crate) async fn start(name: &str, incarnation: u64, dials: &Node) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let name = name.to_owned();
        let address = dials.hello.cluster.clone();
        let started = runtime.spawn(async move {
            let mut node = Node::start(&name, incarnation).await;
            node.transport.dial(&address);
            let _ = node.event().await;
            let hello = node.hello.clone();
            tokio::spawn(async move {
                let _keeps = node;
                std::future::pending::<()>().await;
            });
            hello
        });
        let hello = soon(started).await.unwrap();
        Self {
            hello,
            runtime: Some(runtime),
        }
    }

    pub(crate) fn kill(mut self) -> Hello {
        self.runtime.take().unwrap().shutdown_background();
        self.hello
    }
}
