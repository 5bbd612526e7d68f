//! `/v1/api-keys`.

use accounts::{ApiKey, ApiKeyId, NAME_ACCEPTED, SCOPES_ACCEPTED, Scope, Scopes, UnixSecs};
use axum::extract::{Path, Request, State};
use axum::http::Uri;
use axum::response::Response;
use limiter::{
    ApiKeyChange, EXPIRES_ACCEPTED, NewApiKey, Node, OVERLAP_ACCEPTED, OVERLAP_MAX, Refusal, span,
};
use quota::Nanos;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{nullable, read};
use crate::app::Shared;
use crate::caller::By;
use crate::changed;
use crate::decided;
use crate::explain::{Field, Kind, Shape};
use crate::memory::ANSWER_BYTES;
use crate::page::Page;
use crate::problem::Problem;

const LIST_ACCEPTED: &str =
    "an array of check, adjust, limits.read, limits.write, usage.read, keys.read and keys.write";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    name: String,
    #[serde(default)]
    scopes: Option<Vec<Value>>,
    #[serde(default)]
    expires_at: Option<String>,
}

const NAME: Field = Field {
    name: "name",
    required: false,
    kind: Kind::Text,
    accepted: NAME_ACCEPTED,
};
const SCOPES: Field = Field {
    name: "scopes",
    required: false,
    kind: Kind::Array,
    accepted: LIST_ACCEPTED,
};
const EXPIRES_AT: Field = Field {
    name: "expires_at",
    required: false,
    kind: Kind::Nullable(&Kind::Text),
    accepted: EXPIRES_ACCEPTED,
};

const GIVEN: Shape = Shape {
    fields: &[
        Field {
            required: true,
            ..NAME
        },
        SCOPES,
        EXPIRES_AT,
    ],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    scopes: Option<Vec<Value>>,
    #[serde(default, deserialize_with = "nullable")]
    expires_at: Option<Option<String>>,
}

const CHANGE: Shape = Shape {
    fields: &[NAME, SCOPES, EXPIRES_AT],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    #[serde(default)]
    overlap: Option<String>,
}

const ROTATE: Shape = Shape {
    fields: &[Field {
        name: "overlap",
        required: false,
        kind: Kind::Text,
        accepted: OVERLAP_ACCEPTED,
    }],
};

/// The overlap of who asks for none.
const OVERLAP_DEFAULT: &str = "24h";

/// `GET /v1/api-keys`
pub(crate) async fn list<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let page = Page::of(&uri)?;
    caller.needs_tenant()?;
    let room = app.answers.room(ANSWER_BYTES)?;
    let mut keys = caller.api_keys(page.after.as_deref(), page.count + 1);
    let next = page.next(&mut keys, |(id, _)| id.to_string());
    let items = keys.iter().map(|(id, key)| key_json(*id, key));
    let json = json!({ "items": items.collect::<Vec<_>>(), "next": next });
    Ok(decided::json(room.keep(json.to_string())))
}

/// `POST /v1/api-keys`
pub(crate) async fn make<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let given: Given = read(&app, &GIVEN, request).await?;
    let scopes = match &given.scopes {
        Some(scopes) => self::scopes(scopes)?,
        None => [Scope::Check].into_iter().collect(),
    };
    let expires_at = given.expires_at.as_deref().map(time).transpose()?;
    let made = caller.make_api_key(&given.name, scopes, expires_at).await?;
    Ok(shown_once(&made, new_json(&made)))
}

/// `GET /v1/api-keys/{id}`
pub(crate) async fn get<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let (id, key) = caller.api_key(&id)?;
    Ok(decided::json(key_json(id, &key).to_string()))
}

/// `PATCH /v1/api-keys/{id}`
pub(crate) async fn change<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let (_, known) = caller.api_key(&id)?;
    let given: Change = read(&app, &CHANGE, request).await?;
    let expires_at = match given.expires_at {
        Some(Some(at)) => Some(time(&at)?),
        // To expire never is to expire later.
        Some(None) if known.expires_at.is_some() => Some(UnixSecs::new(u64::MAX)),
        Some(None) | None => None,
    };
    let change = ApiKeyChange {
        name: given.name,
        scopes: given.scopes.as_deref().map(scopes).transpose()?,
        expires_at,
    };
    let (id, key, changed) = caller.change_api_key(&id, change).await?;
    Ok(changed::changed(&changed, &key_json(id, &key)))
}

/// `POST /v1/api-keys/{id}/rotate`
pub(crate) async fn rotate<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    caller.api_key(&id)?;
    let given: Rotate = read(&app, &ROTATE, request).await?;
    let overlap = given.overlap.as_deref().unwrap_or(OVERLAP_DEFAULT);
    let seconds = match overlap {
        "0s" => 0,
        _ => {
            let refused = || Refusal::field("overlap", overlap, OVERLAP_ACCEPTED);
            let seconds = span::parse(overlap).map(Nanos::ceil_secs);
            seconds
                .filter(|&seconds| seconds <= OVERLAP_MAX)
                .ok_or_else(refused)?
        }
    };
    let rotated = caller.rotate_api_key(&id, seconds).await?;
    let mut json = new_json(&rotated.new);
    json["old"] = json!({ "id": id, "expires_at": rotated.old_expires_at.to_string() });
    Ok(shown_once(&rotated.new, json))
}

/// `DELETE /v1/api-keys/{id}`
pub(crate) async fn revoke<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let (id, at, changed) = caller.revoke_api_key(&id).await?;
    let json = json!({
        "id": id.to_string(),
        "revoked_at": at.to_string(),
        "pending": changed.pending,
    });
    Ok(changed::changed(&changed, &json))
}

fn scopes(given: &[Value]) -> Result<Scopes, Refusal> {
    if given.is_empty() {
        return Err(Refusal::field("scopes", "an empty array", LIST_ACCEPTED));
    }
    let scopes = given.iter().enumerate().map(|(place, given)| {
        let scope = given.as_str().and_then(|scope| scope.parse::<Scope>().ok());
        scope.ok_or_else(|| {
            let text = given
                .as_str()
                .map_or_else(|| given.to_string(), str::to_owned);
            Refusal::field(format!("scopes[{place}]"), text, SCOPES_ACCEPTED)
        })
    });
    scopes.collect()
}

fn time(given: &str) -> Result<UnixSecs, Refusal> {
    let time = given.parse();
    time.map_err(|_| Refusal::field("expires_at", given, EXPIRES_ACCEPTED))
}

/// Nobody keeps it on the way.
fn shown_once(made: &NewApiKey, json: Value) -> Response {
    changed::no_store(changed::created(&made.changed, &json))
}

fn new_json(made: &NewApiKey) -> Value {
    let mut json = key_json(made.credential.id(), &made.key);
    json["key"] = made.credential.reveal().into();
    json
}

fn key_json(id: ApiKeyId, key: &ApiKey) -> Value {
    let time = |at: Option<UnixSecs>| at.map(|at| at.to_string());
    json!({
        "id": id.to_string(),
        "hint": key.hint.to_string(),
        "name": &**key.name.get(),
        "scopes": key.scopes.iter().map(Scope::name).collect::<Vec<_>>(),
        "created_at": key.made_at.to_string(),
        "created_by": &*key.made_by,
        "expires_at": time(key.expires_at),
        "last_used_at": time(key.last_used_at),
        "revoked_at": time(key.revoked_at),
        "replaces": key.replaces.map(|id| id.to_string()),
        "replaced_by": key.replaced_by.map(|id| id.to_string()),
    })
}
