//! Spans of time in a file, as [`limiter::span`] reads them.

use std::time::Duration;

/// What [`parse`] understands. How long a span may be is said where one is bounded.
pub const ACCEPTED: &str = "a whole number and ms, s, m, h or d, such as \"250ms\" or \"1m\"";

/// Reads `250ms`, `1m` or `30d`. `None` for anything else.
pub fn parse(text: &str) -> Option<Duration> {
    limiter::span::parse(text).map(Duration::from)
}
