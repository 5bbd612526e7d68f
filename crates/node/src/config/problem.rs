//! What is wrong with a configuration, and where: every problem is collected, none ends the search.

use std::fmt;

/// A value with the place it was given at.
#[derive(Clone, Debug)]
pub struct Given<T> {
    /// The value.
    pub value: T,
    /// `weir.toml:14: limit[2].per`, `--http` or `WEIR_HTTP`.
    pub place: String,
}

/// One thing wrong with a configuration. Displays as a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    place: String,
    what: String,
    accepted: String,
}

/// Everything wrong with a configuration, one line each.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Notes that something is wrong at `place`. `what` names the value found, `accepted` what would do.
    pub fn add(&mut self, place: &str, what: impl Into<String>, accepted: impl Into<String>) {
        self.0.push(Problem {
            place: place.to_owned(),
            what: what.into(),
            accepted: accepted.into(),
        });
    }

    /// Notes that the value at `place` is not one of the `accepted`.
    pub fn bad_value(&mut self, given: &Given<String>, accepted: impl Into<String>) {
        self.add(&given.place, format!("found {:?}", given.value), accepted);
    }

    /// The value that `parse` makes of what was given; a problem if it makes none.
    pub fn parse<T>(
        &mut self,
        given: &Given<String>,
        accepted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(&given.value);
        if parsed.is_none() {
            self.bad_value(given, accepted);
        }
        parsed
    }

    /// The value that belongs to the word given; a problem that lists the words if it is none of them.
    pub fn choose<T: Copy>(&mut self, given: &Given<String>, words: &[(&str, T)]) -> Option<T> {
        let chosen = words.iter().find(|(word, _)| *word == given.value);
        if chosen.is_none() {
            let accepted: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            self.bad_value(given, accepted.join(", "));
        }
        chosen.map(|(_, value)| *value)
    }

    /// How many there are so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same as lines, in the order in which they were found.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
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

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if 0 < index {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
