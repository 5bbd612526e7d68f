//! What joins this node to one peer: the queue of frames for it, and the connections that can carry them.
//!
//! When both ends dial at once, there are two connections for a moment. Frames leave on the newest, and are
//! read from both. Which one stays is decided by one end alone, the node whose name sorts first: it keeps
//! the one that was the newest *to it* and closes the other gently. A rule that both ends applied to what
//! they see could close both, or keep one that is half open at the other end.
//! Of several connections dialled by the same end, the last attempt counts: nobody dials again who has one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use tokio::sync::{Notify, watch};

use super::{BULK_QUEUE_MAX, COPIES_QUEUE_MAX, FRAME_MAX, Lane, SendError, URGENT_QUEUE_MAX, lock};
use crate::handshake::Hello;

/// How long a second connection is left open before it is settled which one stays.
///
/// The other end must have seen the one that stays by then, or it would believe itself disconnected: the
/// verdict of its handshake is at most one trip away, and 100 ms are many of those.
const SETTLE_AFTER: Duration = Duration::from_millis(100);

/// Bytes that leave in one write. Large enough to make the system call cheap, small enough that an
/// urgent frame waits behind a quarter of a megabyte at most, 2 ms at 1 Gbit/s.
const BATCH_MAX: usize = 256 * 1024;

/// From here on a frame is written from where it lies instead of being copied behind others:
/// copying costs about 3 us, as much as the system call that it saves.
const COPIED_MAX: usize = 32 * 1024;

/// One TCP stream to the peer.
#[derive(Debug)]
pub(super) struct Connection {
    id: u64,
    dialled_here: bool,
    attempt: u64,
    /// There is something to write, or the connection is to be finished.
    pub(super) wake: Notify,
    /// Close now, whatever is in flight.
    pub(super) cut: Notify,
}

impl Connection {
    pub(super) fn new(id: u64, dialled_here: bool, attempt: u64) -> Self {
        Self {
            id,
            dialled_here,
            attempt,
            wake: Notify::new(),
            cut: Notify::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: Hello,
    /// The protocol that both ends speak.
    pub(super) version: u16,
    state: Mutex<State>,
    down: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    urgent: Queue,
    bulk: Queue,
    copies: Queue,
    /// In the order in which they were proven. The last one carries frames.
    connections: Vec<Arc<Connection>>,
    /// The writer of the last connection has found nothing and waits to be woken.
    writer_waits: bool,
    leaving: bool,
    goodbye_heard: bool,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, frame: Bytes, max: usize) -> Result<(), SendError> {
        if max < self.bytes + frame.len() {
            return Err(SendError::Full);
        }
        self.bytes += frame.len();
        self.frames.push_back(frame);
        Ok(())
    }

    fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }
}

/// What the writer of a connection does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// Write the batch and come again.
    Write,
    /// Nothing to write: wait to be woken.
    Wait,
    /// Nothing more will be written here: close this direction.
    Finish,
}

/// Frames that leave in one write, in the form of the wire.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) small: Vec<u8>,
    /// Written after `small`, which ends with its length.
    pub(super) large: Option<Bytes>,
    pub(super) frames: u64,
}

impl Batch {
    fn fill(&mut self, mut next: impl FnMut() -> Option<Bytes>) {
        self.small.clear();
        self.large = None;
        self.frames = 0;
        while self.small.len() < BATCH_MAX
            && let Some(frame) = next()
        {
            self.frames += 1;
            self.small.put_u32(frame.len() as u32);
            if frame.len() <= COPIED_MAX {
                self.small.extend_from_slice(&frame);
            } else {
                self.large = Some(frame);
                return;
            }
        }
    }

    /// Bytes on the wire.
    pub(super) fn len(&self) -> usize {
        self.small.len() + self.large.as_ref().map_or(0, Bytes::len)
    }
}

impl Link {
    pub(super) fn new(peer: Hello, version: u16, first: Arc<Connection>) -> Self {
        Self {
            peer,
            version,
            state: Mutex::new(State {
                urgent: Queue::default(),
                bulk: Queue::default(),
                copies: Queue::default(),
                connections: vec![first],
                writer_waits: false,
                leaving: false,
                goodbye_heard: false,
            }),
            down: watch::Sender::new(false),
        }
    }

    /// Adds a connection that was proven after the ones there. False: it is an older attempt, close it.
    pub(super) fn add(&self, connection: &Arc<Connection>) -> bool {
        let mut state = lock(&self.state);
        let is_rival = |other: &Connection| other.dialled_here == connection.dialled_here;
        let mut rivals = state.connections.iter().filter(|other| is_rival(other));
        if rivals.any(|other| connection.attempt < other.attempt) {
            return false;
        }
        state.connections.retain(|other| {
            if is_rival(other) {
                other.cut.notify_one();
            }
            !is_rival(other)
        });
        state.connections.push(connection.clone());
        state.writer_waits = false;
        true
    }

