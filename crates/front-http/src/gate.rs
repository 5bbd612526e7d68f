//! What stands between a socket and hyper.
//!
//! hyper is handed one request at a time, whose head is known to be well, and is not handed the next before the answer
//! to the one before has been taken. So what was counted is answered, whatever follows it; a client that does not read
//! costs one answer; and what is malformed is refused in words.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use connections::{Memory, Room, Seat};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::chunks::{Chunks, Progress};
use crate::head::{self, Framing, HEAD_MAX, Head, Seen};
use crate::problem::Problem;

/// Most that hyper is handed at once. It begins with a buffer of 8 KiB, doubles it, up to the largest head, when it was
/// filled, and keeps it: 20 000 connections with 64 KiB each would be 1.3 GB.
const HANDED_MAX: usize = 8 * 1024 - 1;
/// Answers that wait for the next to leave with them, when that was asked for already: as many as a pipeline usually
/// has. One write for each would be most of what a pipelined request costs.
const GATHERED_MAX: usize = 16 * 1024;
/// What a connection may hold of a head without asking for more memory.
const HELD_FREE: usize = 8 * 1024;
/// How long the last answers may take to leave, when the client takes its time to read them.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection is read, and nothing done with it, after it was closed on the client: to close a socket that
/// has unread bytes makes the kernel take back answers that are on their way. Two round trips around the world.
const LINGER: Duration = Duration::from_millis(500);

/// A connection as hyper sees it.
pub(crate) struct Gate<S> {
    stream: S,
    seat: Arc<Seat>,
    input: Input,
    /// Read, and not yet handed on. Empty but for pipelined requests, and heads that come in pieces.
    held: BytesMut,
    /// What heads may take together, and what this one has of it.
    heads: Memory,
    room: Room,
    /// Answers that wait for others to leave with them.
    gathered: BytesMut,
    /// A request was handed on, and its answer has not begun.
    is_asked: bool,
}

/// What comes next from the client.
enum Input {
    /// A head, of which `held` has a part or nothing.
    Waiting,
    /// The head that `held` begins with.
    Ready(Head),
    /// The rest of a request that was handed on in part.
    Passing { head: usize, body: Body },
    /// Nothing: what came is refused, once everything before it is answered. `true`: to a `HEAD`, without a body.
    Refused(Problem, bool),
    /// Nothing: a body that is none has no end, and its request is answered as incomplete.
    Broken,
    /// Nothing: the client will say no more.
    Ended,
}

/// What `head`, or what has come of it, is answered.
fn refused(problem: Problem, head: &[u8]) -> Input {
    let is_head = head.starts_with(b"HEAD ");
    Input::Refused(problem, is_head)
}

enum Body {
    Sized(u64),
    Chunked(Chunks),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    /// Takes `stream` in. What is written counts as activity on `seat`; heads above 8 KiB share `heads`.
    pub(crate) fn new(stream: S, seat: Arc<Seat>, heads: Memory) -> Self {
        Self {
            stream,
            seat,
            input: Input::Waiting,
            held: BytesMut::new(),
            heads,
            room: Room::default(),
            gathered: BytesMut::new(),
            is_asked: false,
        }
    }

    /// Lets the last answers leave, the refusal of what could not be read among them, and closes.
    ///
    /// To be called when hyper is done with the connection.
    pub(crate) async fn finish(mut self) {
        let is_over = matches!(self.input, Input::Ended);
        if let Input::Refused(problem, is_head) = &self.input {
            tracing::debug!(detail = problem.detail(), "refused a request");
            self.gathered
                .extend_from_slice(&problem.last_words(*is_head));
        }
        let leave = async {
            self.stream.write_all(&self.gathered).await?;
            self.stream.shutdown().await
        };
        if !matches!(tokio::time::timeout(LEAVE_WITHIN, leave).await, Ok(Ok(()))) || is_over {
            return;
        }
        let linger = async {
            let mut unread = vec![0; 4 * 1024];
            while matches!(self.stream.read(&mut unread).await, Ok(1..)) {}
        };
        // Late or not, there is nothing left to do.
        let _ = tokio::time::timeout(LINGER, linger).await;
    }

