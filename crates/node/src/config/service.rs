//! `[service]` and `[[plan]]`: what makes a cluster a service for many tenants.

use std::time::Duration;

use accounts::{Plan, PlanName, Plans, PlansError, REQUESTS_PER_DAY_MAX, SessionSpans};
use http::Uri;
use limiter::Signup;

use super::problem::Problems;
use super::span;
use super::table::Table;

/// What makes a cluster a service for many tenants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceConfig {
    /// Where people reach the service, without a slash at the end: https, or http with a loopback host.
    pub public_url: String,
    /// What tenants may use. Default: free, pro and enterprise.
    pub plans: Plans,
    /// Who may sign up. Default nobody: operators make tenants and their owners.
    pub signup: Signup,
    /// How long sessions live. Shorter ends sooner what was left open or stolen; longer asks for fewer logins. Default 12 h
    /// without use, 30 days in any case.
    pub spans: SessionSpans,
    /// A node that has heard of no other for so long takes nobody's credential but an operator's: shorter bounds how long what is
    /// revoked elsewhere works on a node that is cut off; longer keeps a survivor going. Default `None`, never.
    pub stale_after: Option<Duration>,
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
    let signup = table.string("signup", problems);
    let signup = signup.and_then(|given| problems.parse(&given, SIGNUP_ACCEPTED, signup_called));
    let spans = read_spans(&mut table, problems);
    let stale_after = read_stale(&mut table, problems);
    table.finish(problems);
    Some(ServiceConfig {
        public_url: public_url?,
        plans,
        signup: signup.unwrap_or(Signup::Closed),
        spans,
        stale_after,
    })
}

const SIGNUP_ACCEPTED: &str = "closed, invited or open";

fn signup_called(name: &str) -> Option<Signup> {
    let named = |signup: &Signup| signup.name() == name;
    Signup::ALL.into_iter().find(named)
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

fn read_spans(table: &mut Table<'_>, problems: &mut Problems) -> SessionSpans {
    let mut read = |key, (min, max): (u64, u64), accepted| {
        let given = table.string(key, problems)?;
        let within = |text: &str| {
            let secs = span::parse(text).map(|span: Duration| span.as_secs());
            secs.filter(|secs| (min..=max).contains(secs))
        };
        problems.parse(&given, accepted, within)
    };
    let default = SessionSpans::default();
    // Shorter than five minutes, a session in use would end between two signings.
    let idle = read("session_idle", (5 * MINUTE, 30 * DAY), "5m to 30d");
    let max = read("session_max", (HOUR, 90 * DAY), "1h to 90d");
    SessionSpans {
        idle: idle.unwrap_or(default.idle),
        max: max.unwrap_or(default.max),
    }
}

/// `None`: never.
fn read_stale(table: &mut Table<'_>, problems: &mut Problems) -> Option<Duration> {
    let given = table.string("stale_after", problems)?;
    let within = |text: &str| {
        let span: Duration = span::parse(text)?;
        let is_any = span.is_zero() || (1..=30 * DAY).contains(&span.as_secs());
        is_any.then_some(span)
    };
    let span = problems.parse(&given, "0s, or 1s to 30d", within)?;
    (!span.is_zero()).then_some(span)
}

fn read_url(table: &mut Table<'_>, problems: &mut Problems) -> Option<String> {
    table.missing("public_url", URL_ACCEPTED, problems);
    let given = table.string("public_url", problems)?;
    problems.parse(&given, URL_ACCEPTED, url)
}

/// Without a slash at the end.
pub(super) fn url(text: &str) -> Option<String> {
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
    let plans = tables.into_iter().filter_map(|table| {
        let place = table.place();
        Some((place, plan(table, problems)?))
    });
    let (mut places, mut plans): (Vec<String>, Vec<Plan>) = plans.unzip();
    // Without what is told of, until nothing is left to tell.
    loop {
        let error = match Plans::new(plans.clone()) {
            Ok(plans) => return plans,
            Err(error) => error,
        };
        let (place, accepted) = match &error {
            // The file has none, or what is wrong with each has been said.
            PlansError::None => return Plans::default(),
            PlansError::Twice(name) => {
                let has_it = |plan: &Plan| plan.name == *name;
                let again = plans.iter().rposition(has_it).expect("two have it");
                plans.remove(again);
                (places.remove(again), "a name of its own for each plan")
            }
            PlansError::FirstHasPrice(_) => {
                (plans[0].price, plans[0].metered_price) = (None, None);
                let accepted = "a first plan without price and metered_price";
                (places[0].clone(), accepted)
            }
        };
        problems.add(&place, error.to_string(), accepted);
    }
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
    fn who_may_sign_up_and_how_long_sessions_live_are_read() {
        let service = "[service]\npublic_url = \"https://a\"\n";
        let closed = parse(service).unwrap().unwrap();
        assert_eq!(
            (closed.signup, closed.spans),
            (Signup::Closed, SessionSpans::default())
        );
        let spans = "session_idle = \"5m\"\nsession_max = \"90d\"\n";
        for (name, signup) in [("invited", Signup::Invited), ("open", Signup::Open)] {
            let text = format!("{service}signup = \"{name}\"\n{spans}");
            let read = parse(&text).unwrap().unwrap();
            let spans = SessionSpans {
                idle: 300,
                max: 90 * DAY,
            };
            assert_eq!((read.signup, read.spans), (signup, spans));
        }
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
            (
                format!("{service}signup = \"all\""),
                "accepted: closed, invited or open",
            ),
            (
                format!("{service}session_max = \"91d\""),
                "accepted: 1h to 90d",
            ),
            (
                format!("{service}session_idle = \"4m\""),
                "accepted: 5m to 30d",
            ),
            (
                format!("{service}stale_after = \"31d\""),
                "accepted: 0s, or 1s to 30d",
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

    /// Of several that were wrong with the plans together the first was told alone.
    #[test]
    fn all_that_is_wrong_with_the_plans_is_told_at_once() {
        let service = "[service]\npublic_url = \"https://a\"\n";
        let text = format!("{service}{PLAN}price = \"a\"\n{PLAN}{PLAN}");
        let problems = parse(&text).unwrap_err();
        let places = problems.lines().map(|line| line.split(": ").take(2));
        let places: Vec<String> = places.map(|it| it.collect::<Vec<_>>().join(" ")).collect();
        let told = ["3 plan[0]", "18 plan[2]", "11 plan[1]"];
        assert_eq!(
            places,
            told.map(|told| format!("weir.toml:{told}")),
            "{problems}"
        );
    }
}
