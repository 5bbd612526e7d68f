//! `[service]` and `[[plan]]`: what makes a cluster a service for many tenants.

use accounts::{Plan, PlanName, Plans, PlansError, REQUESTS_PER_DAY_MAX};
use http::Uri;

use super::problem::Problems;
use super::table::Table;

/// What makes a cluster a service for many tenants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceConfig {
    /// Where people reach the service, without a slash at the end: https, or http with a loopback host.
    pub public_url: String,
    /// What tenants may use. Default: free, pro and enterprise.
    pub plans: Plans,
}

const URL_ACCEPTED: &str =
    "https://HOST or https://HOST:PORT without a path; http only with a loopback host";
const NAME_ACCEPTED: &str = "1 to 32 letters, digits, dashes and underscores";

/// The most of anything that a plan may have room for.
const COUNT_MAX: u64 = 1_000_000;

/// Reads both. `None`: there is no `[service]`.
pub(crate) fn read(
    service: Option<Table<'_>>,
    plans: Vec<Table<'_>>,
    problems: &mut Problems,
) -> Option<ServiceConfig> {
    if service.is_none()
        && let Some(plan) = plans.first()
    {
        let what = "a plan, and no [service] whose tenants could have it";
        problems.add(&plan.place(), what, "[service] beside it");
    }
    let plans = read_plans(plans, problems);
    let mut table = service?;
    let public_url = read_url(&mut table, problems);
    table.only("signup", "closed", problems);
    for key in ["session_idle", "session_max", "stale_after"] {
        table.not_yet(key, problems);
    }
    table.finish(problems);
    Some(ServiceConfig {
        public_url: public_url?,
        plans,
    })
}

fn read_url(table: &mut Table<'_>, problems: &mut Problems) -> Option<String> {
    table.missing("public_url", URL_ACCEPTED, problems);
    let given = table.string("public_url", problems)?;
    problems.parse(&given, URL_ACCEPTED, url)
}

/// Without a slash at the end.
fn url(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let host = uri.host()?;
    let is_loopback = match host.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    };
    let is_safe = match uri.scheme_str()? {
        "https" => true,
        "http" => is_loopback,
        _ => false,
    };
    let is_bare = ["", "/"].contains(&uri.path()) && uri.query().is_none();
    let has_user = uri.authority()?.as_str().contains('@');
    (is_safe && is_bare && !has_user && !text.contains('#'))
        .then(|| text.trim_end_matches('/').to_owned())
}

fn read_plans(tables: Vec<Table<'_>>, problems: &mut Problems) -> Plans {
    let place = tables.first().map(Table::place);
    let plans = tables.into_iter().filter_map(|table| plan(table, problems));
    let plans: Vec<Plan> = plans.collect();
    let Some(place) = place else {
        return Plans::default();
    };
    Plans::new(plans).unwrap_or_else(|error| {
        let accepted = match &error {
            // What was wrong with each has been said.
            PlansError::None => return Plans::default(),
            PlansError::Twice(_) => "a name of its own for each plan",
            PlansError::FirstHasPrice(_) => "a first plan without price and metered_price",
        };
        problems.add(&place, error.to_string(), accepted);
        Plans::default()
    })
}

fn plan(mut table: Table<'_>, problems: &mut Problems) -> Option<Plan> {
    table.missing("name", NAME_ACCEPTED, problems);
    let name = table.string("name", problems);
    let name = name.and_then(|given| {
        problems.parse(&given, NAME_ACCEPTED, |name| name.parse::<PlanName>().ok())
    });
    let requests_per_day =
        table.integer("requests_per_day", 1, REQUESTS_PER_DAY_MAX.into(), problems);
    let mut count = |key, problems: &mut Problems| {
        table.missing(
            key,
            &format!("a whole number from 1 to {COUNT_MAX}"),
            problems,
        );
        let given = table.integer(key, 1, COUNT_MAX, problems)?;
        u32::try_from(given.value).ok()
    };
    let per_second = count("per_second", problems);
    let limits = count("limits", problems);
    let key_limits = count("key_limits", problems);
    let api_keys = count("api_keys", problems);
    let team = count("team", problems);
    let price = table.string("price", problems);
    let metered_price = table.string("metered_price", problems);
    table.finish(problems);
    Some(Plan {
        name: name?,
        requests_per_day: requests_per_day.and_then(|given| u32::try_from(given.value).ok()),
        per_second: per_second?,
        limits: limits?,
        key_limits: key_limits?,
        api_keys: api_keys?,
        team: team?,
        price: price.map(|given| given.value.into()),
        metered_price: metered_price.map(|given| given.value.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Source};

    fn parse(text: &str) -> Result<Option<ServiceConfig>, String> {
        let source = Source {
            name: "weir.toml",
            text,
        };
        let config = Config::parse(source);
        config
            .map(|config| config.service)
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn without_plans_there_are_free_pro_and_enterprise() {
        let service = parse("[service]\npublic_url = \"https://weir.example.com/\"");
        let service = service.unwrap().unwrap();
        assert_eq!(service.public_url, "https://weir.example.com");
        assert_eq!(service.plans, Plans::default());
        assert_eq!(parse(""), Ok(None));
    }

    #[test]
    fn a_url_is_that_of_a_host_that_nobody_can_listen_to() {
        for (given, is_one) in [
            ("https://weir.example.com", true),
            ("https://weir.example.com:8443", true),
            ("http://127.0.0.1:4000", true),
            ("http://localhost:4000", true),
            ("http://[::1]:4000", true),
            ("http://weir.example.com", false),
            ("https://weir.example.com/weir", false),
            ("https://weir.example.com?a", false),
            ("https://ada@weir.example.com", false),
            ("https://weir.example.com#a", false),
            ("ftp://weir.example.com", false),
            ("weir.example.com", false),
            ("", false),
        ] {
            assert_eq!(url(given).is_some(), is_one, "{given}");
        }
    }

    const PLAN: &str = "[[plan]]\nname = \"free\"\nper_second = 1\nlimits = 1\nkey_limits = 1\napi_keys = 1\nteam = 1\n";

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let service = "[service]\npublic_url = \"https://a\"\n";
        for (text, told) in [
            (
                "[service]".to_owned(),
                "weir.toml:1: service: no `public_url`",
            ),
            (format!("{service}signup = \"open\""), "accepted: closed"),
            (
                format!("{service}session_max = \"1h\""),
                "service.session_max: not in this version",
            ),
            (
                format!("{service}unknown = 1"),
                "service.unknown: unknown key",
            ),
            (PLAN.to_owned(), "and no [service]"),
            (
                format!("{service}{PLAN}{PLAN}"),
                "two plans are called free",
            ),
            (
                format!("{service}{PLAN}price = \"a\""),
                "the first plan, free",
            ),
            (
                format!("{service}{PLAN}requests_per_day = 0"),
                "from 1 to 2147483647",
            ),
            (format!("{service}[[plan]]\nname = \"a b\""), "plan[0].name"),
            (
                format!("{service}[[plan]]\nname = \"a\""),
                "plan[0]: no `per_second`",
            ),
        ] {
            let problems = parse(&text).unwrap_err();
            assert!(problems.contains(told), "{told} is not in\n{problems}");
        }
    }
}
