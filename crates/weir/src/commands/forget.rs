//! `weir forget`: a dead member that will not come back.

use super::Outcome;
use crate::api::{Api, ApiError, segment};
use crate::cli::ForgetArgs;

/// Has the cluster forget a dead member.
///
/// # Errors
///
/// When there is no such member, when it lives, or the node cannot be asked.
pub(crate) fn forget(args: &ForgetArgs) -> Result<Outcome, ApiError> {
    let api = Api::new(&args.api)?;
    let answer = api.delete(&format!("/v1/members/{}", segment(&args.name)))?;
    api.expect(&answer, &[204])?;
    Ok(Outcome::success(format!("{} is forgotten\n", args.name)))
}
