//! What the network does to a packet, as a function of time.

use rand::Rng;
use rand::rngs::SmallRng;

use super::SECONDS;
use crate::links::Links;
use crate::oracle::SimTime;

/// From when until when the network is rough. Before, nodes meet.
pub(super) const BEGINS: SimTime = 8 * SECONDS;
pub(super) const ENDS: SimTime = 34 * SECONDS;

/// Between two turns of a link that flaps: longer than a lease, so that each ends in a takeover.
const FLAP: SimTime = 2 * SECONDS;

/// What is wrong with the network between [`BEGINS`] and [`ENDS`].
#[derive(Debug, Default)]
pub(super) struct Roughness {
    /// Probability that a packet is lost.
    loss: f64,
    /// Links that carry nothing in every other span of [`FLAP`].
    flapping: Links,
    /// Spans in which the hosts of a set reach nobody outside of it, and nobody them: bit n for host n.
    splits: Vec<(SimTime, SimTime, u16)>,
}

impl Roughness {
    /// One of six kinds, by the seed.
    pub(super) fn new(seed: u64, hosts: usize, rng: &mut SmallRng) -> Self {
        let mut it = Self::default();
        let kind = seed % 6;
        if matches!(kind, 0 | 5) {
            it.loss = [0.01, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6][(seed / 6 % 7) as usize];
        }
        let one = rng.random_range(0..hosts);
        let other = (one + rng.random_range(1..hosts)) % hosts;
        match kind {
            // A host comes and goes.
            1 => {
                for host in (0..hosts).filter(|&host| host != one) {
                    it.flapping = it.flapping.with(one, host).with(host, one);
                }
            }
            // One direction of one link, or of all of a host.
            2 if rng.random_bool(0.5) => it.flapping = Links::NONE.with(one, other),
            2 => {
                for host in (0..hosts).filter(|&host| host != one) {
                    it.flapping = it.flapping.with(one, host);
                }
            }
            3 => it.flapping = Links::NONE.with(one, other).with(other, one),
            4 => it.splits = splits(hosts, rng),
            5 => it.flapping = Links::NONE.with(one, other).with(other, one),
            _ => {}
        }
        it
    }

    /// Probability that a packet is lost. 1: nothing passes.
    pub(super) fn loss(&self, at: SimTime, from: usize, to: usize) -> f64 {
        if !(BEGINS..ENDS).contains(&at) {
            return 0.0;
        }
        let is_off = ((at - BEGINS) / FLAP).is_multiple_of(2);
        let side = |hosts: u16, host: usize| hosts & 1 << host;
        let parts = |&(begins, ends, hosts): &(SimTime, SimTime, u16)| {
            (begins..ends).contains(&at) && (side(hosts, from) == 0) != (side(hosts, to) == 0)
        };
        if is_off && self.flapping.contains(from, to) || self.splits.iter().any(parts) {
            return 1.0;
        }
        self.loss
    }
}

/// One split after another, each along another line: many forks of the same keys in a row.
fn splits(hosts: usize, rng: &mut SmallRng) -> Vec<(SimTime, SimTime, u16)> {
    let mut splits = Vec::new();
    let mut at = BEGINS;
    while at < ENDS {
        let lasts = rng.random_range(SECONDS / 2..4 * SECONDS);
        let side = rng.random_range(1..(1_u16 << hosts) - 1);
        splits.push((at, at + lasts, side));
        at += lasts + rng.random_range(SECONDS / 10..3 * SECONDS);
    }
    splits
}
