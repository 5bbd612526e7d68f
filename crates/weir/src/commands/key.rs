//! `weir key`: the API keys of a tenant.

use accounts::UnixSecs;
use serde_json::{Value, json};

use super::table::table;
use super::{Outcome, plain};
use crate::api::{Answer, Api, segment};
use crate::cli::KeyCommand;

/// Makes, lists, rotates or revokes API keys.
///
/// # Errors
///
/// When the node cannot be asked, has no such tenant or API key, or does not change it.
pub(crate) fn key(command: &KeyCommand) -> anyhow::Result<Outcome> {
    match command {
        KeyCommand::Create {
            tenant,
            name,
            scope,
            expires,
            operator,
        } => {
            let mut body = json!({ "name": name });
            if !scope.is_empty() {
                body["scopes"] = json!(scope);
            }
            if let Some(span) = expires {
                body["expires_at"] = json!(from_now(*span).to_string());
            }
            let api = Api::of_operator(&operator.api, Some(tenant))?;
            let answer = api.post("/v1/api-keys", &body)?;
            let made = api.expect(&answer, &[201])?;
            Ok(shown_once(&answer, &made, operator.json))
        }
        KeyCommand::List { tenant, operator } => {
            let (keys, raw) =
                Api::of_operator(&operator.api, Some(tenant))?.all("/v1/api-keys", "items")?;
            Ok(Outcome::success(match operator.json {
                true => raw,
                false => told(&keys),
            }))
        }
        KeyCommand::Rotate {
            id,
            tenant,
            overlap,
            operator,
        } => {
            let api = Api::of_operator(&operator.api, tenant.as_deref())?;
            let path = format!("/v1/api-keys/{}/rotate", segment(id));
            let answer = api.post(&path, &json!({ "overlap": overlap }))?;
            let made = api.expect(&answer, &[201])?;
            if !operator.json {
                eprintln!("{id} ends at {}", plain(&made["old"]["expires_at"]));
            }
            Ok(shown_once(&answer, &made, operator.json))
        }
        KeyCommand::Revoke {
            id,
            tenant,
            operator,
        } => {
            let api = Api::of_operator(&operator.api, tenant.as_deref())?;
            let answer = api.delete(&format!("/v1/api-keys/{}", segment(id)))?;
            let revoked = api.expect(&answer, &[200])?;
            Ok(Outcome::success(match operator.json {
                true => answer.as_said(),
                false => {
                    let at = plain(&revoked["revoked_at"]);
                    format!("{id} is revoked since {at}\n{}", answer.not_confirmed())
                }
            }))
        }
    }
}

fn from_now(span: std::time::Duration) -> UnixSecs {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixSecs::new(now.map_or(0, |now| now.as_secs())) + span.as_secs()
}

/// The API key alone on stdout, for scripts; all else on stderr.
fn shown_once(answer: &Answer, made: &Value, as_json: bool) -> Outcome {
    if as_json {
        return Outcome::success(answer.as_said());
    }
    eprintln!("{} is made; it is shown this once", plain(&made["id"]));
    eprint!("{}", answer.not_confirmed());
    Outcome::success(format!("{}\n", plain(&made["key"])))
}

fn told(keys: &Value) -> String {
    let columns = [
        "ID",
        "NAME",
        "SCOPES",
        "EXPIRES",
        "LAST USED",
        "STATE",
        "HINT",
    ];
    let mut rows = vec![columns.map(str::to_owned).to_vec()];
    rows.extend(keys.as_array().into_iter().flatten().map(|key| {
        let scopes = key["scopes"].as_array().into_iter().flatten();
        let scopes: Vec<String> = scopes.map(plain).collect();
        let state = match (key["revoked_at"].as_str(), key["replaced_by"].as_str()) {
            (Some(at), _) => format!("revoked at {at}"),
            (None, Some(by)) => format!("replaced by {by}"),
            (None, None) => "in use".to_owned(),
        };
        vec![
            plain(&key["id"]),
            plain(&key["name"]),
            scopes.join(","),
            plain(&key["expires_at"]),
            plain(&key["last_used_at"]),
            state,
            plain(&key["hint"]),
        ]
    }));
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_keys_are_rows() {
        let keys = json!([{"id": "key_0", "name": "edge", "scopes": ["check", "adjust"], "expires_at": null,
            "last_used_at": "2026-11-21T10:00:00Z", "revoked_at": null, "replaced_by": null, "hint": "weir_key_3fK9…tbid"}]);
        assert_eq!(
            told(&keys),
            "ID     NAME  SCOPES        EXPIRES  LAST USED             STATE   HINT\n\
             key_0  edge  check,adjust  -        2026-11-21T10:00:00Z  in use  weir_key_3fK9…tbid\n"
        );
    }
}
