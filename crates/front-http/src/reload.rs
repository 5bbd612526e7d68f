//! `/v1/reload`: the file of the node, read again.

use axum::extract::State;
use axum::response::Response;
use limiter::{Node, Refusal};
use serde_json::json;

use crate::app::Shared;
use crate::decided;
use crate::memory::ANSWER_BYTES;
use crate::problem::Problem;

/// `POST /v1/reload`
pub(crate) async fn reload<N: Node>(State(app): Shared<N>) -> Result<Response, Problem> {
    let room = app.answers.room(ANSWER_BYTES)?;
    match app.limiter.node().reload().await {
        Ok(changes) => {
            let json = json!({ "changes": changes });
            Ok(decided::json(room.keep(json.to_string())))
        }
        Err(error) => Err(Problem::from(Refusal::from(&error)).with_problems(error.lines())),
    }
}