    /// Takes a connection off. True: it was the last one, and the link is down.
    pub(super) fn remove(&self, connection: &Connection) -> bool {
        let mut state = lock(&self.state);
        state.connections.retain(|other| other.id != connection.id);
        state.wake_writer();
        connection.wake.notify_one();
        let last = state.connections.is_empty();
        if last {
            // Whoever still holds this link must not fill queues that nobody will read.
            state.leaving = true;
            state.urgent = Queue::default();
            state.bulk = Queue::default();
            state.copies = Queue::default();
        }
        last
    }

    /// Queues a frame.
    pub(super) fn push(&self, lane: Lane, frame: Bytes) -> Result<(), SendError> {
        let longest = match lane {
            Lane::Urgent => URGENT_QUEUE_MAX,
            Lane::Bulk | Lane::Copies => FRAME_MAX,
        };
        if frame.is_empty() || longest < frame.len() {
            return Err(SendError::Unframeable);
        }
        let mut state = lock(&self.state);
        if state.leaving {
            return Err(SendError::NotConnected);
        }
        match lane {
            Lane::Urgent => state.urgent.push(frame, URGENT_QUEUE_MAX)?,
            Lane::Bulk => state.bulk.push(frame, BULK_QUEUE_MAX)?,
            Lane::Copies => state.copies.push(frame, COPIES_QUEUE_MAX)?,
        }
        if state.writer_waits {
            state.wake_writer();
        }
        Ok(())
    }

    /// Fills `batch` with what `connection` has to write next.
    pub(super) fn take(&self, connection: &Connection, batch: &mut Batch) -> Turn {
        let mut state = lock(&self.state);
        if !state
            .connections
            .iter()
            .any(|other| other.id == connection.id)
        {
            return Turn::Finish;
        }
        if state
            .connections
            .last()
            .is_some_and(|newest| newest.id != connection.id)
        {
            return Turn::Wait;
        }
        let State {
            urgent,
            bulk,
            copies,
            ..
        } = &mut *state;
        batch.fill(|| urgent.pop().or_else(|| bulk.pop()));
        if batch.frames == 0 {
            // One at a time, so that what comes meanwhile overtakes the next.
            let mut copy = copies.pop();
            batch.fill(|| copy.take());
        }
        if batch.frames != 0 {
            return Turn::Write;
        }
        if state.leaving {
            return Turn::Finish;
        }
        state.writer_waits = true;
        Turn::Wait
    }

    pub(super) fn queue_bytes(&self) -> usize {
        let state = lock(&self.state);
        state.urgent.bytes + state.bulk.bytes + state.copies.bytes
    }

    /// Sends what is queued, then goodbye, and takes no more.
    pub(super) fn say_goodbye(&self) {
        let mut state = lock(&self.state);
        if !state.leaving {
            state.leaving = true;
            // Not through the bound: it is the last frame, in the lane that leaves last, and has no bytes.
            state.copies.frames.push_back(Bytes::new());
            state.wake_writer();
        }
    }

    pub(super) fn hear_goodbye(&self) {
        lock(&self.state).goodbye_heard = true;
    }

    pub(super) fn goodbye_heard(&self) -> bool {
        lock(&self.state).goodbye_heard
    }

    /// Closes every connection at once.
    pub(super) fn cut(&self) {
        for connection in &lock(&self.state).connections {
            connection.cut.notify_one();
        }
    }

    /// Keeps the newest connection only. The others finish what they are writing.
    fn settle(&self) {
        let mut state = lock(&self.state);
        let Some(newest) = state.connections.pop() else {
            return;
        };
        for other in std::mem::replace(&mut state.connections, vec![newest]) {
            other.wake.notify_one();
        }
    }

    /// Says that the last connection is gone and everyone has been told.
    pub(super) fn went_down(&self) {
        self.down.send_replace(true);
    }

    /// Waits until the last connection is gone and everyone has been told.
    pub(super) async fn wait_until_down(&self) {
        // An error means that the link itself is gone, and more down it cannot be.
        let _ = self.down.subscribe().wait_for(|down| *down).await;
    }
}

impl State {
    fn wake_writer(&mut self) {
        self.writer_waits = false;
        if let Some(newest) = self.connections.last() {
            newest.wake.notify_one();
        }
    }
}

/// Settles, a moment from now, which of several connections stays. For the node whose name sorts first.
pub(super) fn settle_later(link: Arc<Link>) {
    tokio::spawn(async move {
        tokio::time::sleep(SETTLE_AFTER).await;
        link.settle();
    });
}

#[cfg(test)]
mod tests;
