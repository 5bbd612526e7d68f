//! `/rate/increment` and `/rate/check`: one limit for all clients, told by `client_id`.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use limiter::Node;
use quota::Cost;

use crate::app::Shared;
use crate::caller::By;
use crate::decided;
use crate::parameters::key_parameter;
use crate::problem::Problem;

/// `POST /rate/increment`
pub(crate) async fn increment<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<Response, Problem> {
    let key = key_parameter(&uri, "client_id")?;
    let limiter = by.limiter(&app);
    let limit = app.rate_limit(limiter)?;
    let answer = limiter.hit(&limit, &key, Cost::ONE).await?;
    Ok(decided::json(match answer.decision.is_allowed() {
        true => r#"{"result":true}"#,
        false => r#"{"result":false}"#,
    }))
}

/// `GET /rate/check`
pub(crate) async fn check<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<Response, Problem> {
    let key = key_parameter(&uri, "client_id")?;
    let limiter = by.limiter(&app);
    let limit = app.rate_limit(limiter)?;
    let answer = limiter.hit(&limit, &key, Cost::PEEK).await?;
    let decision = answer.decision;
    let (remaining, result) = (decision.remaining, decision.is_allowed());
    Ok(decided::json(format!(
        r#"{{"remaining_quota":{remaining},"result":{result}}}"#
    )))
}
