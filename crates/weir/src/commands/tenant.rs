//! `weir tenant`: who shares the service.

use serde_json::{Map, Value, json};

use super::table::table;
use super::{Outcome, link, plain};
use crate::api::{Answer, Api, segment};
use crate::cli::{Requests, TenantCommand, TenantSetArgs};

/// Makes, lists, tells or changes tenants.
///
/// # Errors
///
/// When the node cannot be asked, has no such tenant, or does not change it.
pub(crate) fn tenant(command: &TenantCommand) -> anyhow::Result<Outcome> {
    match command {
        TenantCommand::Create {
            name,
            plan,
            requests_per_day,
            owner,
            operator,
        } => {
            let mut body = json!({ "name": name });
            body["plan"] = json!(plan);
            body["requests_per_day"] = json!(requests_per_day);
            let api = Api::of_operator(&operator.api, None)?;
            if let Some(owner) = owner {
                body["owner"] = json!(owner);
            }
            let answer = api.post("/v1/tenants", &body)?;
            match owner {
                Some(_) if !operator.json => owned(&api, &answer),
                _ => shown(&api, &answer, &[201], operator.json),
            }
        }
        TenantCommand::List { operator } => {
            let (tenants, raw) =
                Api::of_operator(&operator.api, None)?.all("/v1/tenants", "items")?;
            Ok(Outcome::success(match operator.json {
                true => raw,
                false => told(&tenants),
            }))
        }
        TenantCommand::Get { id, operator } => {
            let api = Api::of_operator(&operator.api, None)?;
            let answer = api.get(&path(id))?;
            shown(&api, &answer, &[200], operator.json)
        }
        TenantCommand::Set(args) => {
            let api = Api::of_operator(&args.operator.api, None)?;
            let answer = api.patch(&path(&args.id), &change(args))?;
            shown(&api, &answer, &[200], args.operator.json)
        }
        TenantCommand::Suspend { id, operator } => {
            let api = Api::of_operator(&operator.api, None)?;
            let answer = api.patch(&path(id), &json!({ "status": "suspended" }))?;
            shown(&api, &answer, &[200], operator.json)
        }
        TenantCommand::Resume { id, operator } => {
            let api = Api::of_operator(&operator.api, None)?;
            let answer = api.patch(&path(id), &json!({ "status": "active" }))?;
            shown(&api, &answer, &[200], operator.json)
        }
        TenantCommand::Close { id, operator } => {
            let api = Api::of_operator(&operator.api, None)?;
            let answer = api.patch(&path(id), &json!({ "status": "closed" }))?;
            shown(&api, &answer, &[200], operator.json)
        }
        TenantCommand::Restore { id, operator } => {
            let api = Api::of_operator(&operator.api, None)?;
            let answer = api.post(&format!("{}/restore", path(id)), &json!({}))?;
            shown(&api, &answer, &[200], operator.json)
        }
    }
}

fn path(id: &str) -> String {
    format!("/v1/tenants/{}", segment(id))
}

fn change(args: &TenantSetArgs) -> Value {
    let mut body = Map::new();
    if let Some(name) = &args.name {
        body.insert("name".into(), json!(name));
    }
    if let Some(plan) = &args.plan {
        body.insert("plan".into(), json!(plan));
    }
    if let Some(Requests(requests)) = args.requests_per_day {
        body.insert("requests_per_day".into(), json!(requests));
    }
    body.into()
}

fn shown(api: &Api, answer: &Answer, expected: &[u16], as_json: bool) -> anyhow::Result<Outcome> {
    let tenant = api.expect(answer, expected)?;
    Ok(Outcome::success(match as_json {
        true => answer.as_said(),
        false => told(&json!([tenant])) + &answer.not_confirmed(),
    }))
}

/// The link of the owner alone on stdout, for scripts; the tenant on stderr.
fn owned(api: &Api, answer: &Answer) -> anyhow::Result<Outcome> {
    let tenant = api.expect(answer, &[201])?;
    eprint!("{}", told(&json!([tenant])));
    Ok(link::of_owner(answer, &tenant["owner"]))
}

fn told(tenants: &Value) -> String {
    let columns = ["ID", "NAME", "STATUS", "PLAN", "REQUESTS A DAY", "CREATED"];
    let mut rows = vec![columns.map(str::to_owned).to_vec()];
    rows.extend(tenants.as_array().into_iter().flatten().map(|tenant| {
        let requests = match &tenant["plan"]["requests_per_day"] {
            Value::Null => "no cap".to_owned(),
            requests => plain(requests),
        };
        vec![
            plain(&tenant["id"]),
            plain(&tenant["name"]),
            plain(&tenant["status"]),
            plain(&tenant["plan"]["name"]),
            requests,
            plain(&tenant["created_at"]),
        ]
    }));
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_are_rows() {
        let tenants = json!([{"id": "tn_0", "name": "Acme", "status": "active", "created_at": "2026-11-21T10:00:00Z",
            "plan": {"name": "free", "requests_per_day": 10000}}]);
        assert_eq!(
            told(&tenants),
            "ID    NAME  STATUS  PLAN  REQUESTS A DAY  CREATED\n\
             tn_0  Acme  active  free  10000           2026-11-21T10:00:00Z\n"
        );
    }
}
