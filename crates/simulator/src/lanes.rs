//! Links that carry so many bytes a second, with the queues before them.

use std::collections::BTreeMap;

use shard::Message;

use crate::node::Payload;
use crate::oracle::SimTime;

/// Bytes that a kernel holds unsent; what it holds nothing overtakes. As the transport has it.
const UNSENT_BYTES: SimTime = 128 * 1024;

/// What a key weighs in a copy. A simulated shard has three keys where a real one has hundreds: each stands for as many.
const COPIED_KEY_BYTES: usize = 20_000;

/// What a key weighs anywhere else.
const KEY_BYTES: usize = 60;

/// What a message weighs without its keys.
const MESSAGE_BYTES: usize = 60;

/// The lane of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lane {
    /// Everything that somebody waits for.
    Hits,
    /// Leaves when nothing else waits.
    Copies,
}

/// The lane of a message, and its bytes.
pub(crate) fn weight(payload: &Payload) -> (Lane, usize) {
    let copied = |keys: usize| (Lane::Copies, MESSAGE_BYTES + keys * COPIED_KEY_BYTES);
    match payload {
        Payload::Shard(_, Message::Copy { piece, .. } | Message::Answer { piece, .. }) => {
            copied(piece.cells.len())
        }
        Payload::Shard(_, Message::State { cells, .. }) => copied(cells.len()),
        Payload::Shard(_, Message::Delta { cells, .. }) => {
            (Lane::Hits, MESSAGE_BYTES + cells.len() * KEY_BYTES)
        }
        _ => (Lane::Hits, MESSAGE_BYTES),
    }
}

/// When the one direction of a link is free again.
#[derive(Clone, Copy, Default, Debug)]
struct Direction {
    hits: SimTime,
    copies: SimTime,
}

/// Every direction of every link, all equally wide.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// Bytes a second. `None`: no link is ever the narrow one.
    rate: Option<u64>,
    directions: BTreeMap<(usize, usize), Direction>,
}

impl Lanes {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Self {
            rate,
            directions: BTreeMap::new(),
        }
    }

    /// When the last byte of a message, sent now, has left.
    ///
    /// Copies wait for all before them. Hits overtake them, but for what the kernel holds already.
    pub(crate) fn carry(
        &mut self,
        now: SimTime,
        (from, to): (usize, usize),
        lane: Lane,
        bytes: usize,
    ) -> SimTime {
        let Some(rate) = self.rate else { return now };
        let nanos = |bytes: SimTime| bytes * 1_000_000_000 / rate;
        let takes = nanos(bytes as SimTime);
        let direction = self.directions.entry((from, to)).or_default();
        let start = now.max(direction.hits);
        match lane {
            Lane::Hits => {
                let held_by_kernel = direction.copies.min(now + nanos(UNSENT_BYTES));
                direction.hits = start.max(held_by_kernel) + takes;
                direction.hits
            }
            Lane::Copies => {
                direction.copies = start.max(direction.copies) + takes;
                direction.copies
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAY: (usize, usize) = (0, 1);
    const SECOND: SimTime = 1_000_000_000;

    #[test]
    fn a_hit_waits_behind_what_the_kernel_holds_of_copies_and_a_copy_behind_everything() {
        let mut lanes = Lanes::new(Some(1_000_000));
        assert_eq!(lanes.carry(0, WAY, Lane::Copies, 2_000_000), 2 * SECOND);
        assert_eq!(
            lanes.carry(0, (1, 0), Lane::Hits, 1_000),
            SECOND / 1_000,
            "the other way is free"
        );
        let unsent = UNSENT_BYTES * 1_000;
        assert_eq!(
            lanes.carry(0, WAY, Lane::Hits, 1_000),
            unsent + SECOND / 1_000
        );
        assert_eq!(lanes.carry(0, WAY, Lane::Copies, 1_000_000), 3 * SECOND);
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        assert_eq!(Lanes::new(None).carry(7, WAY, Lane::Copies, 1 << 30), 7);
    }
}
