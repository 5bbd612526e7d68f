//! A proven stream in the hands of `ractor_cluster`, and what this node keeps of it.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use metrics::Counter;
use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream};
use socket2::{SockRef, Socket};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::watch;

use super::UNWRITTEN_MAX;

/// What this node keeps of a stream that it has handed over.
pub(super) struct Line {
    /// Bytes handed over since all were last seen written.
    unwritten: AtomicUsize,
    socket: Option<Socket>,
    closed: watch::Sender<bool>,
    /// Messages for which there was no room.
    full: Counter,
}

impl Line {
    pub(super) fn of(stream: &TcpStream, full: Counter) -> Self {
        // Without a second handle the line cannot be cut, and its deadlines are those of the socket.
        let socket = SockRef::from(stream).try_clone().ok();
        Self {
            unwritten: AtomicUsize::new(0),
            socket,
            closed: watch::Sender::new(false),
            full,
        }
    }

    /// Reserves room for `bytes`; false when too many wait already.
    pub(super) fn may_write(&self, bytes: usize) -> bool {
        let before = self.unwritten.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= UNWRITTEN_MAX;
        if !fits {
            self.unwritten.fetch_sub(bytes, Ordering::Relaxed);
            self.full.increment(1);
        }
        fits
    }

    /// Shuts the socket down, whoever holds it.
    pub(super) fn cut(&self) {
        if let Some(socket) = &self.socket {
            // An error means that it is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Says that nobody uses the line any more.
    pub(super) fn has_closed(&self) {
        self.closed.send_replace(true);
    }

    pub(super) async fn wait_until_closed(&self) {
        // Never an error: the sender lives in `self`.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }
}

/// A proven stream in the form that `ractor_cluster` takes.
pub(super) struct Piped {
    pub(super) stream: TcpStream,
    pub(super) label: String,
    pub(super) line: Arc<Line>,
}

impl ClusterBidiStream for Piped {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        let (reader, writer) = self.stream.into_split();
        (
            Box::new(tokio::io::BufReader::new(reader)),
            Box::new(Counted {
                writer,
                line: self.line,
            }),
        )
    }

    fn peer_label(&self) -> Option<String> {
        Some(self.label.clone())
    }
}

/// Notices when everything that was queued has been written: `ractor_cluster` flushes when its queue is empty.
struct Counted {
    writer: OwnedWriteHalf,
    line: Arc<Line>,
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.writer).poll_flush(cx);
        if flushed.is_ready() {
            // What has come into the queue since is forgotten: at worst twice the bound waits.
            self.line.unwritten.store(0, Ordering::Relaxed);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}
