//! One connection from proof to end: a task that reads frames, a task that writes them.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt as _;
use metrics::{Counter, Gauge};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::link::{Batch, Connection, Link, Turn};
use super::{FRAME_MAX, Inner};
use crate::handshake::{HandshakeError, Proven};

/// What one read can take. Sixty-four frames of a kilobyte, or the kernel's answer to one wake-up.
const READ_BUFFER: usize = 64 * 1024;

/// Below this much room a read gets a fresh buffer: shorter reads would cost a system call for little.
const READ_ROOM_MIN: usize = 4 * 1024;

/// Bytes left unacknowledged for this long end the connection.
///
/// Heartbeats find a silent peer after 350 ms; this only frees the socket, and must not cut a connection
/// that recovers from one lost packet (retransmitted after 200, 600 and 1 400 ms).
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(3);

/// An idle connection is probed this often, and ended after [`UNACKNOWLEDGED_MAX`] without an answer.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(1);

/// Bytes that the kernel holds unsent. What it holds no urgent frame can overtake: 128 KiB are 1 ms at
/// 1 Gbit/s, and enough to keep the link busy until the writer is scheduled again.
const UNSENT_MAX: u32 = 128 * 1024;

/// How long a finished connection waits for the other end to finish, too.
const FINISH_PATIENCE: Duration = Duration::from_secs(1);

/// Counters of the data plane, looked up once: a lookup by name costs more than a small frame.
pub(super) struct Traffic {
    pub(super) links: Gauge,
    pub(super) full: Counter,
    panics: Counter,
    sent_bytes: Counter,
    sent_frames: Counter,
    received_bytes: Counter,
    received_frames: Counter,
    pub(super) evicted_handshakes: Counter,
    /// By outcome.
    handshakes: Vec<(&'static str, Counter)>,
}

/// The outcome of a handshake that came to something, in metrics.
pub(super) const PROVEN: &str = "proven";

impl Traffic {
    pub(super) fn new() -> Self {
        Self {
            links: metrics::gauge!("weir_transport_links"),
            full: metrics::counter!("weir_transport_queue_full_total"),
            panics: metrics::counter!("weir_transport_panics_total"),
            sent_bytes: metrics::counter!("weir_transport_sent_bytes_total"),
            sent_frames: metrics::counter!("weir_transport_sent_frames_total"),
            received_bytes: metrics::counter!("weir_transport_received_bytes_total"),
            received_frames: metrics::counter!("weir_transport_received_frames_total"),
            evicted_handshakes: metrics::counter!("weir_handshakes_evicted_total"),
            handshakes: [PROVEN]
                .into_iter()
                .chain(HandshakeError::LABELS)
                .map(|label| {
                    let counter = metrics::counter!("weir_handshakes_total", "outcome" => label);
                    (label, counter)
                })
                .collect(),
        }
    }

    /// Counts a handshake that another node began.
    pub(super) fn shook_hands(&self, outcome: &str) {
        let counter = self.handshakes.iter().find(|(label, _)| *label == outcome);
        if let Some((_, counter)) = counter {
            counter.increment(1);
        }
    }
}

/// Makes a fresh socket fit for either plane.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let retries = (UNACKNOWLEDGED_MAX.as_secs() / KEEPALIVE_EVERY.as_secs()) as u32;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_EVERY)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(retries);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
        socket.set_tcp_notsent_lowat(UNSENT_MAX)?;
    }
    Ok(())
}

/// Carries frames over a proven connection until it ends. False: it was not taken, another has overtaken it.
pub(super) async fn carry(
    inner: Arc<Inner>,
    stream: TcpStream,
    proven: Proven,
    dialled_here: bool,
) -> bool {
    let Some((link, connection)) = inner.register(&proven, dialled_here).await else {
        tracing::debug!(node = %proven.peer.name, "connection overtaken by another, closing it");
        return false;
    };
    let (mut reader, writer) = stream.into_split();
    let mut buffer = BytesMut::with_capacity(READ_BUFFER);
    let mut writing = tokio::spawn(write_frames(
        inner.clone(),
        link.clone(),
        connection.clone(),
        writer,
    ));
    let carrying = async {
        tokio::select! {
            end = read_frames(&inner, &link, &mut reader, &mut buffer) => end,
            () = connection.cut.notified() => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut by this node")),
            // A writer that fails tells why; one that finished leaves the peer to finish, too.
            written = &mut writing => match written {
                Ok(Ok(())) => tokio::time::timeout(FINISH_PATIENCE, read_frames(&inner, &link, &mut reader, &mut buffer))
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
                Ok(Err(error)) => Err(error),
                Err(panic) => Err(io::Error::other(panic)),
            },
        }
    };
    // A connection that nobody reads would look alive for ever, and be redialled never: with the next one the link begins
    // afresh. What a handler had locked is poisoned, and looked after by whoever locks it next.
    let carried = AssertUnwindSafe(carrying).catch_unwind().await;
    let end = carried.unwrap_or_else(|_| {
        inner.traffic.panics.increment(1);
        tracing::error!(node = %link.peer.name, "carrying frames panicked, closing the connection");
        Err(io::Error::other("carrying frames panicked"))
    });
    if let Err(error) = &end {
        tracing::debug!(node = %link.peer.name, %error, "connection ended");
    }
    inner.deregister(&link, &connection).await;
    // A writer that has finished was looked at above; a task's end can be awaited only once.
    if end.is_err()
        || (!writing.is_finished()
            && tokio::time::timeout(FINISH_PATIENCE, &mut writing)
                .await
                .is_err())
    {
        writing.abort();
    }
    true
}

