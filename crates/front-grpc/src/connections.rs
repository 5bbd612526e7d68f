//! Open connections: how many, which of them are idle, and which go first.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use ::connections::{Change, Open, Place, Places};
use tokio::sync::Notify;

/// Most connections. A proxy has one or a few, and many requests on each; an idle one costs some 20 KiB, so 100 MiB at the
/// bound.
const CONNECTIONS_MAX: usize = 5_120;
/// Ticks, of a second, without a request that begins or is answered, after which a connection is asked to end. Requests lose nothing by it:
/// the client is told which of them were not taken, and connects anew.
const IDLE_TICKS_MAX: u32 = 60;
/// Ticks after that, at which it is cut: longer than any decision takes.
const LEAVING_TICKS_MAX: u32 = 10;

/// The connections of one server.
pub(crate) struct Connections {
    open: Open<Seat>,
    tick: Arc<AtomicU32>,
}

/// What one connection is doing.
pub(crate) struct Seat {
    /// Read for every request: a whole second will do, and needs no system call.
    tick: Arc<AtomicU32>,
    /// The tick at which a request began or was answered last.
    active: AtomicU32,
    /// Requests that have no answer yet, or [`CUT`].
    busy: AtomicU32,
    is_leaving: AtomicBool,
    leave: Notify,
}

/// In place of the number of requests: the connection is cut, and none begins any more. A connection has at most 256.
const CUT: u32 = u32::MAX;

impl Seat {
    /// A request has begun. `None`: the connection is being cut, and it must not be asked.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Busy> {
        let more = |busy| (busy != CUT).then(|| busy + 1);
        self.busy.fetch_update(Relaxed, Relaxed, more).ok()?;
        self.touch();
        Some(Busy(Arc::clone(self)))
    }

    /// Lets no request begin any more, unless one has: it would be dropped in the middle, counted and not answered.
    fn cut_if_idle(&self) -> bool {
        let cut = self.busy.compare_exchange(0, CUT, Relaxed, Relaxed);
        cut.is_ok()
    }

    /// Resolves when the connection shall take no more requests.
    pub(crate) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }

    /// Whether it has been told to leave.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Relaxed)
    }

    /// Something was asked, or an answer that goes on was taken.
    pub(crate) fn touch(&self) {
        self.active.store(self.tick.load(Relaxed), Relaxed);
    }

    /// Whether no request is without its answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.busy.load(Relaxed) == 0
    }

    fn tell_to_leave(&self) {
        if !self.is_leaving.swap(true, Relaxed) {
            self.leave.notify_one();
        }
    }
}

/// While it lives, a request is answered.
pub(crate) struct Busy(Arc<Seat>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.touch();
        self.0.busy.fetch_sub(1, Relaxed);
    }
}

impl Connections {
    pub(crate) fn new() -> Self {
        Self::with_max(CONNECTIONS_MAX, Places::of_process())
    }

    fn with_max(max: usize, places: Places) -> Self {
        Self {
            open: Open::new(max, places),
            tick: Arc::default(),
        }
    }

    /// Says that a connection was refused, in one line a second for all of them.
    pub(crate) fn tell_refused(&mut self, why: &str) {
        self.open.tell_refused(why);
    }

    /// A seat for a new connection, and its place among all of the process. The one that has been idle for longest makes room
    /// for it; `None` if all are busy.
    pub(crate) fn seat(&mut self) -> Option<(Arc<Seat>, Place)> {
        let place = self.open.place(make_room)?;
        let seat = Arc::new(Seat {
            tick: Arc::clone(&self.tick),
            active: AtomicU32::new(self.tick.load(Relaxed)),
            busy: AtomicU32::new(0),
            is_leaving: AtomicBool::new(false),
            leave: Notify::new(),
        });
        Some((seat, place))
    }

    /// Runs a connection on its seat.
    pub(crate) fn spawn(
        &mut self,
        seated: (Arc<Seat>, Place),
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        self.open.spawn(seated, connection);
    }

    /// Closes the connection that has been idle for longest.
    pub(crate) fn make_room(&mut self) {
        make_room(&mut self.open);
    }

    /// Waits until something happens, and takes account of it.
    pub(crate) async fn changed(&mut self) {
        if self.open.changed().await == Change::Second {
            self.tick();
        }
    }

