//! What the network does to a packet, as a function of time.

use std::ops::Range;

use rand::Rng;
use rand::rngs::SmallRng;

use super::{MILLIS, SECONDS};
use crate::links::HOSTS;
use crate::oracle::SimTime;

/// From when until when the network is rough. Before, nodes meet.
pub(super) const BEGINS: SimTime = 8 * SECONDS;
pub(super) const ENDS: SimTime = 34 * SECONDS;

/// Between two turns of a link that flaps: longer than a lease, so that each ends in a takeover.
const FLAP: SimTime = 2 * SECONDS;

/// So many kinds of it.
pub(super) const KINDS: u64 = 9;

/// What is wrong with the network between [`BEGINS`] and [`ENDS`].
#[derive(Debug, Default)]
pub(super) struct Roughness {
    /// Probability that a packet is lost.
    loss: f64,
    /// How much longer the way from one host to another is.
    delays: [[SimTime; HOSTS]; HOSTS],
    /// When one host reaches another not at all.
    outages: [[Vec<Range<SimTime>>; HOSTS]; HOSTS],
}

impl Roughness {
    /// One of [`KINDS`], by the seed.
    pub(super) fn new(seed: u64, hosts: usize, rng: &mut SmallRng) -> Self {
        let mut it = Self::default();
        let kind = seed % KINDS;
        let turn = seed / KINDS;
        it.loss = match kind {
            0 | 5 => [0.01, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6][(turn % 7) as usize],
            8 => [0.05, 0.02][(turn % 2) as usize],
            _ => 0.0,
        };
        let one = rng.random_range(0..hosts);
        let other = (one + rng.random_range(1..hosts)) % hosts;
        let others = (0..hosts).filter(|&host| host != one);
        match kind {
            // A host comes and goes.
            1 => others.for_each(|host| it.flap(&[(one, host), (host, one)])),
            // One direction of one link, or of all of a host.
            2 if rng.random_bool(0.5) => it.flap(&[(one, other)]),
            2 => others.for_each(|host| it.flap(&[(one, host)])),
            3 | 5 => it.flap(&[(one, other), (other, one)]),
            4 => it.split(hosts, rng),
            6 => it.come_and_go(hosts, rng, SECONDS / 5),
            8 => it.come_and_go(hosts, rng, SECONDS),
            7 => {
                it.slow(hosts, rng);
                it.come_and_go(hosts, rng, SECONDS);
            }
            _ => {}
        }
        it
    }

    /// Probability that a packet is lost. 1: nothing passes.
    pub(super) fn loss(&self, at: SimTime, from: usize, to: usize) -> f64 {
        if !(BEGINS..ENDS).contains(&at) {
            return 0.0;
        }
        match self.outages[from][to].iter().any(|it| it.contains(&at)) {
            true => 1.0,
            false => self.loss,
        }
    }

    /// How much longer than on a quiet network a packet is under way.
    pub(super) fn delay(&self, at: SimTime, from: usize, to: usize) -> SimTime {
        match (BEGINS..ENDS).contains(&at) {
            true => self.delays[from][to],
            false => 0,
        }
    }

    /// These directions carry nothing in every other span of [`FLAP`].
    fn flap(&mut self, directions: &[(usize, usize)]) {
        for &(from, to) in directions {
            let begins = (BEGINS..ENDS).step_by(2 * FLAP as usize);
            self.outages[from][to].extend(begins.map(|at| at..at + FLAP));
        }
    }

    /// One split after another, each along another line: many forks of the same keys in a row.
    fn split(&mut self, hosts: usize, rng: &mut SmallRng) {
        let mut at = BEGINS;
        while at < ENDS {
            let lasts = rng.random_range(SECONDS / 2..4 * SECONDS);
            let side = rng.random_range(1..(1_u16 << hosts) - 1);
            let is_aside = |host: usize| side & 1 << host != 0;
            for (from, to) in directions(hosts) {
                if is_aside(from) != is_aside(to) {
                    self.outages[from][to].push(at..at + lasts);
                }
            }
            at += lasts + rng.random_range(SECONDS / 10..3 * SECONDS);
        }
    }

    /// Answers take long: much happens between a promise and what is asked of whoever gave it.
    fn slow(&mut self, hosts: usize, rng: &mut SmallRng) {
        for (from, to) in directions(hosts) {
            self.delays[from][to] = rng.random_range(10 * MILLIS..100 * MILLIS);
        }
    }

    /// Every direction by itself carries nothing for up to some seconds, again and again, and something for `at_least` in between: who
    /// hears whom is another thing all the time, a claim seldom hears from everybody at once, and what one was told another was
    /// not.
    fn come_and_go(&mut self, hosts: usize, rng: &mut SmallRng, at_least: SimTime) {
        for (from, to) in directions(hosts) {
            let mut at = BEGINS + rng.random_range(0..3 * SECONDS);
            while at < ENDS {
                let lasts = rng.random_range(200 * MILLIS..2_500 * MILLIS);
                self.outages[from][to].push(at..at + lasts);
                at += lasts + at_least + rng.random_range(0..4 * SECONDS);
            }
        }
    }
}

fn directions(hosts: usize) -> impl Iterator<Item = (usize, usize)> {
    let all = (0..hosts).flat_map(move |from| (0..hosts).map(move |to| (from, to)));
    all.filter(|(from, to)| from != to)
}
