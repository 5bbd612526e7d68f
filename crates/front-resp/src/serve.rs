//! The server: who may connect, and what all connections share.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use connections::{Idle, Memory, Terms};
use limiter::{Access, Limiter, Node};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};

use crate::connection;
use crate::exchange::Common;
use crate::session::Server;

/// What the front is told before it starts.
#[derive(Clone, Default, Debug)]
pub struct RespConfig {
    /// What clients must prove with `AUTH` or `HELLO` before anything else.
    pub access: Access,
}

/// What commands above 8 KiB and the replies to long pipelines may take together: 256 of them at a time.
const MEMORY_MAX: usize = 64 * 1024 * 1024;

const TERMS: Terms = Terms {
    // Clients keep connections in pools, and fail a call when one has gone.
    idle: Idle::Stays,
    no_room: b"-ERR max number of clients reached\r\n",
};

/// How long a connection may be silent before the kernel asks whether somebody is there: three questions, 20 s apart.
const SILENCE: Duration = Duration::from_secs(60);

/// Serves the Redis protocol on `listener` until `shutdown`, and then until everybody who asked has been answered.
///
/// Connections are bounded by what the process may open, at most 20 000: at the bound, those that have been idle for
/// longest make room. An idle connection stays otherwise; one whose client has vanished ends after two minutes.
///
/// After `shutdown` nobody is accepted any more, what has arrived is answered, and connections end.
pub async fn serve<N: Node>(
    listener: TcpListener,
    limiter: Limiter<N>,
    config: RespConfig,
    shutdown: impl Future<Output = ()>,
) {
    let common = Arc::new(Common {
        server: Server {
            limiter,
            access: config.access,
            clock: SystemTime::now,
        },
        memory: Memory::new(MEMORY_MAX),
    });
    let ids = AtomicU64::new(1);
    let speak = move |stream: TcpStream, _peer, seat| {
        let silence = TcpKeepalive::new()
            .with_time(SILENCE)
            .with_interval(Duration::from_secs(20))
            .with_retries(3);
        // Without it, a connection to a machine that is gone stays until its place is needed.
        let _ = SockRef::from(&stream).set_tcp_keepalive(&silence);
        connection::serve(stream, ids.fetch_add(1, Relaxed), seat, Arc::clone(&common))
    };
    connections::serve(listener, TERMS, speak, shutdown).await;
}

#[cfg(test)]
mod tests;
