//! One connection: reads what a client sends, asks, and writes the replies.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use connections::{NoRoom, Room, Seat};
use limiter::Node;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::conversation::Conversation;
use crate::decode::COMMAND_MAX;
use crate::exchange::{self, Common, LARGE, Reading, SMALL, Share};

/// What is read at once while there is no room for more: some fifty commands.
const READ_MIN: usize = 4 * 1024;
/// What is read at once in a pipeline: some two hundred commands.
const READ_MAX: usize = 16 * 1024;
/// What a connection may hold of commands without asking for room.
const HELD_FREE: usize = 8 * 1024;
/// Room for the largest command, and for its echo.
const ROOM: usize = 2 * COMMAND_MAX;

/// How long a connection is read, and nothing done with it, after it was closed on the client: to close a socket that
/// has unread bytes makes the kernel take back replies that are on their way. Two round trips around the world.
const LINGER: Duration = Duration::from_millis(500);

/// Serves one client until it goes, or has to.
pub(crate) async fn serve<N: Node>(
    stream: TcpStream,
    id: u64,
    seat: Arc<Seat>,
    common: Arc<Common<N>>,
) {
    let mut connection = Connection {
        stream,
        conversation: Conversation::new(id, &common.server),
        input: BytesMut::new(),
        output: BytesMut::new(),
        room: Room::default(),
        is_pipelined: false,
        common,
        seat,
    };
    if let Err(error) = connection.run().await {
        tracing::debug!(%error, "connection ended early");
    }
}

struct Connection<N> {
    stream: TcpStream,
    conversation: Conversation,
    /// What has arrived and is not yet read: the beginning of a command, or commands that wait for replies to leave.
    input: BytesMut,
    /// Replies that have not left.
    output: BytesMut,
    room: Room,
    /// The last read brought as much as it could: there is more.
    is_pipelined: bool,
    common: Arc<Common<N>>,
    seat: Arc<Seat>,
}

/// What follows when everything that had arrived is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// The client may ask more.
    Stay,
    /// It may not: the node drains. What is on its way is answered.
    Drain,
    /// Nothing more is read.
    Over,
}

impl<N: Node> Connection<N> {
    async fn run(&mut self) -> io::Result<()> {
        let mut then = After::Stay;
        loop {
            let arrived = match then {
                After::Stay => self.fill().await?,
                After::Drain => match self.fill_now().await? {
                    Poll::Ready(arrived) => arrived,
                    Poll::Pending => return self.finish().await,
                },
                After::Over => return self.finish().await,
            };
            if arrived == 0 {
                return Ok(());
            }
            then = self.exchange().await?;
            if self.input.is_empty() || then == After::Over {
                continue;
            }
            self.seat.await_rest();
            if let Err(error) = self.make_room() {
                self.conversation.told_no_room(error, &mut self.output);
                self.stream.write_all_buf(&mut self.output).await?;
                return self.finish().await;
            }
        }
    }

    /// Answers all that has arrived.
    async fn exchange(&mut self) -> io::Result<After> {
        loop {
            let share = self.share();
            let answered = exchange::answer(
                &mut self.conversation,
                &self.common,
                &self.input,
                share,
                || self.seat.begin_request(),
                &mut self.output,
            )
            .await;
            let Some((read, reading)) = answered else {
                // It is being dropped.
                return Err(io::ErrorKind::ConnectionAborted.into());
            };
            self.input.advance(read);
            if self.output.is_empty() {
                return Ok(After::Stay);
            }
            let then = self.seat.end_request();
            // All replies that there are leave in one write.
            self.stream.write_all_buf(&mut self.output).await?;
            match reading {
                Reading::Waits => {}
                Reading::Over => return Ok(After::Over),
                Reading::Starved if then.is_last() => return Ok(After::Drain),
                Reading::Starved => {
                    self.seat.rest();
                    return Ok(After::Stay);
                }
            }
        }
    }

    /// What may be answered at once. Long pipelines need room, and go on in small steps when there is none.
    fn share(&mut self) -> Share {
        let is_short = self.input.len() <= READ_MIN / 2;
        if is_short || self.common.memory.grow(&mut self.room, ROOM).is_err() {
            return SMALL;
        }
        LARGE
    }

    /// A command that has not arrived as a whole may need more than every connection has.
    fn make_room(&mut self) -> Result<(), NoRoom> {
        match HELD_FREE < self.input.len() + READ_MIN {
            true => self.common.memory.grow(&mut self.room, ROOM),
            false => Ok(()),
        }
    }

    /// Waits for more; how many bytes came, 0 at the end. Holds no memory while nothing has come.
    async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// What has come already, without waiting: a node that drains answers it.
    async fn fill_now(&mut self) -> io::Result<Poll<usize>> {
        match poll_fn(|cx| Poll::Ready(self.poll_fill(cx))).await {
            Poll::Ready(filled) => filled.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.stream.poll_read_ready(cx)?.is_pending() {
            if self.input.is_empty() {
                self.let_go();
            }
            return Poll::Pending;
        }
        let is_roomy = self.is_pipelined && self.common.memory.grow(&mut self.room, ROOM).is_ok();
        let size = if is_roomy { READ_MAX } else { READ_MIN };
        self.input.reserve(size);
        let read = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx))?;
        self.is_pipelined = size <= read;
        Poll::Ready(Ok(read))
    }

    fn let_go(&mut self) {
        self.input = BytesMut::new();
        self.output = BytesMut::new();
        self.room = Room::default();
        self.conversation.rest();
    }

    /// Closes, so that the last replies arrive.
    async fn finish(&mut self) -> io::Result<()> {
        self.seat.close();
        self.stream.shutdown().await?;
        let linger = async {
            let mut unread = vec![0; READ_MIN];
            while matches!(self.stream.read(&mut unread).await, Ok(1..)) {}
        };
        // Late or not, there is nothing left to do.
        let _late = tokio::time::timeout(LINGER, linger).await;
        Ok(())
    }
}
