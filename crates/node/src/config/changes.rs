//! What one configuration says otherwise than another, for people; and what of it a running node can take.

use std::sync::Arc;
use std::time::Duration;

use accounts::{Plan, SessionSpans};
use coordinator::{FailMode, Policy, Strategy};
use front_grpc::{Bound, Rule};
use limiter::{AnchorWord, Signup, span};
use quota::{Algorithm, Nanos};
use shard::Partition;

use super::Config;
use super::billing::BillingConfig;
use super::cluster::{Ack, ClusterConfig, Network};
use super::memory::MemoryMax;
use super::routes::{Answer, Identify, Route};
use super::service::ServiceConfig;

/// One thing that a file says of a limit.
struct Fact {
    name: &'static str,
    value: String,
    /// The value goes without saying.
    is_default: bool,
}

fn facts(policy: &Policy) -> Vec<Fact> {
    let limit = &policy.limit;
    let fact = |name, value: String, is_default| Fact {
        name,
        value,
        is_default,
    };
    let (anchor, zone) = match limit.algorithm() {
        Algorithm::FixedWindow => AnchorWord::of(limit.anchor()),
        _ => (AnchorWord::Epoch, None),
    };
    let mut facts = vec![
        fact("algorithm", limit.algorithm().name().to_owned(), false),
        fact("limit", limit.units().to_string(), false),
    ];
    let per = match zone {
        Some(_) => "the calendar's".to_owned(),
        None => span::format(limit.period()),
    };
    facts.push(fact("per", per, zone.is_some()));
    let burst = limit.burst();
    facts.push(fact("burst", burst.to_string(), burst == limit.units()));
    let is_default = anchor == AnchorWord::Epoch;
    facts.push(fact("anchor", anchor.name().to_owned(), is_default));
    let name = zone.map_or("none", |zone| zone.name());
    facts.push(fact("zone", name.to_owned(), zone.is_none()));
    let strategy = policy.strategy;
    let is_default = strategy == Strategy::Owner;
    facts.push(fact("strategy", strategy.name().to_owned(), is_default));
    let on_failure = policy.on_failure.name();
    let is_usual = strategy != Strategy::Owner || limit.keeps_as_usual();
    facts.push(fact("keep", limit.keep().to_string(), is_usual));
    let is_default = policy.on_failure == FailMode::Deny;
    facts.push(fact("on_failure", on_failure.to_owned(), is_default));
    facts
}

/// How a file defines a limit, in a line: `gcra, limit 10, per 1m`. Members compare these lines. What goes without saying is
/// left out, so that a version that knows more of limits writes the same of those that do not use it.
pub(crate) fn definition(policy: &Policy) -> String {
    let mut facts = facts(policy).into_iter();
    let algorithm = facts.next().map(|fact| fact.value).unwrap_or_default();
    let facts = facts.filter(|fact| !fact.is_default);
    facts.fold(algorithm, |line, Fact { name, value, .. }| {
        format!("{line}, {name} {value}")
    })
}

