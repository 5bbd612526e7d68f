//! Keys as they come from outside.

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
