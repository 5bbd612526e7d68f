//! Who can reach whom, and what happens to a message on its way.

use rand::Rng;
use rand::rngs::SmallRng;

use crate::links::Links;
use crate::oracle::SimTime;

/// After this long a stream sends again what was lost.
const SENT_AGAIN_AFTER: SimTime = 200_000_000;

/// The faults of a network.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// Side of each host; messages pass within a side.
    pub(crate) sides: Vec<usize>,
    /// Links that carry nothing, each in one direction.
    pub(crate) cut: Links,
    /// Probability that a message is lost.
    pub(crate) loss: f64,
    /// Probability that a message comes twice.
    pub(crate) duplication: f64,
    /// Shortest and longest way of a message, in nanoseconds. Reordering follows from the difference.
    pub(crate) delay: (SimTime, SimTime),
}

impl Network {
    /// A network of `hosts` that connects everybody with everybody.
    #[must_use]
    pub(crate) fn new(hosts: usize) -> Self {
        Self {
            sides: vec![0; hosts],
            cut: Links::NONE,
            loss: 0.0,
            duplication: 0.001,
            delay: (100_000, 2_000_000),
        }
    }

    /// Whether messages pass from one host to another.
    #[must_use]
    pub(crate) fn carries(&self, from: usize, to: usize) -> bool {
        self.sides[from] == self.sides[to] && !self.cut.contains(from, to)
    }

    /// Whether messages pass between two hosts, both ways.
    #[must_use]
    pub(crate) fn connects(&self, a: usize, b: usize) -> bool {
        self.carries(a, b) && self.carries(b, a)
    }

    /// Whether there is more than one side.
    #[must_use]
    pub(crate) fn is_split(&self) -> bool {
        self.sides.iter().any(|&side| side != self.sides[0])
    }

    /// When a message arrives of a stream, which sends again what was lost. `None`: the link is cut.
    pub(crate) fn stream_delivery(
        &self,
        rng: &mut SmallRng,
        now: SimTime,
        from: usize,
        to: usize,
    ) -> Option<SimTime> {
        if !self.carries(from, to) {
            return None;
        }
        let mut sent = now;
        while rng.random_bool(self.loss) {
            sent += SENT_AGAIN_AFTER;
        }
        Some(sent + rng.random_range(self.delay.0..=self.delay.1))
    }

    /// When the copies of a message arrive. Empty: it is lost.
    pub(crate) fn deliveries(
        &self,
        rng: &mut SmallRng,
        now: SimTime,
        from: usize,
        to: usize,
    ) -> Vec<SimTime> {
        if !self.carries(from, to) || rng.random_bool(self.loss) {
            return Vec::new();
        }
        let copies = 1 + usize::from(rng.random_bool(self.duplication));
        (0..copies)
            .map(|_| now + rng.random_range(self.delay.0..=self.delay.1))
            .collect()
    }
}
