//! `weir reset`: a key starts anew.

use super::Outcome;
use crate::api::{Api, ApiError, segment};
use crate::cli::KeyArgs;

/// Forgets what a limit counted of a key.
///
/// # Errors
///
/// When there is no such limit, or the node cannot be asked or does not do it.
pub(crate) fn reset(args: &KeyArgs) -> Result<Outcome, ApiError> {
    let api = Api::new(&args.api)?;
    let (limit, key) = (segment(&args.limit), segment(&args.key));
    let answer = api.delete(&format!("/v1/keys/{limit}/{key}"))?;
    api.expect(&answer, &[204])?;
    Ok(Outcome::success(format!(
        "{} starts anew under {}\n",
        args.key, args.limit
    )))
}
