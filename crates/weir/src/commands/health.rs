//! `weir health`: for whoever has to decide whether a node gets traffic, or is started again.

use std::process::ExitCode;

use super::Outcome;
use crate::api::{Api, ApiError};
use crate::cli::HealthArgs;

/// Exit 0 when `/ready` says `ready`, else 1, also where nobody answers. Says nothing.
///
/// # Errors
///
/// When the node cannot be asked so: by an address that is none.
pub(crate) fn health(args: &HealthArgs) -> Result<Outcome, ApiError> {
    let answer = Api::new(&args.api)?.get("/ready");
    let exit = match answer.is_ok_and(|answer| answer.status == 200) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    };
    let text = String::new();
    Ok(Outcome { text, exit })
}
