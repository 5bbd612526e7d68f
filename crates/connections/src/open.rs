//! The open connections of one listener, whatever is spoken on them: their tasks, their places, and who was refused.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::places::{Place, Places};

/// How often connections are looked at: it is how much too long an idle one may be kept.
const TICK: Duration = Duration::from_secs(1);

/// The open connections of one listener. `S` says what one of them is doing.
pub struct Open<S> {
    tasks: JoinSet<()>,
    seated: HashMap<Id, Seated<S>>,
    ticks: Interval,
    max: usize,
    places: Places,
    refused: Refused,
}

struct Seated<S> {
    seat: Arc<S>,
    task: AbortHandle,
    _place: Place,
}

/// Connections that were refused, so that a flood of them writes one line a second.
#[derive(Default)]
struct Refused {
    /// Since the last line.
    count: u64,
    /// Whether there was a line in this second.
    is_told: bool,
    /// What the last line said of the reason.
    why: String,
    #[cfg(test)]
    lines: u64,
}

/// What [`Open::changed`] waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A connection has ended, and is not counted any more.
    Ended,
    /// A second has passed.
    Second,
}

impl<S> Open<S> {
    /// At most `max` connections, which take `places`. To be called within a runtime.
    #[must_use]
    pub fn new(max: usize, places: Places) -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            tasks: JoinSet::new(),
            seated: HashMap::new(),
            ticks,
            max,
            places,
            refused: Refused::default(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seated.len()
    }

    /// Whether there is none, and the tasks of those that were dropped have ended, too.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// A place for one more, among all of the process. Where there is none, `make_room` is called first. `None`: it made none.
    pub fn place(&mut self, make_room: impl FnOnce(&mut Self)) -> Option<Place> {
        let mut place = self.places.take();
        if place.is_none() || self.max <= self.len() {
            make_room(self);
            place = place.or_else(|| self.places.take());
        }
        place.filter(|_| self.len() < self.max)
    }

    /// Runs a connection on its seat.
    pub fn spawn(
        &mut self,
        (seat, place): (Arc<S>, Place),
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.tasks.spawn(connection);
        let seated = Seated {
            seat,
            task: task.clone(),
            _place: place,
        };
        self.seated.insert(task.id(), seated);
    }

    /// What each of them is doing.
    pub fn seats(&self) -> impl Iterator<Item = (Id, &Arc<S>)> {
        self.seated.iter().map(|(&id, seated)| (id, &seated.seat))
    }

    /// Drops those of which `is_over` says, at this moment, that nothing is lost with them.
    pub fn drop_if(&mut self, ids: impl IntoIterator<Item = Id>, is_over: impl Fn(&S) -> bool) {
        for id in ids {
            let seated = self.seated.get(&id);
            if seated.is_some_and(|seated| is_over(&seated.seat))
                && let Some(seated) = self.seated.remove(&id)
            {
                seated.task.abort();
            }
        }
    }

    /// Waits until something happens, and takes account of it.
    pub async fn changed(&mut self) -> Change {
        tokio::select! {
            Some(ended) = self.tasks.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                self.seated.remove(&id);
                Change::Ended
            }
            _ = self.ticks.tick() => {
                self.tell_rest();
                Change::Second
            }
        }
    }

    /// Says that a connection was refused, in one line a second for all of them.
    pub fn tell_refused(&mut self, why: &str) {
        self.refused.count += 1;
        if !self.refused.is_told {
            why.clone_into(&mut self.refused.why);
            self.tell();
        }
    }

    /// A second has passed: says how many were refused since its line.
    fn tell_rest(&mut self) {
        self.refused.is_told = false;
        if 0 < self.refused.count {
            self.tell();
        }
    }

    fn tell(&mut self) {
        tracing::warn!(
            refused = self.refused.count,
            connections = self.len(),
            why = self.refused.why,
            "refused connections"
        );
        self.refused.count = 0;
        self.refused.is_told = true;
        #[cfg(test)]
        {
            self.refused.lines += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn refusals_are_told_once_a_second() {
        let mut open = Open::<()>::new(1, Places::new(1));
        for second in 1..=3 {
            for _ in 0..1_000 {
                open.tell_refused("test");
            }
            open.tell_rest();
            // One with the first of them, and one for what came since with each tick.
            assert_eq!(open.refused.lines, second + 1);
            assert_eq!(open.refused.count, 0);
        }
        open.tell_rest();
        assert_eq!(open.refused.lines, 4);
    }

    /// Each listener had all that the process may open, and accepting failed when they had it together.
    #[tokio::test]
    async fn listeners_share_what_the_process_may_open() {
        let places = Places::new(1);
        let [mut one, mut other] = [(); 2].map(|()| Open::<()>::new(9, places.clone()));
        let place = one.place(|_| panic!("there is room")).unwrap();
        one.spawn((Arc::new(()), place), std::future::pending());
        assert!(other.place(|_| ()).is_none());
        // Its own makes room, and no other's.
        let place = one.place(|open| {
            let ids: Vec<_> = open.seats().map(|(id, _)| id).collect();
            open.drop_if(ids, |()| true);
        });
        assert_eq!((place.is_some(), one.len()), (true, 0));
        assert!(other.place(|_| ()).is_none());
        drop(place);
        assert!(other.place(|_| panic!("there is room")).is_some());
    }
}