/// What a file says of `[cluster]`, of `[service]`, its plans and their `[billing]`, of routes and of rules, by section and name, for members to
/// compare. Of a section that a node takes no part in, nothing; of one that it does, the section by itself as well: so a node
/// that serves HTTP without a `[service]` differs from one that has it. Keys of `[cluster]` and `[service]` that are as they are
/// by default are left out, so that a version that knows more of them says the same of a file that does not use them.
///
/// Nothing where the file has neither a limit nor a `[service]`: the node of a program that brings its own limits.
pub(crate) fn sections(
    config: &Config,
    has_routes: bool,
    has_rules: bool,
) -> Vec<(Arc<str>, String)> {
    if config.limits.is_empty() && config.service.is_none() {
        return Vec::new();
    }
    let entry = |section: &str, name: &str, says: String| {
        let name = format!("{section} {name}");
        (Arc::from(name.trim_end()), says)
    };
    let mut sections = vec![entry("[cluster]", "", String::new())];
    let keys = settings(&config.cluster).into_iter();
    let defaults = settings(&ClusterConfig::usual());
    let set = keys.zip(defaults).filter(|(key, default)| key != default);
    sections.extend(set.map(|((name, says), _)| entry("[cluster]", name, says)));
    if has_routes || config.service.is_some() {
        sections.push(entry("[service]", "", String::new()));
    }
    if let Some(service) = &config.service {
        let told = of_service(service).into_iter();
        sections.extend(told.map(|(name, says)| entry("[service]", name, says)));
        if let Some(billing) = &config.billing {
            let told = of_billing(billing).into_iter();
            sections.extend(told.map(|(name, says)| entry("[billing]", name, says)));
        }
        sections.push(entry("[[plan]]", "", String::new()));
        let plans = service.plans.iter().enumerate();
        sections.extend(plans.map(|(place, plan)| {
            let says = of_plan(plan, place == 0);
            entry("[[plan]]", plan.name.as_str(), says)
        }));
    }
    if has_routes {
        sections.push(entry("[[route]]", "", String::new()));
        let routes = config.routes.iter();
        sections.extend(routes.map(|route| entry("[[route]]", &route.path, of_route(route))));
    }
    if has_rules {
        sections.push(entry("[[rule]]", "", String::new()));
        let mut show = |name: String, rule: &Rule| {
            sections.push(entry("[[rule]]", &name, of_rule(rule)));
        };
        config.grpc.rules.each(&mut show);
    }
    sections
}

