//! How long the dead node's keys had nobody to decide.

use std::time::Duration;

/// A takeover, timed.
#[derive(Debug)]
pub(crate) struct Takeover {
    killed_at: Duration,
    /// What was sent before may have been answered by the node as it died. `None`: not dead yet.
    dead_at: Option<Duration>,
    /// The dead node's keys, and for each the time from the kill to the first answer of another node.
    keys: Vec<(usize, Option<Duration>)>,
}

impl Takeover {
    /// The takeover of these keys, whose owner is about to be killed.
    pub(crate) fn new(keys: &[usize]) -> Self {
        Self {
            killed_at: Duration::MAX,
            dead_at: None,
            keys: keys.iter().map(|&key| (key, None)).collect(),
        }
    }

    /// The owner was killed at `killed_at`, and at `dead_at` its process was no more.
    pub(crate) fn on_killed(&mut self, killed_at: Duration, dead_at: Duration) {
        self.killed_at = killed_at;
        self.dead_at = Some(dead_at);
    }

    /// A hit was answered.
    pub(crate) fn on_answered(&mut self, key: usize, sent_at: Duration, took: Duration) {
        if self.dead_at.is_none_or(|dead_at| sent_at < dead_at) {
            return;
        }
        let waited = (sent_at + took).saturating_sub(self.killed_at);
        for (_, first) in self.keys.iter_mut().filter(|(lost, _)| *lost == key) {
            *first = Some(first.map_or(waited, |first| first.min(waited)));
        }
    }

    /// Whether a hit sent then may have met the node alive.
    pub(crate) fn was_alive(&self, at: Duration) -> bool {
        self.dead_at.is_none_or(|dead_at| at <= dead_at)
    }

    /// The dead node's keys.
    pub(crate) fn keys(&self) -> Vec<usize> {
        self.keys.iter().map(|&(key, _)| key).collect()
    }

    /// Time from the kill to the first answer for any of the dead node's keys.
    pub(crate) fn first(&self) -> Option<Duration> {
        self.keys.iter().filter_map(|&(_, first)| first).min()
    }

    /// Time from the kill until each of the dead node's keys had been answered for.
    pub(crate) fn all(&self) -> Option<Duration> {
        let each: Option<Vec<Duration>> = self.keys.iter().map(|&(_, first)| first).collect();
        each?.into_iter().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hits_sent_after_the_death_count() {
        let at = Duration::from_millis;
        let mut takeover = Takeover::new(&[3, 5]);
        takeover.on_answered(3, at(90), at(5));
        takeover.on_killed(at(100), at(102));
        takeover.on_answered(3, at(101), at(50));
        takeover.on_answered(4, at(103), at(1));
        assert_eq!((takeover.first(), takeover.all()), (None, None));
        takeover.on_answered(3, at(103), at(37));
        takeover.on_answered(3, at(110), at(35));
        assert_eq!((takeover.first(), takeover.all()), (Some(at(40)), None));
        takeover.on_answered(5, at(102), at(58));
        assert_eq!(
            (takeover.first(), takeover.all()),
            (Some(at(40)), Some(at(60)))
        );
    }
}
