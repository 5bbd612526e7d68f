//! Accepts connections, bounds them, and drains them at the end.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::connections::{Connections, Idle};
use crate::seat::Seat;

/// Pause after the system refused to accept, most likely for want of file descriptors.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// How long idle connections are kept when draining: a request that is on its way is answered rather than cut off. A
/// quarter of a second covers a round trip around the world.
const LINGER: Duration = Duration::from_millis(250);
/// How long requests in flight may take to finish when draining. Decisions have shorter deadlines of their own.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// What holds for all connections of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// What becomes of a connection on which nothing happens.
    pub idle: Idle,
    /// Said to a connection that there is no room for, before it is closed.
    pub no_room: &'static [u8],
}

/// Serves whoever connects to `listener` until `shutdown`, and then until everybody who asked has been answered.
///
/// `speak` is called for each connection, with `TCP_NODELAY` set, and its future run on a task of its own until it ends
/// or is dropped. It says on its [`Seat`] what it is doing.
///
/// Connections are bounded by what the process may open for all its listeners, at most 20 000 here: at the bound, those that have been idle for
/// longest make room for new ones, so that idle ones never stop others.
///
/// After `shutdown` nobody is accepted any more, [`Seat::end_request`] says that an answer is the last, idle connections
/// end within 250 ms, and what has not been answered after ten seconds is cut off.
pub async fn serve<C: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    terms: Terms,
    mut speak: impl FnMut(TcpStream, SocketAddr, Arc<Seat>) -> C,
    shutdown: impl Future<Output = ()>,
) {
    let mut connections = Connections::new(terms.idle);
    let mut admit = |connections: &mut Connections, stream: TcpStream, peer| {
        let Some((seat, place)) = connections.seat() else {
            connections.tell_refused("all are busy");
            // Best effort: the kernel's buffer of a fresh connection has room for this.
            let _ = stream.try_write(terms.no_room);
            return;
        };
        // Answers are small and complete: waiting to fill a packet would only delay them.
        let _ = stream.set_nodelay(true);
        let connection = speak(stream, peer, Arc::clone(&seat));
        connections.spawn((seat, place), connection);
    };
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => admit(&mut connections, stream, peer),
                Err(error) => recover(&mut connections, &error).await,
            },
            () = connections.changed() => {}
            () = &mut shutdown => break,
        }
    }
    connections.begin_drain();
    // Who is in the queue of the listener has been told that the connection stands.
    while let Poll::Ready(Ok((stream, peer))) = accept_now(&listener).await {
        admit(&mut connections, stream, peer);
    }
    drop(listener);
    if tokio::time::timeout(LINGER, connections.closed())
        .await
        .is_err()
    {
        connections.close_idle();
        // What is cut off after this has been waiting for longer than any decision takes.
        let _ = tokio::time::timeout(DRAIN_WITHIN, connections.closed()).await;
    }
}

async fn accept_now(listener: &TcpListener) -> Poll<std::io::Result<(TcpStream, SocketAddr)>> {
    poll_fn(|cx| Poll::Ready(listener.poll_accept(cx))).await
}

async fn recover(connections: &mut Connections, error: &std::io::Error) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset};
    if matches!(error.kind(), ConnectionAborted | ConnectionReset) {
        // The client changed its mind.
        return;
    }
    connections.tell_refused(&error.to_string());
    connections.make_room();
    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
}
