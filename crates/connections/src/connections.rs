//! Open connections: how many, which of them are idle, and which go first.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::places::{Place, Places};
use crate::seat::{BUSY, Clock, Doing, PARTIAL, Seat};

/// Most connections. An idle one costs 10 to 14 KiB, most of it buffers, as measured: 280 MiB at the bound.
const CONNECTIONS_MAX: usize = 20_000;
/// How often idle connections are looked at: it is how much too long they may be kept.
const TICK: Duration = Duration::from_secs(1);
/// Ticks that a connection may be idle: a minute, as most servers have it. Also all the time that a request's head
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
    tasks: JoinSet<()>,
    open: HashMap<Id, Open>,
    clock: Arc<Clock>,
    ticks: Interval,
    idle: Idle,
    max: usize,
    places: Places,
    refused: Refused,
}

/// Connections that were refused, so that a flood of them writes one line a second.
#[derive(Default)]
struct Refused {
    /// Since the last line.
    count: u64,
    /// The tick of the last line; 0 before the first.
    told_at: u32,
    /// What the last line said of the reason.
    why: String,
    lines: u64,
}

struct Open {
    seat: Arc<Seat>,
    task: AbortHandle,
    _place: Place,
}

impl Connections {
    pub(crate) fn new(idle: Idle) -> Self {
        Self::with_max(idle, CONNECTIONS_MAX, Places::of_process())
    }

    fn with_max(idle: Idle, max: usize, places: Places) -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Zero means busy.
        let clock = Clock {
            tick: AtomicU32::new(1),
            is_draining: AtomicBool::new(false),
        };
        Self {
            tasks: JoinSet::new(),
            open: HashMap::new(),
            clock: Arc::new(clock),
            ticks,
            idle,
            max,
            places,
            refused: Refused::default(),
        }
    }

    /// A seat for a new connection, and its place among all of the process. `None` if all are taken and busy.
    pub(crate) fn seat(&mut self) -> Option<(Arc<Seat>, Place)> {
        let mut place = self.places.take();
        if place.is_none() || self.max <= self.open.len() {
            self.make_room();
            place = place.or_else(|| self.places.take());
        }
        let place = place.filter(|_| self.open.len() < self.max)?;
        Some((Arc::new(Seat::new(Arc::clone(&self.clock))), place))
    }

    /// Says that a connection was refused, in one line a second for all of them.
    pub(crate) fn tell_refused(&mut self, why: &str) {
        let now = self.clock.tick.load(Relaxed);
        self.refused.count += 1;
        if self.refused.told_at != now {
            self.refused.why = why.to_owned();
            self.tell(now);
        }
    }

    fn tell(&mut self, now: u32) {
        tracing::warn!(
            refused = self.refused.count,
            connections = self.open.len(),
            why = self.refused.why,
            "refused connections"
        );
        self.refused.count = 0;
        self.refused.told_at = now;
        self.refused.lines += 1;
    }

    /// Runs a connection on its seat.
    pub(crate) fn spawn(
        &mut self,
        (seat, place): (Arc<Seat>, Place),
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.tasks.spawn(connection);
        let id = task.id();
        let open = Open {
            seat,
            task,
            _place: place,
        };
        self.open.insert(id, open);
    }

    /// Closes those that have been idle for longest.
    pub(crate) fn make_room(&mut self) {
        let open = self.open.iter();
        let states = open.map(|(id, open)| (*id, open.seat.state()));
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
            self.close(id, state);
        }
        tracing::debug!(
            evicted,
            connections = self.open.len(),
            "closed idle connections to make room"
        );
    }

    /// Waits until something happens, and takes account of it.
    pub(crate) async fn changed(&mut self) {
        tokio::select! {
            Some(ended) = self.tasks.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                self.open.remove(&id);
            }
            _ = self.ticks.tick() => self.tick(),
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
        if 0 < self.refused.count {
            self.tell(tick);
        }
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
        while !self.tasks.is_empty() {
            self.changed().await;
        }
    }

    fn close_if(&mut self, is_over: impl Fn(Doing) -> bool) {
        let open = self.open.iter();
        let states = open.map(|(id, open)| (*id, open.seat.state()));
        let over: Vec<_> = states
            .filter(|&(_, state)| is_over(Doing::of(state)))
            .collect();
        for (id, state) in over {
            self.close(id, state);
        }
    }

    /// Drops a connection that was seen in `state`, unless something has happened on it since.
    fn close(&mut self, id: Id, state: u32) {
        let open = self.open.get(&id);
        if open.is_some_and(|open| open.seat.cut(state))
            && let Some(open) = self.open.remove(&id)
        {
            // Nothing is lost: no request has begun, or nobody has taken its answer for a minute.
            open.task.abort();
        }
    }
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
            connections
                .open
                .values()
                .any(|open| Arc::ptr_eq(&open.seat, seat))
        };
        assert_eq!(
            [left(&seats[0]), left(&seats[1]), left(&seats[2])],
            [true, true, false]
        );
    }

    /// Each listener had all that the process may open, and accepting failed when they had it together.
    #[tokio::test]
    async fn listeners_share_what_the_process_may_open() {
        let places = Places::new(2);
        let new = || Connections::with_max(Idle::Stays, 2, places.clone());
        let (mut one, mut other) = (new(), new());
        let seats = fill(&mut one, 1);
        fill(&mut other, 1);
        assert!(seats[0].begin_request());
        // Its own idle one makes room, and no other's.
        fill(&mut other, 1);
        assert_eq!((one.open.len(), other.open.len()), (1, 1));
        assert!(one.seat().is_none());
        drop(other);
        assert!(one.seat().is_some());
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
        let (&id, _) = connections.open.iter().next().unwrap();
        let seen = seat.state();
        assert!(seat.begin_request());
        connections.close(id, seen);
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
    async fn refusals_are_told_once_a_second() {
        let mut connections = with_max(Idle::EndsAfterAMinute, 1);
        for second in 1..=3 {
            for _ in 0..1_000 {
                connections.tell_refused("test");
            }
            connections.tick();
            // One with the first of them, and one for what came since with each tick.
            assert_eq!(connections.refused.lines, second + 1);
            assert_eq!(connections.refused.count, 0);
        }
        connections.tick();
        assert_eq!(connections.refused.lines, 4);
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
                .values()
                .all(|open| Arc::ptr_eq(&open.seat, &seats[0]))
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
