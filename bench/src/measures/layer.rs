//! One request to a program of one's own, behind a layer that asks the node in it, beside the same program without one.

use anyhow::Result;

use super::http::{Contender, load_in_turn, report};
use crate::server::Server;
use crate::wrk::Request;

fn request(key: &str, admit: bool) -> Request {
    let path = format!("/{}?key={key}", if admit { "admit" } else { "deny" });
    Request {
        method: "GET",
        path,
        body: String::new(),
    }
}

pub(crate) fn measure() -> Result<String> {
    let (layered, bare) = (Server::axum_layer(true)?, Server::axum_layer(false)?);
    let mut contenders = [
        Contender::new("axum behind **Weir**'s layer", &layered, request, true),
        Contender::new("axum alone", &bare, request, false),
    ];
    load_in_turn(&mut contenders)?;
    Ok(report(&contenders))
}
