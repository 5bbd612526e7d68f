//! Links over a network that is narrow, breaks and refuses, played by a proxy on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use transport::{Lane, SendError, TransportEvent};

use crate::node::{Node, soon};

/// Bytes that each socket of the proxy holds: little, so that what waits waits at the sender.
const BUFFER: usize = 16 * 1024;

/// What a proxy does to the connections through it.
#[derive(Clone, Copy)]
struct Weather {
    /// Bytes a second, each way.
    rate: usize,
    /// Connections that are closed at once, before any is let through.
    refusals: usize,
    /// Bytes after which a connection is cut, either way.
    cut_after: usize,
}

const FAIR: Weather = Weather {
    rate: usize::MAX,
    refusals: 0,
    cut_after: usize::MAX,
};

struct Proxy {
    address: SocketAddr,
    /// Connections that came.
    came: Arc<AtomicUsize>,
}

impl Proxy {
    async fn start(to: SocketAddr, weather: Weather) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(BUFFER).unwrap();
        socket.set_send_buffer_size(BUFFER).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        socket.listen(16).unwrap();
        socket.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(socket.into()).unwrap();
        let address = listener.local_addr().unwrap();
        let came = Arc::new(AtomicUsize::new(0));
        let counted = came.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if weather.refusals <= counted.fetch_add(1, Ordering::Relaxed) {
                    tokio::spawn(carry(near, to, weather));
                }
            }
        });
        Self { address, came }
    }
}

async fn carry(near: TcpStream, to: SocketAddr, weather: Weather) {
    let far = TcpSocket::new_v4().unwrap();
    far.set_send_buffer_size(BUFFER as u32).unwrap();
    far.set_recv_buffer_size(BUFFER as u32).unwrap();
    let Ok(far) = far.connect(to).await else {
        return;
    };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    // When one way ends, both do: dropped, and with them the connection.
    tokio::select! {
        () = pass(near_in, far_out, weather) => {}
        () = pass(far_in, near_out, weather) => {}
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    weather: Weather,
) {
    let mut buffer = vec![0; 4 * 1024];
    let mut passed = 0;
    while passed < weather.cut_after {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        passed += read;
        if weather.rate != usize::MAX {
            tokio::time::sleep(Duration::from_secs(1) * read as u32 / weather.rate as u32).await;
        }
    }
}

/// Two nodes, the first connected to the second through a proxy.
async fn pair_through(weather: Weather) -> (Node, Node, Proxy) {
    let (mut a, mut b) = (Node::start("anna", 1).await, Node::start("bert", 1).await);
    let proxy = Proxy::start(b.transport.address(), weather).await;
    a.transport.dial(&proxy.address.to_string());
    a.connected_to(&b).await;
    b.connected_to(&a).await;
    (a, b, proxy)
}

/// A hit behind the copies of a join took 14 s to its owner. Not the time is looked at but how much passed it by.
#[tokio::test]
async fn a_hit_passes_the_copies_that_wait_for_a_narrow_link() {
    let narrow = Weather {
        rate: 4 * 1024 * 1024,
        ..FAIR
    };
    let (a, mut b, _proxy) = pair_through(narrow).await;
    let copy = Bytes::from(vec![7; 64 * 1024]);
    for _ in 0..64 {
        a.transport
            .send(b.replica(), Lane::Copies, copy.clone())
            .unwrap();
    }
    b.frame().await;
    a.transport
        .send(b.replica(), Lane::Bulk, Bytes::from_static(b"hit"))
        .unwrap();
    let mut before = 0;
    while &*b.frame().await.1 != b"hit" {
        before += 1;
    }
    // 128 KiB that the kernel holds unsent, what it has sent to the proxy's 16 KiB, and one frame being written.
    assert!(before < 16, "{before} of 64 copies came first");
    for _ in before..63 {
        assert_eq!(b.frame().await.1.len(), copy.len());
    }
}

#[tokio::test]
async fn a_link_that_is_reset_loses_frames_but_neither_their_order_nor_itself() {
    let breaks = Weather {
        cut_after: 40_000,
        ..FAIR
    };
    let (mut a, mut b, _proxy) = pair_through(breaks).await;
    let (mut sent, mut newest) = (0_u32, 0);
    let mut was_lost = false;
    let mut after_it = 0;
    soon(async {
        while after_it < 10 {
            sent += 1;
            let frame = [&sent.to_be_bytes()[..], &[0; 1_000]].concat();
            match a.transport.send(b.replica(), Lane::Bulk, frame.into()) {
                Ok(()) | Err(SendError::NotConnected) => {}
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            while let Ok(event) = a.events.try_recv() {
                was_lost |= matches!(event, TransportEvent::Disconnected { .. });
            }
            while let Ok((_, frame)) = b.frames.try_recv() {
                let number = u32::from_be_bytes(frame[..4].try_into().unwrap());
                assert!(newest < number, "{number} after {newest}");
                newest = number;
                after_it += u32::from(was_lost);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_refuses_at_first_is_met_when_it_no_longer_does() {
    let refuses = Weather {
        refusals: 4,
        ..FAIR
    };
    let (a, mut b, proxy) = pair_through(refuses).await;
    assert!(5 <= proxy.came.load(Ordering::Relaxed));
    a.transport
        .send(b.replica(), Lane::Bulk, Bytes::from_static(b"at last"))
        .unwrap();
    assert_eq!(&*b.frame().await.1, b"at last");
}
