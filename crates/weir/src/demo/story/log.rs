//! The log that viewers see.

use std::collections::VecDeque;
use std::time::Duration;

/// A line of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    pub(crate) at: Duration,
    pub(crate) speaker: Speaker,
    pub(crate) text: String,
}

/// Whose line it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speaker {
    Demo,
    Node(usize),
}

/// The newest lines.
#[derive(Default, Debug)]
pub(crate) struct Log {
    lines: VecDeque<Line>,
    /// Lines that made room for newer ones.
    dropped: usize,
}

/// Lines kept: more than a screen shows, and than happen between two looks.
const LINES_MAX: usize = 200;

impl Log {
    /// Adds a line.
    pub(crate) fn add(&mut self, at: Duration, speaker: Speaker, text: String) {
        self.lines.push_back(Line { at, speaker, text });
        if LINES_MAX < self.lines.len() {
            self.lines.pop_front();
            self.dropped += 1;
        }
    }

    /// The newest lines, newest last.
    pub(crate) fn last(&self, count: usize) -> impl Iterator<Item = &Line> {
        self.lines
            .iter()
            .skip(self.lines.len().saturating_sub(count))
    }

    /// Lines from number `start` on.
    pub(crate) fn since(&self, start: usize) -> impl Iterator<Item = &Line> {
        self.lines.iter().skip(start.saturating_sub(self.dropped))
    }

    /// The number that the next line will have.
    pub(crate) fn end(&self) -> usize {
        self.dropped + self.lines.len()
    }
}
