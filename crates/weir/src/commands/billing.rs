//! `weir billing`: plans that are sold by Stripe.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::table::table;
use super::usage::days;
use super::{Outcome, plain};
use crate::api::Api;
use crate::cli::BillingCommand;

const PATH: &str = "/v1/service/billing";

/// Makes, looks, asks or compares.
///
/// # Errors
///
/// When the node cannot be asked, sells no plans, or reaches no Stripe.
pub(crate) fn billing(command: &BillingCommand) -> anyhow::Result<Outcome> {
    match command {
        BillingCommand::Setup {
            currency,
            price,
            operator,
        } => {
            let api = Api::of_patient_operator(&operator.api)?;
            let prices = price
                .iter()
                .map(|(lookup_key, amount)| json!({ "lookup_key": lookup_key, "amount": amount }));
            let mut body = json!({ "prices": prices.collect::<Vec<_>>() });
            if let Some(currency) = currency {
                body["currency"] = json!(currency);
            }
            let answer = api.post(PATH, &body)?;
            let made = api.expect(&answer, &[200])?;
            let exit = exit(is_well(&made));
            if operator.json {
                let text = answer.as_said();
                return Ok(Outcome { text, exit });
            }
            // The secret alone on stdout, for scripts.
            eprint!("{}", found(&made));
            let secret = made["webhook_secret"].as_str();
            let text = secret.map_or_else(String::new, |secret| format!("{secret}\n"));
            Ok(Outcome { text, exit })
        }
        BillingCommand::Check { operator } => {
            let api = Api::of_patient_operator(&operator.api)?;
            let answer = api.get(PATH)?;
            let told = api.expect(&answer, &[200])?;
            let text = match operator.json {
                true => answer.as_said(),
                false => found(&told),
            };
            let exit = exit(is_well(&told));
            Ok(Outcome { text, exit })
        }
        BillingCommand::Sync { tenant, operator } => {
            let api = Api::of_patient_operator(&operator.api)?;
            let answer = api.post(&format!("{PATH}/sync"), &json!({ "tenant": tenant }))?;
            let told = api.expect(&answer, &[200])?;
            Ok(Outcome::success(match operator.json {
                true => answer.as_said(),
                false => format!("asked about {} tenants\n", plain(&told["asked"])),
            }))
        }
        BillingCommand::Audit { from, to, operator } => {
            let api = Api::of_patient_operator(&operator.api)?;
            let answer = api.get(&format!("{PATH}/drift?{}", days(from, to)))?;
            let told = api.expect(&answer, &[200])?;
            let text = match operator.json {
                true => answer.as_said(),
                false => differing(&told),
            };
            let exit = exit(items(&told).next().is_none());
            Ok(Outcome { text, exit })
        }
    }
}

fn exit(is_well: bool) -> ExitCode {
    match is_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn items(told: &Value) -> impl Iterator<Item = &Value> {
    told["items"].as_array().into_iter().flatten()
}

fn is_well(told: &Value) -> bool {
    items(told).all(|item| item["well"] == true)
}

/// A line for each thing that Stripe has or lacks.
fn found(told: &Value) -> String {
    let mut rows = vec![["", "WHAT", "IS"].map(str::to_owned).to_vec()];
    rows.extend(items(told).map(|item| {
        let mark = if item["well"] == true { "ok" } else { "!!" };
        vec![mark.to_owned(), plain(&item["of"]), plain(&item["told"])]
    }));
    table(&rows)
}

fn differing(told: &Value) -> String {
    const COLUMNS: [&str; 4] = ["tenant", "day", "used", "billed"];
    let mut rows = vec![COLUMNS.map(str::to_uppercase).to_vec()];
    rows.extend(items(told).map(|item| COLUMNS.map(|column| plain(&item[column])).to_vec()));
    match rows.len() {
        1 => "Stripe has counted what was used\n".to_owned(),
        _ => table(&rows),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_stands_out() {
        let told = json!({ "items": [
            { "of": "meter weir_requests", "told": "is there", "well": true },
            { "of": "portal", "told": "is missing", "well": false },
        ]});
        assert!(!is_well(&told));
        let shown = "    WHAT                 IS\nok  meter weir_requests  is there\n!!  portal               is missing\n";
        assert_eq!(found(&told), shown);
    }

    #[test]
    fn days_that_differ_are_a_table() {
        let day = json!({ "tenant": "tn_1", "day": "2026-11-21", "used": 7, "billed": 5 });
        let told = differing(&json!({ "items": [day] }));
        assert_eq!(
            told,
            "TENANT  DAY         USED  BILLED\ntn_1    2026-11-21  7     5\n"
        );
        assert_eq!(
            differing(&json!({ "items": [] })),
            "Stripe has counted what was used\n"
        );
    }
}
