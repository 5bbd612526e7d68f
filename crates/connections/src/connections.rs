//! Open connections: how many, which of them are idle, and which go first.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use tokio::task::Id;

use crate::open::{Change, Open};
use crate::places::{Place, Places};
use crate::seat::{BUSY, Clock, Doing, PARTIAL, Seat};

/// Most connections. An idle one costs 10 to 14 KiB, most of it buffers, as measured: 280 MiB at the bound.
const CONNECTIONS_MAX: usize = 20_000;
/// Seconds that a connection may be idle: a minute, as most servers have it. Also all the time that a request's head
/// may take to arrive, and an answer to be taken.
const IDLE_TICKS_MAX: u32 = 60;
/// One in so many idle connections goes when room is needed, so that a flood does not search them all each time.
const EVICTED_FRACTION: usize = 64;

/// What becomes of a connection on which nothing is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// It ends after a minute.
    EndsAfterAMinute,
    /// It stays until its place is needed. For clients that keep connections for when they need them.
    Stays,
}

/// The connections of one server.
pub(crate) struct Connections {
    open: Open<Seat>,
    clock: Arc<Clock>,
    idle: Idle,
}

impl Connections {
    pub(crate) fn new(idle: Idle) -> Self {
        Self::with_max(idle, CONNECTIONS_MAX, Places::of_process())
    }

    fn with_max(idle: Idle, max: usize, places: Places) -> Self {
        // Zero means busy.
        let clock = Clock {
            tick: AtomicU32::new(1),
            is_draining: AtomicBool::new(false),
        };
        Self {
            open: Open::new(max, places),
            clock: Arc::new(clock),
            idle,
        }
    }

    /// A seat for a new connection, and its place among all of the process. `None` if all are taken and busy.
    pub(crate) fn seat(&mut self) -> Option<(Arc<Seat>, Place)> {
        let place = self.open.place(make_room)?;
        Some((Arc::new(Seat::new(Arc::clone(&self.clock))), place))
    }

    /// Says that a connection was refused, in one line a second for all of them.
    pub(crate) fn tell_refused(&mut self, why: &str) {
        self.open.tell_refused(why);
    }

    /// Runs a connection on its seat.
    pub(crate) fn spawn(
        &mut self,
        seated: (Arc<Seat>, Place),
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        self.open.spawn(seated, connection);
    }

    /// Closes those that have been idle for longest.
    pub(crate) fn make_room(&mut self) {
        make_room(&mut self.open);
    }

    /// Waits until something happens, and takes account of it.
    pub(crate) async fn changed(&mut self) {
        if self.open.changed().await == Change::Second {
            self.tick();
        }
    }

    fn tick(&mut self) {
        let tick = self
            .clock
            .tick
            .load(Relaxed)
            .wrapping_add(1)
            .clamp(BUSY + 1, PARTIAL - 1);
        self.clock.tick.store(tick, Relaxed);
        let is_kept = self.idle == Idle::Stays;
        self.close_if(|doing| match doing {
            Doing::Idle(_) if is_kept => false,
            Doing::Idle(since) | Doing::Partial(since) | Doing::Unread(since) => {
                IDLE_TICKS_MAX < tick.saturating_sub(since)
            }
            Doing::Work => false,
        });
    }

    /// From now on every answer is the last of its connection.
    pub(crate) fn begin_drain(&mut self) {
        self.clock.is_draining.store(true, Relaxed);
    }

    /// Closes everybody who waits for nothing.
    pub(crate) fn close_idle(&mut self) {
        self.close_if(|doing| matches!(doing, Doing::Idle(_) | Doing::Partial(_)));
    }

    /// Waits until nobody is left.
    pub(crate) async fn closed(&mut self) {
        while !self.open.is_empty() {
            self.changed().await;
        }
    }

    fn close_if(&mut self, is_over: impl Fn(Doing) -> bool) {
        let states = self.open.seats().map(|(id, seat)| (id, seat.state()));
        let over: Vec<_> = states
            .filter(|&(_, state)| is_over(Doing::of(state)))
            .collect();
        for (id, state) in over {
            close(&mut self.open, id, state);
        }
    }
}

/// Closes those of `open` that have been idle for longest.
fn make_room(open: &mut Open<Seat>) {
    let states = open.seats().map(|(id, seat)| (id, seat.state()));
    let mut idle: Vec<_> = states
        .filter_map(|(id, state)| match Doing::of(state) {
            Doing::Idle(since) | Doing::Partial(since) => Some((since, id, state)),
            Doing::Unread(_) | Doing::Work => None,
        })
        .collect();
    if idle.is_empty() {
        return;
    }
    let evicted = idle.len().div_ceil(EVICTED_FRACTION);
    idle.select_nth_unstable_by_key(evicted - 1, |(since, ..)| *since);
    for &(_, id, state) in &idle[..evicted] {
        close(open, id, state);
    }
    let connections = open.len();
    tracing::debug!(evicted, connections, "closed idle connections to make room");
}