async fn write_frames(
    inner: Arc<Inner>,
    link: Arc<Link>,
    connection: Arc<Connection>,
    mut writer: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut batch = Batch::default();
    loop {
        match link.take(&connection, &mut batch) {
            Turn::Write => {
                writer.write_all(&batch.small).await?;
                if let Some(large) = &batch.large {
                    writer.write_all(large).await?;
                }
                inner.traffic.sent_bytes.increment(batch.len() as u64);
                inner.traffic.sent_frames.increment(batch.frames);
            }
            Turn::Wait => connection.wake.notified().await,
            Turn::Finish => return writer.shutdown().await,
        }
    }
}

/// Hands frames to the driver until the peer closes its direction. May be dropped and called again
/// with the same buffer.
async fn read_frames(
    inner: &Inner,
    link: &Link,
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> io::Result<()> {
    let Some(started) = inner.started.get() else {
        return Ok(());
    };
    loop {
        let missing = loop {
            match split_frame(buffer)? {
                Split::Frame(frame) if frame.is_empty() => link.hear_goodbye(),
                Split::Frame(frame) => {
                    inner.traffic.received_frames.increment(1);
                    (started.on_frame)(link.peer.replica, frame);
                }
                Split::Missing(bytes) => break bytes,
            }
        };
        if buffer.capacity() - buffer.len() < missing.max(READ_ROOM_MIN) {
            buffer.reserve(missing.max(READ_BUFFER));
        }
        let read = reader.read_buf(buffer).await?;
        if read == 0 && buffer.is_empty() {
            return Ok(());
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        inner.traffic.received_bytes.increment(read as u64);
    }
}

enum Split {
    Frame(Bytes),
    /// At least so many bytes are missing from the next frame.
    Missing(usize),
}

fn split_frame(buffer: &mut BytesMut) -> io::Result<Split> {
    let Some(header) = buffer.first_chunk::<4>() else {
        return Ok(Split::Missing(4 - buffer.len()));
    };
    let length = u32::from_be_bytes(*header) as usize;
    if FRAME_MAX < length {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a frame longer than any",
        ));
    }
    if buffer.len() < 4 + length {
        return Ok(Split::Missing(4 + length - buffer.len()));
    }
    buffer.advance(4);
    Ok(Split::Frame(buffer.split_to(length).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_all(mut buffer: BytesMut) -> (Vec<Vec<u8>>, usize) {
        let mut frames = Vec::new();
        loop {
            match split_frame(&mut buffer).unwrap() {
                Split::Frame(frame) => frames.push(frame.to_vec()),
                Split::Missing(bytes) => return (frames, bytes),
            }
        }
    }

    #[test]
    fn frames_split_wherever_the_reads_cut_them() {
        let wire = b"\0\0\0\x03one\0\0\0\0\0\0\0\x03two";
        for cut in 0..wire.len() {
            let (mut frames, missing) = split_all(BytesMut::from(&wire[..cut]));
            assert!(0 < missing && missing <= 7, "{cut}: {missing}");
            frames.retain(|frame| !frame.is_empty());
            assert_eq!(frames.len(), usize::from(7 <= cut), "{cut}");
        }
        let (frames, missing) = split_all(BytesMut::from(&wire[..]));
        assert_eq!(
            (frames, missing),
            (vec![b"one".to_vec(), Vec::new(), b"two".to_vec()], 4)
        );
    }

    #[test]
    fn a_length_beyond_every_frame_is_an_error_before_anything_is_allocated() {
        assert!(
            split_frame(&mut BytesMut::from(
                &(FRAME_MAX as u32 + 1).to_be_bytes()[..]
            ))
            .is_err()
        );
        assert!(matches!(
            split_frame(&mut BytesMut::from(&(FRAME_MAX as u32).to_be_bytes()[..])),
            Ok(Split::Missing(FRAME_MAX))
        ));
    }
}
