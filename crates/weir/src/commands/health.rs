//! `weir health`: for whoever has to decide whether a node gets traffic, or is started again.

use std::process::ExitCode;

use super::{Outcome, plain};
use crate::api::{Api, ApiError};
use crate::cli::HealthArgs;

/// Says what `/ready` says. Exit 0 when that is `ready`, else 1.
///
/// # Errors
///
/// When the node cannot be asked.
pub(crate) fn health(args: &HealthArgs) -> Result<Outcome, ApiError> {
    let api = Api::new(&args.api)?;
    let answer = api.get("/ready")?;
    let readiness = api.expect(&answer, &[200, 503])?;
    let exit = match answer.status {
        200 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    };
    let text = format!("{}\n", plain(&readiness["status"]));
    Ok(Outcome { text, exit })
}
