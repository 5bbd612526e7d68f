//! One request to a program of one's own, behind a layer that asks the node in it, beside the same program without one.

use anyhow::Result;

use super::http::{Contender, load_in_turn, path_request, report};
use crate::server::Server;

pub(crate) fn measure() -> Result<String> {
    let (layered, bare) = (Server::axum_layer(true)?, Server::axum_layer(false)?);
    let mut contenders = [
        Contender::new("axum behind **Weir**'s layer", &layered, path_request, true),
        Contender::new("axum alone", &bare, path_request, false),
    ];
    load_in_turn(&mut contenders)?;
    Ok(report(&contenders))
}