    /// Waits for a head. `Ready`: there is news of what comes next, and `buf` may have the beginning of a request.
    fn poll_head(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Nobody waits for more while he has not what he asked for. If it cannot leave now, this task hears when it can.
        let _ = self.poll_leave(cx)?;
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        if read.is_empty() {
            self.input = match self.held.is_empty() {
                true => Input::Ended,
                false => refused(head::incomplete(), &self.held),
            };
            return Poll::Ready(Ok(()));
        }
        // The usual case: a whole head and nothing before it, which stays where it was read.
        if self.held.is_empty() && !b"\r\n".contains(&read[0]) {
            match head::read(read) {
                Seen::Whole(head) => {
                    self.begin(head);
                    let taken = self.pass_read(before, buf);
                    self.hold(before + taken, buf);
                    return Poll::Ready(Ok(()));
                }
                Seen::Refused(problem) => {
                    self.input = refused(problem, read);
                    buf.set_filled(before);
                    return Poll::Ready(Ok(()));
                }
                Seen::Partial => {}
            }
            self.hold(before, buf);
            return Poll::Ready(Ok(()));
        }
        // A head is only whole with the end of a line: one that comes byte by byte is not looked at each time.
        let may_be_whole = read.contains(&b'\n') || self.held.is_empty();
        self.hold(before, buf);
        if may_be_whole || HEAD_MAX <= self.held.len() {
            self.look();
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps what `buf` has from `from` on, instead of handing it on. What follows a broken body is nothing to keep.
    fn hold(&mut self, from: usize, buf: &mut ReadBuf<'_>) {
        if matches!(self.input, Input::Broken) {
            buf.set_filled(from);
            return;
        }
        let rest = &buf.filled()[from..];
        if !rest.is_empty() {
            self.held.extend_from_slice(rest);
            buf.set_filled(from);
        }
        if HELD_FREE < self.held.len()
            && let Err(error) = self.heads.grow(&mut self.room, HEAD_MAX)
        {
            self.input = refused(error.into(), &self.held);
        }
    }

    /// Looks at what is held for the next head, if that comes next.
    fn look(&mut self) {
        if !matches!(self.input, Input::Waiting) {
            return;
        }
        let empty_lines = self.held.iter().take_while(|byte| b"\r\n".contains(byte));
        self.held.advance(empty_lines.count());
        if self.held.is_empty() {
            self.let_go();
            return;
        }
        match head::read(&self.held) {
            Seen::Partial => {}
            Seen::Whole(head) => self.input = Input::Ready(head),
            Seen::Refused(problem) => self.input = refused(problem, &self.held),
        }
    }

    /// Gives back the memory of what was held.
    fn let_go(&mut self) {
        self.held = BytesMut::new();
        self.room = Room::default();
    }

    /// From now on the bytes of this request are handed on.
    fn begin(&mut self, head: Head) {
        let body = match head.body {
            Framing::Sized(size) => Body::Sized(size),
            Framing::Chunked => Body::Chunked(Chunks::new()),
        };
        self.input = Input::Passing {
            head: head.len,
            body,
        };
        self.is_asked = true;
    }

    /// How many of the bytes that `buf` has from `from` on are handed on.
    fn pass_read(&mut self, from: usize, buf: &ReadBuf<'_>) -> usize {
        let bytes = &buf.filled()[from..];
        self.pass(&bytes[..bytes.len().min(HANDED_MAX)])
    }

    /// How many of the next bytes belong to the request that is being handed on.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let Input::Passing { head, body } = &mut self.input else {
            return 0;
        };
        let of_head = bytes.len().min(*head);
        *head -= of_head;
        if 0 < *head {
            return of_head;
        }
        let rest = &bytes[of_head..];
        let (of_body, is_over) = match body {
            Body::Sized(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *left -= here as u64;
                (here, *left == 0)
            }
            Body::Chunked(chunks) => match chunks.advance(rest) {
                Progress::Going => (rest.len(), false),
                Progress::Over(here) => (here, true),
                // hyper, which may read on where it should not, has no more of it: a body without its end, which is
                // answered.
                Progress::Broken(here) => {
                    self.input = Input::Broken;
                    return of_head + here;
                }
            },
        };
        if is_over {
            self.input = Input::Waiting;
        }
        of_head + of_body
    }

    /// Hands on what is held of a request.
    fn pass_held(&mut self, buf: &mut ReadBuf<'_>) {
        let most = self.held.len().min(buf.remaining()).min(HANDED_MAX);
        let part = self.held.split_to(most);
        let passed = self.pass(&part);
        buf.put_slice(&part[..passed]);
        // What follows the end of the request goes back.
        if passed < part.len() {
            let mut rest = BytesMut::from(&part[passed..]);
            rest.unsplit(std::mem::take(&mut self.held));
            self.held = rest;
        }
        if self.held.is_empty() {
            self.let_go();
        }
    }

    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.gathered))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(written);
        }
        // Without what it was stored in.
        self.gathered = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Whether what is written now had better wait: the next request is here, and its answer may be, too.
    fn gathers(&self) -> bool {
        matches!(self.input, Input::Ready(_))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        while buf.filled().len() == before {
            match &self.input {
                Input::Waiting => ready!(self.poll_head(cx, buf))?,
                Input::Ready(head) => {
                    let head = *head;
                    self.begin(head);
                }
                Input::Passing { .. } if !self.held.is_empty() => self.pass_held(buf),
                Input::Passing { .. } => {
                    ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
                    if buf.filled().len() == before {
                        self.input = Input::Ended;
                        break;
                    }
                    let taken = self.pass_read(before, buf);
                    self.hold(before + taken, buf);
                }
                Input::Refused(..) | Input::Broken | Input::Ended => break,
            }
        }
        if !self.held.is_empty() {
            self.look();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_asked = false;
        if self.gathered.is_empty() && !self.gathers() {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        }
        if GATHERED_MAX <= self.gathered.len() {
            ready!(self.poll_leave(cx))?;
        }
        let before = self.gathered.len();
        for part in parts {
            let room = GATHERED_MAX - self.gathered.len();
            self.gathered
                .extend_from_slice(&part[..part.len().min(room)]);
        }
        Poll::Ready(Ok(self.gathered.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // With the next request in hyper's hands, and no answer yet, what is there leaves: it may take a while.
        if self.gathers() && !self.is_asked && self.gathered.len() < GATHERED_MAX {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_leave(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if !self.is_asked {
            self.seat.rest();
        }
        Poll::Ready(Ok(()))
    }

    /// Leaves the closing to [`Gate::finish`].
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_leave(cx)
    }
}
