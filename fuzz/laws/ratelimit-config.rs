//! Files of envoyproxy/ratelimit.

use front_grpc::{Rules, ratelimit_config};

/// A file is read, or all that is wrong with it is told, the same each time.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (mut rules, mut problems) = (Rules::default(), Vec::new());
    ratelimit_config::read("file", text, &mut rules, &mut problems);
    let mut again = Vec::new();
    match problems.is_empty() {
        // A domain is told in one place.
        true => {
            ratelimit_config::read("other", text, &mut rules, &mut again);
            assert_eq!(again.len(), 1, "{again:?}");
        }
        false => {
            ratelimit_config::read("file", text, &mut Rules::default(), &mut again);
            assert_eq!(problems, again);
        }
    }
}
