//! What one connection is doing, as its task says and its listener reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// Read by every connection for every request: a whole second will do, and needs no system call.
#[derive(Debug)]
pub(crate) struct Clock {
    pub(crate) tick: AtomicU32,
    pub(crate) is_draining: AtomicBool,
}

/// What one connection is doing.
#[derive(Debug)]
pub struct Seat {
    clock: Arc<Clock>,
    /// The tick since which it is idle, or one of the values below.
    state: AtomicU32,
}

/// A request is being answered.
pub(crate) const BUSY: u32 = 0;
/// The last answer has been given; the connection ends by itself once that is written.
const LAST: u32 = u32::MAX;
/// The connection is being dropped: no request begins on it any more.
const CUT: u32 = u32::MAX - 1;
/// Beside a tick: it was answered then, and the answer has not left.
const UNREAD: u32 = 1 << 31;
/// Beside a tick: a part of a request came then, and the rest has not. Ticks stay below it for 34 years.
pub(crate) const PARTIAL: u32 = 1 << 30;

/// What one connection is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Answering, or closing.
    Work,
    /// Waiting for the client to take an answer, since this tick.
    Unread(u32),
    /// Waiting for the rest of a request, since this tick. Nothing is lost if it ends: nothing was counted.
    Partial(u32),
    /// Waiting for the client to ask, since this tick. Nothing is lost if it ends.
    Idle(u32),
}

/// What follows after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// The connection waits for the next request.
    Stay,
    /// The connection ends.
    Close,
}

impl Then {
    /// Whether the connection ends with this answer.
    #[must_use]
    pub fn is_last(self) -> bool {
        self == Self::Close
    }
}

impl Seat {
    pub(crate) fn new(clock: Arc<Clock>) -> Self {
        let state = AtomicU32::new(clock.tick.load(Relaxed));
        Self { clock, state }
    }

    /// What its connection was doing, to be told by [`Doing::of`].
    pub(crate) fn state(&self) -> u32 {
        self.state.load(Relaxed)
    }

    /// A request has begun. `false`: the connection is being dropped, and nothing must be asked: it would be counted and not
    /// answered.
    #[must_use]
    pub fn begin_request(&self) -> bool {
        let begin = |state| (state != CUT).then_some(BUSY);
        self.state.fetch_update(Relaxed, Relaxed, begin).is_ok()
    }

    /// A request has its answer, which has to leave.
    #[must_use]
    pub fn end_request(&self) -> Then {
        if self.clock.is_draining.load(Relaxed) {
            self.state.store(LAST, Relaxed);
            return Then::Close;
        }
        let now = self.clock.tick.load(Relaxed);
        self.state.store(now | UNREAD, Relaxed);
        Then::Stay
    }

    /// Everything that was asked is answered, and has left.
    pub fn rest(&self) {
        let state = self.state.load(Relaxed);
        if let Doing::Unread(_) = Doing::of(state) {
            self.change(state, self.clock.tick.load(Relaxed));
        }
    }

    /// A part of a request has come, and its rest is awaited: for a minute from the first time that this is said.
    pub fn await_rest(&self) {
        let state = self.state.load(Relaxed);
        if let Doing::Idle(_) = Doing::of(state) {
            self.change(state, self.clock.tick.load(Relaxed) | PARTIAL);
        }
    }

    /// Nothing is asked any more, and the connection ends by itself.
    pub fn close(&self) {
        self.state.store(LAST, Relaxed);
    }

    /// Lets no request begin any more, if nothing has happened since `state` was read.
    pub(crate) fn cut(&self, state: u32) -> bool {
        self.change(state, CUT)
    }

    /// Whether `state` was still so. Whoever changes it meanwhile, to say that it is cut or that a request has begun, is right.
    fn change(&self, state: u32, to: u32) -> bool {
        let changed = self.state.compare_exchange(state, to, Relaxed, Relaxed);
        changed.is_ok()
    }
}

impl Doing {
    pub(crate) fn of(state: u32) -> Self {
        match state {
            BUSY | LAST | CUT => Self::Work,
            tick if tick & UNREAD != 0 => Self::Unread(tick & !UNREAD),
            tick if tick & PARTIAL != 0 => Self::Partial(tick & !PARTIAL),
            tick => Self::Idle(tick),
        }
    }
}
