//! An HTTP server that parses a check and answers it without deciding anything: the floor under every limiter that
//! speaks JSON over axum.

use axum::{Json, Router, routing};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Check {
    limit: String,
    key: String,
    cost: Option<u32>,
}

#[derive(Serialize)]
struct Answer {
    allowed: bool,
    limit: u32,
    remaining: u32,
    retry_after_ms: Option<u64>,
    reset_after_ms: u64,
}

async fn check(Json(check): Json<Check>) -> Json<Answer> {
    // What is read must be used, or the compiler leaves the reading out.
    let read = check.limit.len() + check.key.len();
    Json(Answer {
        allowed: read != 0,
        limit: 10,
        remaining: check.cost.unwrap_or(1),
        retry_after_ms: None,
        reset_after_ms: 6_000,
    })
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(
        listener,
        Router::new().route("/v1/check", routing::post(check)),
    )
    .await
}
