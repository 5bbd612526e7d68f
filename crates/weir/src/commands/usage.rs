//! `weir usage`: what a tenant has used.

use serde_json::Value;

use super::table::table;
use super::{Outcome, plain};
use crate::api::{Api, segment};
use crate::cli::UsageArgs;

/// Tells the requests of a tenant's days.
///
/// # Errors
///
/// When the node cannot be asked, has no such tenant, or takes the days for none.
pub(crate) fn usage(args: &UsageArgs) -> anyhow::Result<Outcome> {
    let api = Api::of_operator(&args.operator.api, Some(&args.tenant))?;
    let path = format!("/v1/usage?{}", days(&args.from, &args.to));
    let answer = api.get(&path)?;
    let usage = api.expect(&answer, &[200])?;
    Ok(Outcome::success(match (args.operator.json, args.csv) {
        (true, _) => answer.as_said(),
        (false, true) => csv(&usage),
        (false, false) => told(&usage),
    }))
}

/// The query for days of which the first and the last may be named.
pub(super) fn days(from: &Option<String>, to: &Option<String>) -> String {
    let days = [("from", from), ("to", to)].into_iter();
    let days = days.filter_map(|(name, day)| {
        let day = day.as_ref()?;
        Some(format!("{name}={}", segment(day)))
    });
    days.collect::<Vec<_>>().join("&")
}

const COLUMNS: [&str; 4] = ["day", "requests", "denied", "closed"];

fn rows(usage: &Value) -> impl Iterator<Item = Vec<String>> {
    let days = usage["days"].as_array().into_iter().flatten();
    days.map(|day| COLUMNS.map(|column| plain(&day[column])).to_vec())
}

fn csv(usage: &Value) -> String {
    let head = COLUMNS.join(",");
    rows(usage).fold(head + "\n", |csv, day| csv + &day.join(",") + "\n")
}

fn told(usage: &Value) -> String {
    let mut rows = vec![COLUMNS.map(str::to_uppercase).to_vec()];
    rows.extend(self::rows(usage));
    let today = &usage["today"];
    let cap = match &today["cap"] {
        Value::Null => "no cap".to_owned(),
        cap => plain(cap),
    };
    let (requests, resets_at) = (plain(&today["requests"]), plain(&today["resets_at"]));
    format!(
        "{}today: {requests} of {cap}, until {resets_at}\n",
        table(&rows)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn days_are_rows() {
        let usage = json!({
            "today": {"day": "2026-11-21", "requests": 7, "cap": 10000, "resets_at": "2026-11-22T00:00:00Z"},
            "days": [{"day": "2026-11-21", "requests": 7, "denied": 1, "closed": false}],
        });
        assert_eq!(
            told(&usage),
            "DAY         REQUESTS  DENIED  CLOSED\n2026-11-21  7         1       false\n\
             today: 7 of 10000, until 2026-11-22T00:00:00Z\n"
        );
        assert_eq!(
            csv(&usage),
            "day,requests,denied,closed\n2026-11-21,7,1,false\n"
        );
    }
}
