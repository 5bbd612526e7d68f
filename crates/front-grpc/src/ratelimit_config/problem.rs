//! What is wrong with a file, and where.

use std::fmt;

/// One thing wrong with a file. Displays as a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// `edge.yaml:12: descriptors[0].rate_limit.unit`, or the file alone.
    pub place: String,
    /// What was found there.
    pub what: String,
    /// What would do. May be empty.
    pub accepted: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        if !self.accepted.is_empty() {
            write!(f, "; accepted: {}", self.accepted)?;
        }
        Ok(())
    }
}
