//! Keys: as they come from outside, and as they are counted.

use crate::problem::Problem;

/// Longest key, in bytes.
const KEY_MAX: usize = 1024;
const ACCEPTED: &str = "1 to 1024 bytes of text without NUL";

/// Refuses keys that no counter may have. `field` is where it was given.
pub(crate) fn check(key: &str, field: &'static str) -> Result<(), Problem> {
    if key.is_empty() || KEY_MAX < key.len() || key.contains('\0') {
        return Err(Problem::field(field, key, ACCEPTED));
    }
    Ok(())
}

/// What the key of a route begins with, by how somebody was identified.
const NAME: &str = "name:";
const COOKIE: &str = "cookie:";
const PEER: &str = "peer:";
const BROWSER: &str = "browser:";

/// The key of somebody who gives a name, in a header or in the query: the name itself.
///
/// A name that begins like one of the keys below gets `name:` before it, so that nobody becomes an address or a browser
/// by calling himself so. Every other name is the key that `/v1/check` and `weir reset` know it by.
pub(crate) fn of_name(name: &str) -> String {
    let reserved = [NAME, COOKIE, PEER, BROWSER];
    match reserved.iter().any(|prefix| name.starts_with(prefix)) {
        true => format!("{NAME}{name}"),
        false => name.to_owned(),
    }
}

/// The key of whoever holds a cookie. Its name has no `=`, so that two cookies never share a key.
pub(crate) fn of_cookie(cookie: &str, value: &str) -> String {
    format!("{COOKIE}{cookie}={value}")
}

/// The key of an address, or of a network of them.
pub(crate) fn of_peer(address: &str) -> String {
    format!("{PEER}{address}")
}

/// The key of a browser with an id: hex digits, which no address is.
pub(crate) fn of_browser(id: &str) -> String {
    format!("{BROWSER}{id}")
}

/// The key of a browser without one, by its address and a digest of what it calls itself.
pub(crate) fn of_origin(address: &str, agent: &str) -> String {
    format!("{BROWSER}{address}:{agent}")
}
