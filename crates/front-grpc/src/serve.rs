//! The listener, and what becomes of its connections.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use limiter::Node;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::connections::{Connections, Seat};
use crate::dispatch::{Dispatch, OnConnection};
use crate::front::Front;

/// How long a client may take for its part of the TLS handshake. Three round trips around the world, and some.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection that was asked whether it lives may take to say so.
const ALIVE_WITHIN: Duration = Duration::from_secs(20);
/// Requests on one connection at a time: a proxy opens another beyond that. Together with the largest message it is what one
/// client can make this node hold.
const STREAMS_MAX: u32 = 256;
/// What a client may send of a message before it is read: the largest.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same for all messages of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Metadata of a request. Envoy sends some 500 bytes of it.
const HEADERS_MAX: u32 = 16 * 1024;
/// How long the listener rests when nothing more can be opened.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long those who wait for nothing may take to say goodbye, once the front stops: three round trips around the world. A
/// client that has said nothing yet never does.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);
/// How long those who have asked may take to be answered after that: longer than any decision takes, and 10 s in all.
const DRAIN_WITHIN: Duration = Duration::from_secs(9);

/// Serves the rate limit service, health and reflection on `listener` until `shutdown`, and then until everybody who asked
/// has been answered, 10 s at most. Who waits for nothing then, or has not said what it wants, is cut after 1 s.
///
/// HTTP/2, with TLS where the configuration has it. At most 5 120 connections, and together with the other listeners of the process what
/// it may open: at the bound, the one that has been idle for longest
/// makes room. A connection on which no request begins or is answered for 60 s is asked to end, and cut 10 s later.
pub fn serve<N: Node>(
    listener: TcpListener,
    front: Front<N>,
    shutdown: impl Future<Output = ()>,
) -> impl Future<Output = ()> {
    let served = Served {
        dispatch: Dispatch::new(&front),
        front,
    };
    accept(listener, served, shutdown)
}

async fn accept<N: Node>(
    listener: TcpListener,
    served: Served<N>,
    shutdown: impl Future<Output = ()>,
) {
    let mut connections = Connections::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => served.admit(&mut connections, stream, peer),
                Err(error) => recover(&mut connections, &error).await,
            },
            () = connections.changed() => {}
            () = &mut shutdown => break,
        }
    }
    // Who is in the queue of the listener has been told that the connection stands.
    while let Poll::Ready(Ok((stream, peer))) = accept_now(&listener).await {
        served.admit(&mut connections, stream, peer);
    }
    drop(listener);
    connections.begin_drain();
    if is_late(GOODBYE_WITHIN, &mut connections).await {
        connections.cut_all_idle();
        if is_late(DRAIN_WITHIN, &mut connections).await {
            tracing::warn!("cut off clients that had not taken their answers");
        }
    }
}

/// Whether somebody is still there after so long.
async fn is_late(within: Duration, connections: &mut Connections) -> bool {
    let closed = tokio::time::timeout(within, connections.closed());
    closed.await.is_err()
}

async fn accept_now(listener: &TcpListener) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
    poll_fn(|cx| Poll::Ready(listener.poll_accept(cx))).await
}

async fn recover(connections: &mut Connections, error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset};
    if matches!(error.kind(), ConnectionAborted | ConnectionReset) {
        // The client changed its mind.
        return;
    }
    connections.tell_refused(&error.to_string());
    connections.make_room();
    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
}

/// What all connections share.
struct Served<N> {
    dispatch: Dispatch<N>,
    front: Front<N>,
}

impl<N: Node> Served<N> {
    fn admit(&self, connections: &mut Connections, stream: TcpStream, peer: SocketAddr) {
        let Some((seat, place)) = connections.seat() else {
            connections.tell_refused("all are busy");
            return;
        };
        // Answers are small and complete: waiting to fill a packet would only delay them.
        let _ = stream.set_nodelay(true);
        let service = self.dispatch.on_connection(Arc::clone(&seat));
        let served = self.front.served.load();
        let (tls, keepalive) = (served.tls.clone(), served.keepalive);
        let mine = Arc::clone(&seat);
        connections.spawn((seat, place), async move {
            let Some(tls) = tls else {
                return drive(stream, service, &mine, keepalive).await;
            };
            let handshake = tls.acceptor().accept(stream);
            match tokio::time::timeout(HANDSHAKE_WITHIN, handshake).await {
                Ok(Ok(stream)) => drive(stream, service, &mine, keepalive).await,
                Ok(Err(error)) => tracing::debug!(%peer, %error, "refused a TLS handshake"),
                Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
            }
        });
    }
}

/// Answers the requests of one connection until it ends, or is told to.
async fn drive<N: Node>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: OnConnection<N>,
    seat: &Seat,
    keepalive: Option<Duration>,
) {
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(keepalive)
        .keep_alive_timeout(ALIVE_WITHIN)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let served: Result<(), hyper::Error> = tokio::select! {
        served = &mut connection => served,
        () = seat.told_to_leave() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended early");
    }
}