/// What of `[billing]` decides what a tenant has and pays. Secrets may differ for as long as one takes the place of another.
fn of_billing(billing: &BillingConfig) -> [(&'static str, String); 5] {
    let secs = |span: Duration| span::format(Nanos::from_secs(span.as_secs()));
    let is_live = billing.secret_key.is_live();
    [
        ("mode", if is_live { "live" } else { "test" }.to_owned()),
        ("api_url", billing.api_url.clone()),
        ("meter", billing.meter.clone()),
        ("grace", secs(billing.grace)),
        ("finalize_after", secs(billing.finalize_after)),
    ]
}

/// The keys of `[service]` that decide what clients are told, as a file would have them, but for those that go without saying.
fn of_service(service: &ServiceConfig) -> Vec<(&'static str, String)> {
    let secs = |secs: u64| span::format(Nanos::from_secs(secs));
    let ServiceConfig {
        public_url,
        plans: _,
        signup,
        spans: SessionSpans { idle, max },
        stale_after,
    } = service;
    let default = SessionSpans::default();
    let stale_after = stale_after.unwrap_or_default();
    let keys = [
        ("public_url", public_url.clone(), false),
        (
            "signup",
            signup.name().to_owned(),
            *signup == Signup::Closed,
        ),
        ("session_idle", secs(*idle), *idle == default.idle),
        ("session_max", secs(*max), *max == default.max),
        (
            "stale_after",
            secs(stale_after.as_secs()),
            stale_after.is_zero(),
        ),
    ];
    let told = keys.into_iter().filter(|(_, _, is_default)| !is_default);
    told.map(|(name, says, _)| (name, says)).collect()
}

/// `10000 requests a day, 100 a second, 20 limits, 1000 key limits, 5 API keys, team of 3`.
fn of_plan(plan: &Plan, is_first: bool) -> String {
    let Plan {
        name: _,
        requests_per_day,
        per_second,
        limits,
        key_limits,
        api_keys,
        team,
        price,
        metered_price,
    } = plan;
    let requests = requests_per_day.map_or_else(
        || "requests a day set by an operator".to_owned(),
        |requests| format!("{requests} requests a day"),
    );
    let mut says = format!(
        "{requests}, {per_second} a second, {limits} limits, {key_limits} key limits, {api_keys} API keys, team of {team}"
    );
    for (what, price) in [("price", price), ("metered price", metered_price)] {
        if let Some(price) = price {
            says.push_str(&format!(", {what} {price}"));
        }
    }
    if is_first {
        says.push_str(", that of no subscription");
    }
    says
}

/// Every key of `[cluster]`, as a file would have it.
fn settings(cluster: &ClusterConfig) -> Vec<(&'static str, String)> {
    let span = |span: Duration| span::format(Nanos::from_millis(span.as_millis() as u64));
    let ClusterConfig {
        replicas,
        ack,
        max_lag,
        partition,
        forget_after,
        start_wait,
        trusted_proxies,
        max_keys,
        max_memory,
    } = cluster;
    let ack = match ack {
        Ack::Fast => "fast",
        Ack::Replicated => "replicated",
    };
    let partition = match partition {
        Partition::Available => "available",
        Partition::Quorum => "quorum",
    };
    let max_memory = match max_memory {
        MemoryMax::Percent(percent) => format!("{percent}%"),
        MemoryMax::Bytes(bytes) => format!("{bytes} bytes"),
    };
    vec![
        ("replicas", replicas.to_string()),
        ("ack", ack.to_owned()),
        ("max_lag", span(*max_lag)),
        ("partition", partition.to_owned()),
        ("forget_after", span(*forget_after)),
        ("start_wait", span(*start_wait)),
        ("trusted_proxies", networks(trusted_proxies)),
        ("max_keys", max_keys.to_string()),
        ("max_memory", max_memory),
    ]
}

/// `limit login, by header X-User-Id, peer`.
fn of_route(route: &Route) -> String {
    let by = route.identify.iter().map(|by| match by {
        // In any case, as it is matched.
        Identify::Header(name) => format!("header {}", name.to_ascii_lowercase()),
        Identify::Query(name) => format!("query {name}"),
        Identify::Cookie(name) => format!("cookie {name}"),
        Identify::Browser => "browser".to_owned(),
        Identify::Peer => "peer".to_owned(),
    });
    let by = by.collect::<Vec<_>>().join(", ");
    let answer = match route.answer {
        Answer::Json => String::new(),
        Answer::Page => ", answers with a page".to_owned(),
        Answer::Greeting => ", greets".to_owned(),
        Answer::Peek => ", counts nothing".to_owned(),
    };
    format!("limit {}, by {by}{answer}", route.limit)
}

/// `limit login`, or for a rule of a file of envoyproxy/ratelimit `fixed_window, limit 10, per 1m`.
fn of_rule(rule: &Rule) -> String {
    let mut says = match &rule.bound {
        Bound::Named(limit) => format!("limit {limit}"),
        Bound::Limit(selected) => definition(selected.policy()),
        Bound::Nothing(unit) => format!("nothing passes, told per {}", span::format(*unit)),
        Bound::Everything => "everything passes".to_owned(),
    };
    if rule.is_shadow {
        says.push_str(", shadow mode");
    }
    if !rule.replaced_as.is_empty() {
        says.push_str(&format!(", called {}", rule.replaced_as));
    }
    if !rule.replaces.is_empty() {
        says.push_str(&format!(", replaces {}", rule.replaces.join(" ")));
    }
    says
}

/// What `new` says otherwise than `old`, each in a line. `is_made`: whether a limit of that name was made at run time.
pub(crate) fn changes(old: &Config, new: &Config, is_made: impl Fn(&str) -> bool) -> Vec<String> {
    let mut changes = Vec::new();
    for policy in &new.limits {
        match old.limit(&policy.name) {
            None if is_made(&policy.name) => changes.push(format!(
                "limit {}: added, {}; the one made at run time has no effect any more",
                policy.name,
                definition(policy)
            )),
            None => changes.push(format!(
                "limit {}: added, {}",
                policy.name,
                definition(policy)
            )),
            Some(before) if before != policy => {
                changes.push(format!(
                    "limit {}: {}",
                    policy.name,
                    between(before, policy)
                ));
            }
            Some(_) => {}
        }
    }
    for policy in &old.limits {
        if new.limit(&policy.name).is_none() {
            let made = match is_made(&policy.name) {
                true => "; the one made at run time is in force",
                false => "",
            };
            changes.push(format!("limit {}: removed{made}", policy.name));
        }
    }
    of_routes(&old.routes, &new.routes, &mut changes);
    if old.grpc.rules != new.grpc.rules {
        let (before, now) = (old.grpc.rules.count(), new.grpc.rules.count());
        changes.push(match before == now {
            true => "rules: changed".to_owned(),
            false => format!("rules: changed, {before} → {now}"),
        });
    }
    of_cluster(&old.cluster, &new.cluster, &mut changes);
    if old.redis != new.redis {
        changes.push("[redis]: changed".to_owned());
    }
    if old.raft != new.raft {
        changes.push("[raft]: changed".to_owned());
    }
    if old.grpc.keepalive != new.grpc.keepalive {
        changes.push("grpc.keepalive: changed, for connections that begin from now on".to_owned());
    }
    if old.grpc.tls.is_some() != new.grpc.tls.is_some() {
        changes.push("TLS of grpc: changed, for connections that begin from now on".to_owned());
    }
    changes
}

/// `limit 5 → 10, per 1m → 1h`.
fn between(old: &Policy, new: &Policy) -> String {
    let pairs = facts(old).into_iter().zip(facts(new));
    let changed = pairs.filter(|(old, new)| old.value != new.value);
    // A burst that follows the limit goes without saying, and so does what is kept for its period.
    let follows = |fact: &Fact| ["burst", "keep"].contains(&fact.name) && fact.is_default;
    let changed = changed.filter(|(old, new)| !(follows(old) && follows(new)));
    let changed = changed.map(|(old, new)| format!("{} {} → {}", new.name, old.value, new.value));
    changed.collect::<Vec<_>>().join(", ")
}

fn of_routes(old: &[Route], new: &[Route], changes: &mut Vec<String>) {
    let at = |routes: &[Route], path: &str| routes.iter().find(|it| it.path == path).cloned();
    for route in new {
        match at(old, &route.path) {
            None => changes.push(format!("route {}: added", route.path)),
            Some(before) if before != *route => {
                changes.push(format!("route {}: changed", route.path));
            }
            Some(_) => {}
        }
    }
    for route in old {
        if at(new, &route.path).is_none() {
            changes.push(format!("route {}: removed", route.path));
        }
    }
}

fn of_cluster(old: &ClusterConfig, new: &ClusterConfig, changes: &mut Vec<String>) {
    if old.trusted_proxies != new.trusted_proxies {
        let (old, new) = (&old.trusted_proxies, &new.trusted_proxies);
        changes.push(format!(
            "trusted_proxies: {} → {}",
            networks(old),
            networks(new)
        ));
    }
    if old.max_keys != new.max_keys {
        changes.push(format!("max_keys: {} → {}", old.max_keys, new.max_keys));
    }
    if old.max_memory != new.max_memory {
        changes.push("max_memory: changed".to_owned());
    }
}

fn networks(list: &[Network]) -> String {
    match list {
        [] => "none".to_owned(),
        list => {
            let list = list
                .iter()
                .map(|it| format!("{}/{}", it.address, it.prefix));
            list.collect::<Vec<_>>().join(" ")
        }
    }
}

/// The keys of which `new` says something else than `old` that only a restart changes. `runs`: whether a strategy has been
/// started.
pub(crate) fn needing_a_restart(
    old: &Config,
    new: &Config,
    runs: impl Fn(Strategy) -> bool,
) -> Vec<String> {
    let (before, now) = (&old.cluster, &new.cluster);
    let differs = [
        ("cluster.replicas", before.replicas != now.replicas),
        ("cluster.ack", before.ack != now.ack),
        ("cluster.max_lag", before.max_lag != now.max_lag),
        ("cluster.partition", before.partition != now.partition),
        (
            "cluster.forget_after",
            before.forget_after != now.forget_after,
        ),
        ("redis", runs(Strategy::Redis) && old.redis != new.redis),
        ("raft", runs(Strategy::Raft) && old.raft != new.raft),
        ("service", old.service != new.service),
        ("billing", old.billing != new.billing),
        ("telemetry", old.telemetry != new.telemetry),
    ];
    let differs = differs.into_iter().filter(|(_, differs)| *differs);
    differs.map(|(key, _)| key.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    fn config(text: &str) -> Config {
        let source = Source { name: "f", text };
        Config::parse(source).unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[track_caller]
    fn check(old: &str, new: &str, expected: &[&str]) {
        let changes = changes(&config(old), &config(new), |name| name == "made");
        assert_eq!(changes, expected);
    }

    fn limit(name: &str, rest: &str) -> String {
        format!("[[limit]]\nname = \"{name}\"\n{rest}\n")
    }

    const FIVE: &str = "algorithm = \"gcra\"\nlimit = 5\nper = \"1m\"";
    const TEN: &str = "algorithm = \"gcra\"\nlimit = 10\nper = \"1h\"";

    #[test]
    fn what_has_changed_of_limits_is_told_field_by_field() {
        let (five, ten) = (limit("login", FIVE), limit("login", TEN));
        check(&five, &five, &[]);
        check(&five, &ten, &["limit login: limit 5 → 10, per 1m → 1h"]);
        let window = "algorithm = \"fixed_window\"\nlimit = 5\nper = \"1m\"\nanchor = \"first_hit\"\n\
                      strategy = \"local\"\non_failure = \"allow\"";
        check(
            &five,
            &limit("login", window),
            &[
                "limit login: algorithm gcra → fixed_window, anchor epoch → first_hit, strategy owner → local, \
               on_failure deny → allow",
            ],
        );
        let burst = format!("{FIVE}\nburst = 9");
        check(
            &five,
            &limit("login", &burst),
            &["limit login: burst 5 → 9"],
        );
        let kept = format!("{FIVE}\nkeep = true");
        check(
            &five,
            &limit("login", &kept),
            &["limit login: keep false → true"],
        );
        let daily =
            "algorithm = \"fixed_window\"\nlimit = 5\nanchor = \"day\"\nzone = \"Europe/Vienna\"";
        check(
            &five,
            &limit("login", daily),
            &[
                "limit login: algorithm gcra → fixed_window, per 1m → the calendar's, anchor epoch → day, \
               zone none → Europe/Vienna",
            ],
        );
        check(
            "",
            &limit("daily", daily),
            &["limit daily: added, fixed_window, limit 5, anchor day, zone Europe/Vienna"],
        );
        check(
            &(five.clone() + &limit("made", FIVE)),
            &limit("other", TEN),
            &[
                "limit other: added, gcra, limit 10, per 1h",
                "limit login: removed",
                "limit made: removed; the one made at run time is in force",
            ],
        );
        check(
            &five,
            &(five.clone() + &limit("made", FIVE)),
            &[
                "limit made: added, gcra, limit 5, per 1m; the one made at run time has no effect any more",
            ],
        );
    }

    #[test]
    fn what_has_changed_besides_is_named() {
        let five = limit("login", FIVE);
        let route = |path: &str, by: &str| {
            format!(
                "[[route]]\npath = \"{path}\"\nlimit = \"login\"\nidentify = [{{ {by} = true }}]\n"
            )
        };
        let old = format!("{five}{}{}", route("/a", "peer"), route("/b", "peer"));
        let new = format!("{five}{}{}", route("/c", "peer"), route("/b", "browser"));
        check(
            &old,
            &new,
            &["route /c: added", "route /b: changed", "route /a: removed"],
        );
        let rule = "[[rule]]\ndomain = \"edge\"\nmatch = [{ key = \"ip\" }]\nlimit = \"login\"\n";
        let cluster = "[cluster]\ntrusted_proxies = [\"10.0.0.0/8\"]\nmax_keys = 1000\n";
        check(
            &five,
            &format!("{cluster}{five}{rule}"),
            &[
                "rules: changed, 0 → 1",
                "trusted_proxies: none → 10.0.0.0/8",
                "max_keys: 20000000 → 1000",
            ],
        );
        let with_rule = format!("{five}{rule}");
        check(&with_rule, &with_rule, &[]);
    }

    #[test]
    fn what_members_compare_of_other_sections_is_told_entry_by_entry() {
        let check = |text: &str, has_routes: bool, has_rules: bool, expected: &[&str]| {
            let mut told: Vec<String> = sections(&config(text), has_routes, has_rules)
                .into_iter()
                .map(|(name, says)| format!("{name}: {says}"))
                .collect();
            told.sort();
            assert_eq!(told, expected);
        };
        check("", true, true, &[]);
        let text = format!(
            "[cluster]\nreplicas = 1\nmax_lag = \"250ms\"\nmax_memory = \"1GB\"\n\
             trusted_proxies = [\"10.0.0.0/8\"]\n{}\
             [[route]]\npath = \"/a\"\nlimit = \"login\"\nidentify = [{{ header = \"X-Id\" }}, {{ peer = true }}]\n\
             [[rule]]\ndomain = \"edge\"\nmatch = [{{ key = \"path\", value = \"/b*\" }}, {{ key = \"ip\" }}]\n\
             limit = \"login\"\n",
            limit("login", FIVE)
        );
        let of_cluster = [
            "[cluster] max_memory: 1000000000 bytes",
            "[cluster] replicas: 1",
            "[cluster] trusted_proxies: 10.0.0.0/8",
            "[cluster]: ",
        ];
        check(&text, false, false, &of_cluster);
        let of_fronts = [
            "[[route]] /a: limit login, by header x-id, peer",
            "[[route]]: ",
            "[[rule]] edge: path = /b*, ip: limit login",
            "[[rule]]: ",
        ];
        let of_all = [&of_fronts[..], &of_cluster, &["[service]: "]].concat();
        check(&text, true, true, &of_all);
    }

    /// A tenant's cap, and who may sign up, depended on the node that was asked, without a word.
    #[test]
    fn what_members_compare_of_a_service_is_its_plans_and_what_clients_are_told() {
        let told = |text: &str| {
            let told = sections(&config(text), true, false).into_iter();
            let is_of_it =
                |name: &str| name.starts_with("[service]") || name.starts_with("[[plan]]");
            let told = told.filter(|(name, _)| is_of_it(name));
            told.map(|(name, says)| format!("{name}: {says}"))
                .collect::<Vec<_>>()
        };
        let usual = told("[service]\npublic_url = \"https://a\"");
        assert_eq!(
            usual[..4],
            [
                "[service]: ",
                "[service] public_url: https://a",
                "[[plan]]: ",
                "[[plan]] free: 10000 requests a day, 100 a second, 20 limits, 1000 key limits, 5 API keys, team of 3, \
                 that of no subscription",
            ]
        );
        assert_eq!(usual.len(), 6, "{usual:?}");
        let plan = |name: &str, rest: &str| {
            format!(
                "[[plan]]\nname = \"{name}\"\nper_second = 1\nlimits = 2\nkey_limits = 3\napi_keys = 4\nteam = 5\n{rest}\n"
            )
        };
        let keys = "signup = \"open\"\nsession_idle = \"5m\"\nsession_max = \"1h\"\nstale_after = \"1m\"\n";
        let prices = "price = \"p\"\nmetered_price = \"m\"";
        let text = format!(
            "[service]\npublic_url = \"https://a\"\n{keys}{}{}",
            plan("one", ""),
            plan("two", prices)
        );
        let says = "requests a day set by an operator, 1 a second, 2 limits, 3 key limits, 4 API keys, team of 5";
        assert_eq!(
            told(&text),
            [
                "[service]: ".to_owned(),
                "[service] public_url: https://a".to_owned(),
                "[service] signup: open".to_owned(),
                "[service] session_idle: 5m".to_owned(),
                "[service] session_max: 1h".to_owned(),
                "[service] stale_after: 1m".to_owned(),
                "[[plan]]: ".to_owned(),
                format!("[[plan]] one: {says}, that of no subscription"),
                format!("[[plan]] two: {says}, price p, metered price m"),
            ]
        );
    }

    #[test]
    fn what_only_a_restart_changes_is_named_by_its_key() {
        let check = |new: &str, runs: bool, expected: &[&str]| {
            let keys = needing_a_restart(&config(""), &config(new), |_| runs);
            assert_eq!(keys, expected, "{new}");
        };
        check("[cluster]\nmax_keys = 1000", true, &[]);
        let all = "[cluster]\nreplicas = 1\nack = \"replicated\"\nmax_lag = \"1s\"\npartition = \"quorum\"\n\
                   forget_after = \"1m\"";
        check(
            all,
            false,
            &[
                "cluster.replicas",
                "cluster.ack",
                "cluster.max_lag",
                "cluster.partition",
                "cluster.forget_after",
            ],
        );
        let redis = "[redis]\nurl = \"redis://localhost\"";
        check(redis, false, &[]);
        check(redis, true, &["redis"]);
        check("[raft]\ndata_dir = \"/x\"", true, &["raft"]);
        let telemetry = "[telemetry]\notlp = \"http://localhost\"";
        check(telemetry, false, &["telemetry"]);
    }
}
