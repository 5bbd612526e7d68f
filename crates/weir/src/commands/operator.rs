//! `weir operator`: who runs the service.

use serde_json::{Value, json};

use super::table::table;
use super::{Outcome, link, plain};
use crate::api::{Api, segment};
use crate::cli::OperatorCommand;

const PATH: &str = "/v1/operators";

/// Makes, lists or removes operators.
///
/// # Errors
///
/// When the node cannot be asked, has no such operator, or does not change it.
pub(crate) fn operator(command: &OperatorCommand) -> anyhow::Result<Outcome> {
    match command {
        OperatorCommand::Create(args) => {
            let api = Api::of_operator(&args.operator.api, None)?;
            let answer = api.post(PATH, &json!({ "email": args.email }))?;
            let made = api.expect(&answer, &[201])?;
            if args.operator.json {
                return Ok(Outcome::success(answer.as_said()));
            }
            eprintln!("{} is an operator", plain(&made["email"]));
            Ok(link::shown_once(&answer, &made, &plain(&made["email"])))
        }
        OperatorCommand::List { operator } => {
            let (operators, raw) = Api::of_operator(&operator.api, None)?.all(PATH, "items")?;
            Ok(Outcome::success(match operator.json {
                true => raw,
                false => told(&operators),
            }))
        }
        OperatorCommand::Remove(args) => {
            let api = Api::of_operator(&args.operator.api, None)?;
            let answer = api.delete(&format!("{PATH}/{}", segment(&args.email)))?;
            api.expect(&answer, &[204])?;
            let told = format!("{} is no operator", args.email);
            Ok(Outcome::done(&answer, &told, args.operator.json))
        }
    }
}

fn told(operators: &Value) -> String {
    let columns = ["ID", "EMAIL", "CREATED"];
    let mut rows = vec![columns.map(str::to_owned).to_vec()];
    rows.extend(operators.as_array().into_iter().flatten().map(|operator| {
        ["id", "email", "created_at"]
            .map(|field| plain(&operator[field]))
            .to_vec()
    }));
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_rows() {
        let operators = json!([{"id": "us_0", "email": "you@example.com", "created_at": "2026-11-21T10:00:00Z"}]);
        assert_eq!(
            told(&operators),
            "ID    EMAIL            CREATED\nus_0  you@example.com  2026-11-21T10:00:00Z\n"
        );
    }
}