/// Drops a connection that was seen in `state`, unless something has happened on it since. Nothing is lost: no request has
/// begun, or nobody has taken its answer for a minute.
fn close(open: &mut Open<Seat>, id: Id, state: u32) {
    open.drop_if([id], |seat| seat.cut(state));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_max(idle: Idle, max: usize) -> Connections {
        Connections::with_max(idle, max, Places::new(10))
    }

    /// Seats `count` connections that never end.
    fn fill(connections: &mut Connections, count: usize) -> Vec<Arc<Seat>> {
        let seat = |_| {
            let (seat, place) = connections.seat().expect("there is room");
            connections.spawn((Arc::clone(&seat), place), std::future::pending());
            seat
        };
        (0..count).map(seat).collect()
    }

    #[tokio::test]
    async fn the_longest_idle_make_room() {
        let mut connections = with_max(Idle::EndsAfterAMinute, 3);
        let seats = fill(&mut connections, 3);
        connections.tick();
        assert!(seats[0].begin_request());
        assert!(!seats[0].end_request().is_last());
        seats[0].rest();
        assert!(seats[1].begin_request());

        fill(&mut connections, 1);
        let left = |seat: &Arc<Seat>| {
            let mut seats = connections.open.seats();
            seats.any(|(_, open)| Arc::ptr_eq(open, seat))
        };
        assert_eq!(
            [left(&seats[0]), left(&seats[1]), left(&seats[2])],
            [true, true, false]
        );
    }

    #[tokio::test]
    async fn busy_connections_stay() {
        let mut connections = with_max(Idle::EndsAfterAMinute, 2);
        for seat in fill(&mut connections, 2) {
            assert!(seat.begin_request());
        }
        assert!(connections.seat().is_none());
        for _ in 0..100 {
            connections.tick();
        }
        connections.close_idle();
        assert_eq!(connections.open.len(), 2);
    }

    /// Between the look at a connection and its end, a request could begin: it was counted, and dropped while it waited for
    /// another node.
    #[tokio::test]
    async fn what_begins_while_a_connection_is_looked_at_is_answered() {
        let mut connections = with_max(Idle::EndsAfterAMinute, 1);
        let seat = fill(&mut connections, 1).remove(0);
        let (id, _) = connections.open.seats().next().unwrap();
        let seen = seat.state();
        assert!(seat.begin_request());
        close(&mut connections.open, id, seen);
        assert_eq!(connections.open.len(), 1);

        assert!(!seat.end_request().is_last());
        seat.rest();
        connections.close_idle();
        assert_eq!(connections.open.len(), 0);
        seat.rest();
        seat.await_rest();
        assert!(!seat.begin_request(), "it is being dropped");
    }

    /// A hit that is counted is answered: also when the client is slow to take what it asked for.
    #[tokio::test]
    async fn who_has_not_taken_his_answer_has_a_minute_for_it() {
        let mut connections = with_max(Idle::EndsAfterAMinute, 1);
        for seat in fill(&mut connections, 1) {
            assert!(seat.begin_request());
            assert!(!seat.end_request().is_last());
        }
        assert!(connections.seat().is_none());
        connections.close_idle();
        for _ in 0..60 {
            connections.tick();
        }
        assert_eq!(connections.open.len(), 1);
        connections.tick();
        assert_eq!(connections.open.len(), 0);
    }

    #[tokio::test]
    async fn a_minute_of_silence_ends_a_connection() {
        let mut connections = with_max(Idle::EndsAfterAMinute, 1);
        fill(&mut connections, 1);
        for _ in 0..60 {
            connections.tick();
        }
        assert_eq!(connections.open.len(), 1);
        connections.tick();
        assert_eq!(connections.open.len(), 0);
    }

    /// Pools of clients keep connections for days: what ends is a request that does not.
    #[tokio::test]
    async fn who_may_stay_idle_has_a_minute_for_a_request_all_the_same() {
        let mut connections = with_max(Idle::Stays, 2);
        let seats = fill(&mut connections, 2);
        seats[1].await_rest();
        for _ in 0..60 {
            connections.tick();
            // More of it, which is not the rest.
            seats[1].await_rest();
        }
        assert_eq!(connections.open.len(), 2);
        connections.tick();
        assert!(
            connections
                .open
                .seats()
                .all(|(_, seat)| Arc::ptr_eq(seat, &seats[0]))
        );
        assert_eq!(connections.open.len(), 1);
    }

    #[tokio::test]
    async fn half_a_request_makes_room_and_does_not_stop_a_drain() {
        let mut connections = with_max(Idle::Stays, 1);
        fill(&mut connections, 1)[0].await_rest();
        let seats = fill(&mut connections, 1);
        seats[0].await_rest();
        connections.close_idle();
        assert_eq!(connections.open.len(), 0);
    }
}
