//! Lists of what may be too much for one answer.

use std::borrow::Cow;

use axum::http::Uri;
use limiter::{Refusal, parameter};

/// Entries of a page unless asked otherwise, and at most: a thousand with keys of 1 KiB take 1 MiB.
const COUNT: usize = 100;
const COUNT_MAX: usize = 1_000;

/// Which part of a list is asked for.
pub(crate) struct Page<'u> {
    /// The last entry of the page before. `None`: from the beginning.
    pub(crate) after: Option<Cow<'u, str>>,
    /// How many entries.
    pub(crate) count: usize,
}

impl<'u> Page<'u> {
    /// The part that a query asks for by `after` and `count`.
    pub(crate) fn of(uri: &'u Uri) -> Result<Self, Refusal> {
        let query = uri.query().unwrap_or_default();
        let count = match parameter(query, "count")? {
            None => COUNT,
            Some(given) => given
                .parse()
                .ok()
                .filter(|count| (1..=COUNT_MAX).contains(count))
                .ok_or_else(|| Refusal::field("count", &*given, "a whole number from 1 to 1000"))?,
        };
        Ok(Self {
            after: parameter(query, "after")?,
            count,
        })
    }

    /// The entry by which the next page is asked for, of a list that was asked for one entry more than a page has, which
    /// is taken off. `None`: there is no more.
    pub(crate) fn next<T>(
        &self,
        entries: &mut Vec<T>,
        name: impl Fn(&T) -> String,
    ) -> Option<String> {
        if entries.len() <= self.count {
            return None;
        }
        entries.truncate(self.count);
        entries.last().map(name)
    }
}
