//! Whether what clients saw of a key is linearizable.
//!
//! The checker is our own, after Wing and Gong with Lowe's memory of what was tried, as Porcupine has it: `stateright`'s
//! tester tries every order anew, which takes too long for hundreds of operations of which some never returned.

use std::collections::HashSet;

use crate::oracle::SimTime;

/// Steps tried before the search is given up. In what clients of a sound group see, hardly one must be taken back.
const TRIED_MAX: usize = 100_000;

/// What a client did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    Hit(u32),
    Peek,
    Refund(u32),
    Reset,
}

/// What it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// Whether it was admitted, and the units left after it.
    Answer(bool, u32),
    Done,
    /// It may have happened, also later.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Event {
    pub(super) op: Op,
    pub(super) told: Told,
    pub(super) invoked: SimTime,
    /// Before anything that was invoked later took effect; never for one that is unknown.
    pub(super) returned: Option<SimTime>,
}

/// Why a history is not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// No order explains it.
    NoOrder,
    /// No order was found among very many.
    TooManyOrders,
}

/// A counter up to `limit`: what a fixed window of a day is while no day passes.
#[derive(Clone, Copy)]
pub(super) struct Model {
    pub(super) limit: u32,
}

impl Model {
    /// The units used after `op`, if that may be told when `used` were before.
    fn step(self, used: u32, op: Op, told: Told) -> Option<u32> {
        let (after, admitted) = match op {
            Op::Hit(cost) if used + cost <= self.limit => (used + cost, true),
            Op::Hit(_) => (used, false),
            Op::Peek => (used, used < self.limit),
            Op::Refund(cost) => {
                let after = used.saturating_sub(cost);
                (after, after < self.limit)
            }
            Op::Reset => (0, true),
        };
        let is_told = match told {
            Told::Answer(said, left) => said == admitted && left == self.limit - after,
            Told::Done | Told::Unknown => true,
        };
        is_told.then_some(after)
    }

    /// Whether there is an order of the events that the model can follow, in which none comes before one that had
    /// returned when it was invoked. Events that are unknown may come anywhere after their invocation, or not at all.
    pub(super) fn check(self, history: &[Event]) -> Result<(), Refusal> {
        let mut events = history.to_vec();
        events.sort_by_key(|event| event.invoked);
        let returned = events.iter().filter(|event| event.returned.is_some());
        let mut search = Search {
            model: self,
            done: vec![false; events.len()],
            left: returned.count(),
            tried: HashSet::new(),
            events,
        };
        if search.from(0) {
            return Ok(());
        }
        Err(if search.tried.len() < TRIED_MAX {
            Refusal::NoOrder
        } else {
            Refusal::TooManyOrders
        })
    }
}

struct Search {
    model: Model,
    events: Vec<Event>,
    done: Vec<bool>,
    /// Events that returned and have no place yet.
    left: usize,
    tried: HashSet<(Vec<bool>, u32)>,
}

impl Search {
    fn from(&mut self, used: u32) -> bool {
        if self.left == 0 {
            return true;
        }
        if self.tried.len() == TRIED_MAX || !self.tried.insert((self.done.clone(), used)) {
            return false;
        }
        // The next one must have been invoked before the first of the others returned.
        let open = self.events.iter().zip(&self.done);
        let open = open.filter(|(_, done)| !**done);
        let first_return = open.filter_map(|(event, _)| event.returned).min();
        for place in 0..self.events.len() {
            let event = self.events[place];
            if first_return.is_some_and(|first| first < event.invoked) {
                break;
            }
            if self.done[place] {
                continue;
            }
            let Some(after) = self.model.step(used, event.op, event.told) else {
                continue;
            };
            let counts = usize::from(event.returned.is_some());
            self.done[place] = true;
            self.left -= counts;
            if self.from(after) {
                return true;
            }
            self.done[place] = false;
            self.left += counts;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YES: Told = Told::Answer(true, 0);
    const NO: Told = Told::Answer(false, 0);
    const HIT: Op = Op::Hit(1);

    fn event(op: Op, told: Told, invoked: SimTime, returned: SimTime) -> Event {
        Event {
            op,
            told,
            invoked,
            returned: (told != Told::Unknown).then_some(returned),
        }
    }

    #[track_caller]
    fn check(history: &[Event], is_accepted: bool) {
        let found = Model { limit: 1 }.check(history);
        let expected = is_accepted.then_some(()).ok_or(Refusal::NoOrder);
        assert_eq!(found, expected, "{history:#?}");
    }

    #[test]
    fn of_two_at_once_either_may_be_the_first() {
        check(&[event(HIT, NO, 0, 10), event(HIT, YES, 5, 15)], true);
        check(&[event(HIT, NO, 0, 10), event(HIT, YES, 11, 15)], false);
        check(&[event(HIT, YES, 0, 10), event(HIT, YES, 5, 15)], false);
    }

    #[test]
    fn an_answer_that_is_out_of_date_is_refused() {
        let fresh = event(Op::Peek, Told::Answer(true, 1), 11, 12);
        check(&[event(HIT, YES, 0, 10), fresh], false);
    }

    #[test]
    fn what_is_unknown_may_have_happened_or_not_or_later_but_not_before_it_was_asked() {
        let lost = event(HIT, Told::Unknown, 0, 0);
        check(&[lost, event(HIT, NO, 5, 10)], true);
        check(&[lost, event(HIT, YES, 5, 10)], true);
        let peek = event(Op::Peek, Told::Answer(true, 1), 5, 6);
        check(&[lost, peek, event(HIT, NO, 7, 9)], true);
        let later = event(HIT, Told::Unknown, 20, 0);
        check(&[event(HIT, NO, 5, 10), later], false);
    }

    #[test]
    fn a_refund_and_a_reset_make_room() {
        let full = event(HIT, YES, 0, 1);
        let refund = event(Op::Refund(1), Told::Answer(true, 1), 2, 3);
        check(&[full, refund, event(HIT, YES, 4, 5)], true);
        let reset = event(Op::Reset, Told::Done, 2, 3);
        check(&[full, reset, event(HIT, YES, 4, 5)], true);
        check(&[full, reset, event(HIT, NO, 4, 5)], false);
    }
}
