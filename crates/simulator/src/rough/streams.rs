//! One stream for each pair of hosts, over packets that are lost.

use rand::Rng;
use rand::rngs::SmallRng;

use super::roughness::Roughness;
use super::{MILLIS, SECONDS};
use crate::links::HOSTS;
use crate::oracle::SimTime;

/// Of the transport: a stream ends when nothing of what it sent is acknowledged for so long.
const UNACKNOWLEDGED_MAX: SimTime = 3 * SECONDS;

/// The first time-out of TCP on Linux; each further one is twice as long.
const SENT_AGAIN_AFTER: SimTime = 200 * MILLIS;

/// Shortest and longest way of a packet.
const WAY: std::ops::RangeInclusive<SimTime> = MILLIS / 10..=2 * MILLIS;

/// A connection that does not come about is tried again: a lost SYN costs TCP a second, and the transport waits 1.5 s for
/// it, and up to a second between two attempts.
const DIALLED_AGAIN_AFTER: std::ops::Range<SimTime> = SECONDS..2 * SECONDS + SECONDS / 2;

/// Flights of SYN and handshake.
const FLIGHTS: usize = 5;

/// One end of a stream.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    /// Counts the streams of a pair. What is under way on an earlier one never arrives.
    number: u64,
    is_up: bool,
}

/// What becomes of something that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage {
    /// Of the stream.
    pub(super) number: u64,
    /// When it arrives, if the stream lasts. `None`: not before the stream ends.
    pub(super) arrives: Option<SimTime>,
    /// When its sender ends the stream, since nobody has acknowledged it.
    pub(super) ends: Option<SimTime>,
}

/// The streams of all pairs of hosts. Nobody is connected at first.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pairs: [[Stream; HOSTS]; HOSTS],
    /// Of each direction, the arrival of what was sent last: nothing overtakes it.
    arrivals: [[SimTime; HOSTS]; HOSTS],
}

impl Streams {
    fn pair(&self, a: usize, b: usize) -> &Stream {
        &self.pairs[a.min(b)][a.max(b)]
    }

    /// Whether stream `number` of these two is the one that stands.
    pub(super) fn stands(&self, a: usize, b: usize, number: u64) -> bool {
        let stream = self.pair(a, b);
        stream.is_up && stream.number == number
    }

    pub(super) fn connect(&mut self, now: SimTime, a: usize, b: usize) {
        let stream = &mut self.pairs[a.min(b)][a.max(b)];
        stream.number += 1;
        stream.is_up = true;
        self.arrivals[a][b] = now;
        self.arrivals[b][a] = now;
    }

    pub(super) fn end(&mut self, a: usize, b: usize) {
        self.pairs[a.min(b)][a.max(b)].is_up = false;
    }

    /// Sends something. `None`: they are not connected.
    pub(super) fn send(
        &mut self,
        rng: &mut SmallRng,
        network: &Roughness,
        now: SimTime,
        from: usize,
        to: usize,
    ) -> Option<Passage> {
        let stream = *self.pair(from, to);
        if !stream.is_up {
            return None;
        }
        let gives_up = now + UNACKNOWLEDGED_MAX;
        let (mut sent, mut pause) = (now, SENT_AGAIN_AFTER);
        while sent < gives_up && is_lost(rng, network, sent, from, to) {
            // What follows it tells the receiver that something is missing, more often than not.
            if network.loss(sent, from, to) < 1.0 && rng.random_bool(0.5) {
                sent += rng.random_range(2 * MILLIS..10 * MILLIS);
            } else {
                sent += pause;
                pause *= 2;
            }
        }
        if gives_up <= sent {
            return Some(Passage {
                number: stream.number,
                arrives: None,
                ends: Some(gives_up),
            });
        }
        let way = rng.random_range(WAY) + network.delay(sent, from, to);
        let arrives = (sent + way).max(self.arrivals[from][to]);
        self.arrivals[from][to] = arrives;
        // Acknowledgements are many, and each is for all before it: lost are only all of them.
        let mut back = (arrives..gives_up).step_by((100 * MILLIS) as usize);
        let is_acknowledged = back.any(|at| network.loss(at, to, from) < 1.0);
        Some(Passage {
            number: stream.number,
            arrives: Some(arrives),
            ends: (!is_acknowledged).then_some(gives_up),
        })
    }
}

/// When an attempt to connect ends, and whether it has come about.
pub(super) fn dial(
    rng: &mut SmallRng,
    network: &Roughness,
    now: SimTime,
    a: usize,
    b: usize,
) -> (SimTime, bool) {
    let mut at = now;
    for flight in 0..FLIGHTS {
        let (from, to) = if flight % 2 == 0 { (a, b) } else { (b, a) };
        if is_lost(rng, network, at, from, to) {
            // The SYN and its answer are given up; of what follows, one loss is made good.
            at += SENT_AGAIN_AFTER;
            if flight < 2 || is_lost(rng, network, at, from, to) {
                return (now + rng.random_range(DIALLED_AGAIN_AFTER), false);
            }
        }
        at += rng.random_range(WAY) + network.delay(at, from, to);
    }
    (at, true)
}

fn is_lost(rng: &mut SmallRng, network: &Roughness, at: SimTime, from: usize, to: usize) -> bool {
    rng.random_bool(network.loss(at, from, to))
}
