//! `/v1/operators` and `/v1/users`: who runs the cluster, and what they do for users.

use accounts::Email;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use limiter::{EMAIL_ACCEPTED, Node, Operator, UserAct, read_email};
use serde::Deserialize;
use serde_json::{Value, json};

use super::read;
use super::team::link_json;
use crate::app::{App, Shared};
use crate::caller::By;
use crate::changed::{self, no_store};
use crate::decided;
use crate::explain::{Field, Kind, Shape};
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    email: String,
}

const GIVEN: Shape = Shape {
    fields: &[Field {
        name: "email",
        required: true,
        kind: Kind::Text,
        accepted: EMAIL_ACCEPTED,
    }],
};

async fn given<N: Node>(app: &App<N>, request: Request) -> Result<Email, Problem> {
    let given: Given = read(app, &GIVEN, request).await?;
    Ok(read_email("email", &given.email)?)
}

/// `GET /v1/operators`
pub(crate) async fn list<N: Node>(State(app): Shared<N>, by: By<N>) -> Result<Response, Problem> {
    let operators = by.caller(&app).operators()?;
    let items: Vec<Value> = operators.iter().map(operator_json).collect();
    Ok(decided::json(json!({ "items": items }).to_string()))
}

/// `POST /v1/operators`
pub(crate) async fn make<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let email = given(&app, request).await?;
    let (id, link) = caller.make_operator(&email).await?;
    let mut json = link_json(&link);
    json["id"] = id.to_string().into();
    json["email"] = email.as_str().into();
    Ok(no_store(changed::created(&link.changed, &json)))
}

/// `DELETE /v1/operators/{id}`, by id or address.
pub(crate) async fn remove<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    Path(called): Path<String>,
) -> Result<Response, Problem> {
    let changed = by.caller(&app).remove_operator(&called).await?;
    Ok(changed::removed(&changed))
}

/// `POST /v1/users/reset-link`
pub(crate) async fn reset_link<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let email = given(&app, request).await?;
    let link = caller.user_reset_link(&email).await?;
    Ok(no_store(changed::created(&link.changed, &link_json(&link))))
}

/// `POST /v1/users/end-sessions`
pub(crate) async fn end_sessions<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    act(&app, by, request, UserAct::EndSessions).await
}

/// `POST /v1/users/disable`
pub(crate) async fn disable<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    act(&app, by, request, UserAct::Disable).await
}

/// `POST /v1/users/enable`
pub(crate) async fn enable<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    act(&app, by, request, UserAct::Enable).await
}

async fn act<N: Node>(
    app: &App<N>,
    by: By<N>,
    request: Request,
    act: UserAct,
) -> Result<Response, Problem> {
    let caller = by.caller(app);
    let email = given(app, request).await?;
    let changed = caller.act_on_user(&email, act).await?;
    Ok(changed::removed(&changed))
}

fn operator_json(operator: &Operator) -> Value {
    json!({
        "id": operator.id.to_string(),
        "email": operator.user.email.get().as_str(),
        "created_at": operator.since.to_string(),
    })
}
