//! How often something happens, lately.

use std::collections::VecDeque;
use std::time::Duration;

/// Counts in slots of a quarter of a second, of the last minute.
#[derive(Default, Debug)]
pub(crate) struct Meter {
    /// Newest last: number of the slot since the start, and events in it. Slots without any may be absent.
    slots: VecDeque<(u64, u64)>,
}

const SLOT: Duration = Duration::from_millis(250);
const SLOTS_A_SECOND: u64 = 4;
/// A minute, which the demo does not outlast.
const SLOTS_MAX: usize = 240;

impl Meter {
    /// Something happened. `now` never goes back.
    pub(crate) fn count(&mut self, now: Duration) {
        let slot = slot_of(now);
        match self.slots.back_mut() {
            Some((newest, count)) if *newest == slot => *count += 1,
            _ => self.slots.push_back((slot, 1)),
        }
        if SLOTS_MAX < self.slots.len() {
            self.slots.pop_front();
        }
    }

    /// Events in the last second of whole slots.
    pub(crate) fn per_second(&self, now: Duration) -> u64 {
        let end = slot_of(now);
        self.between(end.saturating_sub(SLOTS_A_SECOND), end)
    }

    /// Events in each of the last whole slots, oldest first.
    pub(crate) fn history(&self, now: Duration, slots: u64) -> Vec<u64> {
        let end = slot_of(now);
        (end.saturating_sub(slots)..end)
            .map(|slot| self.between(slot, slot + 1))
            .collect()
    }

    fn between(&self, start: u64, end: u64) -> u64 {
        let newest_first = self.slots.iter().rev();
        newest_first
            .skip_while(|&&(slot, _)| end <= slot)
            .take_while(|&&(slot, _)| start <= slot)
            .map(|&(_, count)| count)
            .sum()
    }
}

fn slot_of(now: Duration) -> u64 {
    u64::try_from(now.as_millis() / SLOT.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_whole_second() {
        let mut meter = Meter::default();
        let at = Duration::from_millis;
        for ms in [0, 100, 600, 1_100, 1_300] {
            meter.count(at(ms));
        }
        assert_eq!(meter.per_second(at(1_000)), 3);
        assert_eq!(
            meter.per_second(at(1_300)),
            2,
            "the slot at 1.25 s is not over"
        );
        assert_eq!(meter.per_second(at(1_500)), 3);
        assert_eq!(meter.per_second(at(9_000)), 0);
        assert_eq!(meter.history(at(1_500), 6), [2, 0, 1, 0, 1, 1]);
    }
}