    /// A second has passed. A connection on which nothing has begun or been answered for long ends, also with a request
    /// that does not come to its end; an answer that goes on says so itself.
    fn tick(&mut self) {
        let now = self.tick.fetch_add(1, Relaxed).wrapping_add(1);
        let mut over = Vec::new();
        for (id, seat) in self.open.seats() {
            match now.wrapping_sub(seat.active.load(Relaxed)) {
                ..=IDLE_TICKS_MAX => {}
                ticks if ticks <= IDLE_TICKS_MAX + LEAVING_TICKS_MAX => seat.tell_to_leave(),
                _ => over.push(id),
            }
        }
        self.open.drop_if(over, |_| true);
    }

    /// Lets nobody ask any more.
    pub(crate) fn begin_drain(&mut self) {
        for (_, seat) in self.open.seats() {
            seat.tell_to_leave();
        }
    }

    /// Cuts all that wait for nothing, or have said nothing.
    pub(crate) fn cut_all_idle(&mut self) {
        let open: Vec<_> = self.open.seats().map(|(id, _)| id).collect();
        self.open.drop_if(open, Seat::cut_if_idle);
    }

    /// Waits until nobody is left.
    pub(crate) async fn closed(&mut self) {
        while !self.open.is_empty() {
            self.changed().await;
        }
    }
}

/// Closes the connection that has been idle for longest.
fn make_room(open: &mut Open<Seat>) {
    let idle = open.seats().filter(|(_, seat)| seat.is_idle());
    let oldest = idle.min_by_key(|(_, seat)| seat.active.load(Relaxed));
    if let Some((id, _)) = oldest {
        open.drop_if([id], Seat::cut_if_idle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_max(max: usize) -> Connections {
        Connections::with_max(max, Places::new(10))
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

    fn is_open(connections: &Connections, seat: &Arc<Seat>) -> bool {
        let mut open = connections.open.seats();
        open.any(|(_, open)| Arc::ptr_eq(open, seat))
    }

    #[tokio::test]
    async fn the_longest_idle_makes_room() {
        let mut connections = with_max(3);
        let seats = fill(&mut connections, 3);
        let _busy = seats[0].begin().unwrap();
        connections.tick();
        drop(seats[1].begin());
        fill(&mut connections, 1);
        let open = [0, 1, 2].map(|seat| is_open(&connections, &seats[seat]));
        assert_eq!(open, [true, true, false]);
    }

    #[tokio::test]
    async fn what_the_process_may_open_is_shared_with_other_listeners() {
        let places = Places::new(2);
        let _others = places.take();
        let mut connections = Connections::with_max(9, places);
        let seats = fill(&mut connections, 2);
        let open = [0, 1].map(|seat| is_open(&connections, &seats[seat]));
        assert_eq!(open, [false, true]);
        let _busy = seats[1].begin();
        assert!(connections.seat().is_none());
    }

    #[tokio::test]
    async fn who_is_busy_makes_no_room() {
        let mut connections = with_max(1);
        let _busy = fill(&mut connections, 1)[0].begin();
        assert!(connections.seat().is_none());
    }

    /// Between the look at a connection and its end a request could begin, which was counted and dropped.
    #[tokio::test]
    async fn on_a_connection_that_is_cut_nothing_begins() {
        let mut connections = with_max(2);
        let seats = fill(&mut connections, 2);
        let busy = seats[0].begin().unwrap();
        connections.cut_all_idle();
        assert!(is_open(&connections, &seats[0]) && !is_open(&connections, &seats[1]));
        assert!(seats[1].begin().is_none());
        drop(seats[0].begin().unwrap());
        drop(busy);
        connections.cut_all_idle();
        assert!(seats[0].begin().is_none());
    }

    #[tokio::test]
    async fn a_minute_without_a_request_ends_a_connection_in_order() {
        let mut connections = with_max(2);
        let seats = fill(&mut connections, 2);
        for _ in 0..60 {
            connections.tick();
        }
        drop(seats[1].begin());
        assert!(!seats[0].is_leaving.load(Relaxed));
        connections.tick();
        assert!(seats[0].is_leaving.load(Relaxed) && is_open(&connections, &seats[0]));
        for _ in 0..10 {
            connections.tick();
        }
        let open = [0, 1].map(|seat| is_open(&connections, &seats[seat]));
        assert_eq!(open, [false, true]);
    }

    /// A message that comes byte by byte, or never to its end.
    #[tokio::test]
    async fn a_request_that_does_not_end_keeps_no_connection() {
        let mut connections = with_max(1);
        let seats = fill(&mut connections, 1);
        let _busy = seats[0].begin();
        for _ in 0..71 {
            connections.tick();
        }
        assert!(!is_open(&connections, &seats[0]));
    }
}
