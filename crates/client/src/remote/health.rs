//! Which nodes are asked first: those that have not just failed.

use std::time::{Duration, Instant};

/// How long a node is passed over after its first failure in a row: some hundred decisions go elsewhere meanwhile, and a
/// node that only closed a connection is back at once. Each further one doubles it.
const EJECTED_FIRST: Duration = Duration::from_millis(250);

/// The longest. Then one question in ten seconds finds out whether the node is back.
const EJECTED_MAX: Duration = Duration::from_secs(10);

/// What is believed of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Health {
    failures: u32,
    ejected_until: Option<Instant>,
}

impl Health {
    /// It answered.
    pub(crate) fn on_answer(&mut self) {
        *self = Self::default();
    }

    /// It could not be reached, was silent, or said something that no node says.
    pub(crate) fn on_failure(&mut self, now: Instant) {
        // Beyond ten doublings the longest has been reached.
        let span = (EJECTED_FIRST * (1 << self.failures.min(10))).min(EJECTED_MAX);
        self.failures = self.failures.saturating_add(1);
        self.ejected_until = Some(now + span);
    }

    /// Whether others are to be asked first.
    pub(crate) fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_until.is_some_and(|until| now < until)
    }
}

/// The order in which `nodes` are asked: in turn from `first`, those that are ejected last. All of them: when all are
/// ejected, one may have come back.
pub(crate) fn order(nodes: &[Health], first: usize, now: Instant) -> Vec<usize> {
    let count = nodes.len();
    let in_turn = (0..count).map(|step| (first % count + step) % count);
    let (last, mut order): (Vec<_>, Vec<_>) =
        in_turn.partition(|&place| nodes[place].is_ejected(now));
    order.extend(last);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_fails_again_and_again_is_passed_over_for_longer() {
        let start = Instant::now();
        let mut health = Health::default();
        for millis in [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            health.on_failure(start);
            let until = start + Duration::from_millis(millis);
            assert!(health.is_ejected(until - Duration::from_nanos(1)));
            assert!(!health.is_ejected(until), "{millis}");
        }
        health.on_answer();
        assert_eq!(health, Health::default());
    }

    #[test]
    fn all_are_asked_in_turn_and_those_that_failed_last() {
        let now = Instant::now();
        let mut nodes = [Health::default(); 3];
        assert_eq!(order(&nodes, 4, now), [1, 2, 0]);
        nodes[1].on_failure(now);
        assert_eq!(order(&nodes, 4, now), [2, 0, 1]);
        nodes.iter_mut().for_each(|node| node.on_failure(now));
        assert_eq!(order(&nodes, 2, now), [2, 0, 1]);
    }
}
