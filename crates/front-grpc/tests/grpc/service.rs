//! What is asked, and what Envoy is told.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use accounts::{Plan, Plans, Scope};
use catalogue::{Content, NamedLimit};
use coordinator::{FailMode, NoDecision, Strategy};
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::UInt64Value;
use fake_node::{API_KEY, TENANT};
use front_grpc::{Bound, GrpcConfig, Match, Rules, ratelimit_config};
use limiter::{Access, Node as _, Service};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use quota::{Algorithm, Limit, Nanos};
use tokio::sync::Barrier;
use tonic::Request;
use tonic::metadata::MetadataValue;

use crate::server::{Server, config, named, per_minute, policy, request, rule, rules};

/// When a test gives up.
const WITHIN: Duration = Duration::from_secs(20);

/// A status as text: `OK login 2/minute: 1 left, reset 60s`.
fn status(status: &DescriptorStatus) -> String {
    let code = status.code().as_str_name();
    let Some(limit) = &status.current_limit else {
        return match status.limit_remaining {
            0 => code.to_owned(),
            left => format!("{code} {left} left"),
        };
    };
    let reset = status.duration_until_reset.unwrap();
    assert_eq!(reset.nanos, 0, "whole seconds");
    format!(
        "{code} {} {}/{}: {} left, reset {}s",
        limit.name,
        limit.requests_per_unit,
        limit.unit().as_str_name(),
        status.limit_remaining,
        reset.seconds
    )
}

fn statuses(response: &RateLimitResponse) -> Vec<String> {
    response.statuses.iter().map(status).collect()
}

fn header<'r>(response: &'r RateLimitResponse, name: &str) -> Option<&'r str> {
    let mut headers = response.response_headers_to_add.iter();
    let header = headers.find(|header| header.key == name)?;
    Some(&header.value)
}

#[tokio::test]
async fn rules_come_and_go_on_connections_that_stay() {
    let server = Server::start(config(rules())).await;
    let mut client = server.client().await;
    let mut ask = async |descriptor: &str| {
        let asked = client.should_rate_limit(request("edge", &[descriptor]));
        statuses(&asked.await.unwrap().into_inner())
    };
    assert_eq!(
        ask("ip=10.0.0.1").await,
        ["OK login 2/MINUTE: 1 left, reset 60s"]
    );
    let (mut others, entry) = (Rules::default(), |key: &str| Match {
        key: key.to_owned(),
        value: None,
    });
    let login = named("login".to_owned(), Bound::Named("login".to_owned()));
    others.add("edge", &[entry("address")], login).unwrap();
    assert_ne!(others, rules());
    server.front.replace(config(others));
    assert_eq!(ask("ip=10.0.0.1").await, ["OK"]);
    // Counted under the same name and key as before.
    assert_eq!(
        ask("address=10.0.0.1").await,
        ["OK login 2/MINUTE: 0 left, reset 60s"]
    );
}

#[tokio::test]
async fn a_spent_limit_is_over_with_everything_that_envoy_makes_headers_of() {
    let server = Server::start(config(rules())).await;
    let mut codes = Vec::new();
    let mut last = RateLimitResponse::default();
    for _ in 0..3 {
        last = server.ask(request("edge", &["ip=10.0.0.1"])).await.unwrap();
        assert_eq!(last.overall_code(), last.statuses[0].code());
        codes.extend(statuses(&last));
    }
    assert_eq!(
        codes,
        [
            "OK login 2/MINUTE: 1 left, reset 60s",
            "OK login 2/MINUTE: 0 left, reset 60s",
            "OVER_LIMIT login 2/MINUTE: 0 left, reset 60s",
        ]
    );
    for (name, value) in [
        ("ratelimit-policy", r#""login";q=2;w=60"#),
        ("ratelimit", r#""login";r=0;t=60"#),
        ("x-ratelimit-limit", "2"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "60"),
        ("retry-after", "60"),
    ] {
        assert_eq!(header(&last, name), Some(value), "{name}");
    }
    assert_eq!(server.node.counted(), [("login".into(), "10.0.0.1".into())]);
}

/// The answer is the same whether this node decides at once or has to ask.
#[tokio::test]
async fn who_owns_the_key_makes_no_difference() {
    let mut told = Vec::new();
    for is_owner in [true, false] {
        let server = Server::start(config(rules())).await;
        server.node.decides_at_once.store(is_owner, Relaxed);
        for _ in 0..3 {
            told.push(server.ask(request("edge", &["ip=1"])).await.unwrap());
        }
    }
    assert_eq!(told[..3], told[3..]);
}

#[tokio::test]
async fn each_descriptor_has_a_status_in_its_place_and_counts_for_itself() {
    let server = Server::start(config(rules())).await;
    let descriptors = ["ip=1", "unknown=1", "user=ada", "ip=1", "ip=1"];
    let response = server.ask(request("edge", &descriptors)).await.unwrap();
    assert_eq!(
        statuses(&response),
        [
            "OK login 2/MINUTE: 1 left, reset 60s",
            "OK",
            "OK user 10/MINUTE: 9 left, reset 60s",
            "OK login 2/MINUTE: 0 left, reset 60s",
            "OVER_LIMIT login 2/MINUTE: 0 left, reset 60s",
        ]
    );
    assert_eq!(response.overall_code(), Code::OverLimit);
    // The limit that denies, not the last or the first.
    assert_eq!(header(&response, "x-ratelimit-limit"), Some("2"));
    let next = server.ask(request("edge", &["user=ada"])).await.unwrap();
    assert_eq!(next.statuses[0].limit_remaining, 8, "it was counted");
}

#[tokio::test]
async fn the_headers_are_those_of_the_limit_that_is_nearest_to_deny() {
    let server = Server::start(config(rules())).await;
    let response = server.ask(request("edge", &["user=1", "ip=1"])).await;
    let response = response.unwrap();
    assert_eq!(header(&response, "x-ratelimit-remaining"), Some("1"));
    assert_eq!(header(&response, "retry-after"), None);
}

#[tokio::test]
async fn what_no_rule_is_for_passes() {
    let server = Server::start(config(rules())).await;
    for (domain, descriptor) in [
        ("other", "ip=1"),
        ("edge", "unknown=1"),
        ("edge", "ip=1 user=1"),
        ("edge", ""),
    ] {
        let response = server.ask(request(domain, &[descriptor])).await.unwrap();
        assert_eq!(statuses(&response), ["OK"], "{domain} {descriptor}");
        assert!(response.response_headers_to_add.is_empty());
    }
    assert!(server.node.counted().is_empty());
}

/// `user=ada` with these addends, on a fresh node with 10 a minute.
async fn ask_with(
    server: &Server,
    of_request: u32,
    own: Option<u64>,
    is_negative: bool,
) -> (Code, u32) {
    let mut request = RateLimitRequest {
        hits_addend: of_request,
        ..request("edge", &["user=ada"])
    };
    request.descriptors[0].hits_addend = own.map(|value| UInt64Value { value });
    request.descriptors[0].is_negative_hits = is_negative;
    let response = server.ask(request).await.unwrap();
    let status = &response.statuses[0];
    (status.code(), status.limit_remaining)
}

#[tokio::test]
async fn addends_say_how_much_is_counted_or_given_back() {
    for (of_request, own, expected) in [
        (0, None, (Code::Ok, 9)),
        (1, None, (Code::Ok, 9)),
        (4, None, (Code::Ok, 6)),
        (4, Some(2), (Code::Ok, 8)),
        (4, Some(0), (Code::Ok, 10)),
        (0, Some(11), (Code::OverLimit, 10)),
        (0, Some(u64::MAX), (Code::OverLimit, 10)),
    ] {
        let server = Server::start(config(rules())).await;
        let told = ask_with(&server, of_request, own, false).await;
        assert_eq!(told, expected, "{of_request} {own:?}");
    }
}

#[tokio::test]
async fn a_peek_at_a_spent_key_is_over_and_counts_nothing() {
    let server = Server::start(config(rules())).await;
    assert_eq!(ask_with(&server, 10, None, false).await, (Code::Ok, 0));
    let peek = ask_with(&server, 1, Some(0), false).await;
    assert_eq!(peek, (Code::OverLimit, 0));
    server.node.advance(Nanos::from_secs(60));
    assert_eq!(ask_with(&server, 1, Some(0), false).await, (Code::Ok, 10));
}

#[tokio::test]
async fn negative_hits_give_back_and_never_more_than_was_taken() {
    let server = Server::start(config(rules())).await;
    ask_with(&server, 10, None, false).await;
    assert_eq!(ask_with(&server, 0, Some(3), true).await, (Code::Ok, 3));
    // The request's own addend counts, where the descriptor has none.
    assert_eq!(ask_with(&server, 2, None, true).await, (Code::Ok, 5));
    assert_eq!(ask_with(&server, 0, None, true).await, (Code::Ok, 6));
    assert_eq!(ask_with(&server, 0, Some(0), true).await, (Code::Ok, 6));
    let all = ask_with(&server, 0, Some(u64::MAX), true).await;
    assert_eq!(all, (Code::Ok, 10));
}

/// Sixteen that wait for a silent owner, one behind the other, took 56 s: longer than a node that stops waits for them.
#[tokio::test]
async fn what_is_given_back_does_not_wait_for_each_other() {
    let server = Server::start(config(rules())).await;
    ask_with(&server, 10, None, false).await;
    *server.node.refunds_meet.lock().unwrap() = Some(Arc::new(Barrier::new(8)));
    let mut request = request("edge", &["user=ada"; 8]);
    for descriptor in &mut request.descriptors {
        descriptor.is_negative_hits = true;
    }
    let response = tokio::time::timeout(WITHIN, server.ask(request)).await;
    let response = response.expect("all of them are asked at once").unwrap();
    let mut left: Vec<_> = response
        .statuses
        .iter()
        .map(|status| status.limit_remaining)
        .collect();
    left.sort();
    assert_eq!(left, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[tokio::test]
async fn a_refund_that_leaves_nothing_is_ok() {
    let server = Server::start(config(rules())).await;
    ask_with(&server, 10, None, false).await;
    assert_eq!(ask_with(&server, 0, Some(0), true).await, (Code::Ok, 0));
}

#[tokio::test]
async fn a_period_that_has_no_name_has_the_unit_unknown() {
    let mut rules = Rules::default();
    let limit = Limit::new(Algorithm::Gcra, 5, Nanos::from_secs(10)).unwrap();
    let entry = Match {
        key: "a".to_owned(),
        value: None,
    };
    let rule = rule(policy("ten", limit));
    rules.add("edge", &[entry], rule).unwrap();
    let server = Server::start(config(rules)).await;
    let response = server.ask(request("edge", &["a=1"])).await.unwrap();
    assert_eq!(statuses(&response), ["OK ten 5/UNKNOWN: 4 left, reset 2s"]);
}

/// A rule names its limit, which is looked up for each request: what is changed at run time holds from the next one on.
#[tokio::test]
async fn a_rule_is_held_to_the_limit_that_has_its_name_now() {
    let mut rules = Rules::default();
    let entry = Match {
        key: "a".to_owned(),
        value: None,
    };
    let rule = named("later".to_owned(), Bound::Named("later".to_owned()));
    rules.add("edge", &[entry], rule).unwrap();
    let server = Server::start(config(rules)).await;
    let status = server.ask(request("edge", &["a=1"])).await.unwrap_err();
    let text = "descriptor 0: no limit has this name; nothing was counted";
    assert_eq!(
        (status.code(), status.message()),
        (tonic::Code::Unavailable, text)
    );
    for (units, left) in [(3, 2), (5, 3)] {
        let limit = NamedLimit {
            limit: per_minute(units),
            as_token_bucket: false,
            strategy: Strategy::Owner,
            on_failure: FailMode::Deny,
            top_keys: false,
        };
        server.node.make("later", limit);
        let response = server.ask(request("edge", &["a=1"])).await.unwrap();
        let expected = format!("OK later {units}/MINUTE: {left} left, reset 60s");
        assert_eq!(statuses(&response), [expected]);
    }
}

#[tokio::test]
async fn a_limit_that_fails_open_passes() {
    let mut rules = Rules::default();
    let mut open = policy("open", per_minute(1));
    open.on_failure = FailMode::Allow;
    let entry = Match {
        key: "a".to_owned(),
        value: None,
    };
    rules.add("edge", &[entry], rule(open)).unwrap();
    let server = Server::start(config(rules)).await;
    let soon = Nanos::from_secs(1);
    let error = NoDecision::Unavailable { retry_after: soon };
    server.node.lost.lock().unwrap().push(("*", error));
    let response = server.ask(request("edge", &["a=1"])).await.unwrap();
    assert_eq!(statuses(&response), ["OK open 1/MINUTE: 0 left, reset 0s"]);
}

async fn serve_file(text: &str) -> Server {
    let mut rules = Rules::default();
    let mut problems = Vec::new();
    ratelimit_config::read("edge.yaml", text, &mut rules, &mut problems);
    assert_eq!(problems, []);
    Server::start(config(rules)).await
}

const FILE: &str = "
domain: edge
descriptors:
  - key: banned
    rate_limit: {unit: hour, requests_per_unit: 0}
  - key: internal
    rate_limit: {unlimited: true}
  - key: trial
    shadow_mode: true
    rate_limit: {unit: minute, requests_per_unit: 1}
  - key: kind
    value: read
    rate_limit: {name: reads, unit: minute, requests_per_unit: 5}
  - key: vip
    rate_limit: {unit: minute, requests_per_unit: 50, replaces: [{name: reads}]}
";

#[tokio::test]
async fn a_file_of_envoyproxy_ratelimit_is_answered_as_there() {
    let server = serve_file(FILE).await;
    let ask = async |descriptors: &[&str]| {
        let response = server.ask(request("edge", descriptors)).await.unwrap();
        (response.overall_code(), statuses(&response))
    };
    let (code, told) = ask(&["banned=1"]).await;
    assert_eq!(code, Code::OverLimit);
    assert!(told[0].starts_with("OVER_LIMIT edge.banned 0/HOUR: 0 left, reset "));

    let unlimited = format!("OK {} left", u32::MAX);
    assert_eq!(ask(&["internal=1"]).await, (Code::Ok, vec![unlimited]));

    let trial = |left| format!("OK edge.trial 1/MINUTE: {left} left, reset 60s");
    for _ in 0..2 {
        assert_eq!(ask(&["trial=1"]).await, (Code::Ok, vec![trial(0)]));
    }
    // Counted: a rule that hides what it says is not one that does nothing.
    let counted = server.node.counted();
    assert_eq!(counted, [("@ratelimit:edge,trial,".into(), "1".into())]);

    let (_, told) = ask(&["kind=read"]).await;
    assert_eq!(told, ["OK reads 5/MINUTE: 4 left, reset 60s"]);
    let (_, told) = ask(&["kind=read", "vip=ada"]).await;
    assert_eq!(told, ["OK", "OK edge.vip 50/MINUTE: 49 left, reset 60s"]);
    let (_, told) = ask(&["kind=read"]).await;
    assert_eq!(
        told,
        ["OK reads 5/MINUTE: 3 left, reset 60s"],
        "what is replaced is not counted"
    );
}

/// Rules in shadow mode are there to be tried out: without a decision they turned requests away.
#[tokio::test]
async fn a_rule_in_shadow_mode_turns_nobody_away_when_nobody_can_decide() {
    let server = serve_file(FILE).await;
    let soon = Nanos::from_secs(1);
    let unknown = NoDecision::Unknown { retry_after: soon };
    let unavailable = NoDecision::Unavailable { retry_after: soon };
    let lost = [("lost", unknown), ("gone", unavailable)];
    server.node.lost.lock().unwrap().extend(lost);
    let undecided = "OK edge.trial 1/MINUTE: 0 left, reset 0s";
    for is_owner in [true, false] {
        server.node.decides_at_once.store(is_owner, Relaxed);
        for is_negative_hits in [false, true] {
            let mut request = request("edge", &["trial=lost"]);
            request.descriptors[0].is_negative_hits = is_negative_hits;
            let response = server.ask(request).await.unwrap();
            assert_eq!(statuses(&response), [undecided]);
        }
    }
    // Another does, and what is unknown of the shadowed one is told.
    let status = server
        .ask(request("edge", &["vip=gone", "trial=lost"]))
        .await;
    let text = status.unwrap_err().message().to_owned();
    assert!(
        text.contains("descriptor 1") && text.contains("unknown"),
        "{text}"
    );
}

#[tokio::test]
async fn nothing_passes_where_nothing_may_not_even_a_peek() {
    let server = serve_file(FILE).await;
    let mut peek = request("edge", &["banned=1"]);
    peek.descriptors[0].hits_addend = Some(UInt64Value { value: 0 });
    let response = server.ask(peek).await.unwrap();
    assert_eq!(response.overall_code(), Code::OverLimit);
}

/// A client that is told `OVER_LIMIT` read that four were left.
#[tokio::test]
async fn the_headers_are_never_those_of_a_limit_that_allowed_where_another_denied() {
    let server = serve_file(FILE).await;
    let response = server
        .ask(request("edge", &["kind=read", "banned=1"]))
        .await;
    let response = response.unwrap();
    assert_eq!(response.overall_code(), Code::OverLimit);
    assert_eq!(response.response_headers_to_add, []);
    // What is given back is never denied.
    let mut refund = request("edge", &["kind=read", "banned=1"]);
    refund.descriptors[1].is_negative_hits = true;
    let response = server.ask(refund).await.unwrap();
    assert_eq!(header(&response, "x-ratelimit-limit"), Some("5"));
}

#[tokio::test]
async fn a_shadowed_limit_is_in_no_header() {
    let server = serve_file(FILE).await;
    let response = server.ask(request("edge", &["trial=1"])).await.unwrap();
    assert_eq!(response.response_headers_to_add, []);
}

#[tokio::test]
async fn a_limit_that_the_descriptor_brings_is_its_own() {
    let server = serve_file(FILE).await;
    let with_override = |descriptor: &str, requests_per_unit, unit| {
        let mut request = request("edge", &[descriptor]);
        request.descriptors[0].limit = Some(RateLimitOverride {
            requests_per_unit,
            unit,
        });
        request
    };
    for left in [1, 0] {
        let response = server.ask(with_override("kind=read", 2, 2)).await.unwrap();
        let expected = format!("OK override 2/MINUTE: {left} left, reset 60s");
        assert_eq!(statuses(&response), [expected]);
    }
    let response = server.ask(with_override("kind=read", 2, 2)).await.unwrap();
    assert_eq!(response.overall_code(), Code::OverLimit);
    // By all entries, keys too: another descriptor, or another unit, is another count.
    for (descriptor, unit) in [("kind=write", 2), ("read=kind", 2), ("kind=read", 1)] {
        let response = server.ask(with_override(descriptor, 2, unit)).await;
        assert_eq!(response.unwrap().statuses[0].limit_remaining, 1);
    }
    let response = server.ask(with_override("kind=read", 0, 2)).await.unwrap();
    assert_eq!(response.overall_code(), Code::OverLimit);
    // Without a domain that is known, it is one more descriptor that no rule is for.
    let mut unknown = with_override("kind=read", 1, 2);
    unknown.domain = "other".to_owned();
    let response = server.ask(unknown).await.unwrap();
    assert_eq!(statuses(&response), ["OK"]);
}

/// With a tenant whose plan lets it ask so often a day.
async fn serve_tenant(requests_per_day: u32) -> Server {
    serve_tenant_until(None, requests_per_day).await
}

/// One that takes its API key until it has heard of nobody for so long.
async fn serve_tenant_until(stale_after: Option<Nanos>, requests_per_day: u32) -> Server {
    let plans = Plans::default();
    let plan = Plan {
        requests_per_day: Some(requests_per_day),
        ..plans.first().clone()
    };
    let url = "https://weir.example.com".into();
    let plans = Plans::new(vec![plan]).unwrap();
    let mut service = Service::new(b"the cookie of the tests", url, plans);
    service.stale_after = stale_after;
    let server = Server::start(GrpcConfig {
        access: Access::new(None, Some(service)),
        ..config(rules())
    })
    .await;
    server.node.make_tenant([Scope::Check]);
    for (name, units) in [("login", 20), ("user", 10)] {
        let limit = NamedLimit {
            limit: per_minute(units),
            as_token_bucket: false,
            strategy: Strategy::Owner,
            on_failure: FailMode::Deny,
            top_keys: false,
        };
        let limit = Content::Limit(limit);
        server.node.set(TENANT, name, limit).await.unwrap();
    }
    server
}

#[tokio::test]
async fn a_credential_that_another_member_knows_is_asked_about() {
    let server = serve_tenant(3).await;
    let ask = async || {
        let mut request = Request::new(request("edge", &["ip=1"]));
        let bearer = MetadataValue::try_from(format!("Bearer {API_KEY}")).unwrap();
        request.metadata_mut().insert("authorization", bearer);
        server.client().await.should_rate_limit(request).await
    };
    server.node.leave_elsewhere();
    assert!(ask().await.is_ok());
    // The second time nobody has anything left to tell.
    server.node.leave_elsewhere();
    server.node.leave_elsewhere();
    let status = ask().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
}

/// Whatever it was refused for, another member was asked once more.
#[tokio::test]
async fn nobody_is_asked_about_a_credential_that_would_be_refused_all_the_same() {
    let server = serve_tenant_until(Some(Nanos::from_secs(1)), 3).await;
    server.node.leave_elsewhere();
    *server.node.silent.lock().unwrap() = Some(Nanos::from_secs(1));
    let mut request = Request::new(request("edge", &["ip=1"]));
    let bearer = MetadataValue::try_from(format!("Bearer {API_KEY}")).unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let mut client = server.client().await;
    let status = client.should_rate_limit(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    let tenant = server
        .node
        .record(catalogue::Kind::Tenant, catalogue::SERVICE, TENANT);
    let keys = server
        .node
        .count_records(catalogue::Kind::ApiKey, catalogue::SERVICE);
    assert_eq!((tenant, keys), (None, 0));
}

/// It was counted before another member was asked, and again after that.
#[tokio::test]
async fn an_api_key_that_nobody_knows_is_counted_once() {
    let recorder = DebuggingRecorder::new();
    // The server's tasks are of this thread.
    let _in_force = metrics::set_default_local_recorder(&recorder);
    let server = serve_tenant(3).await;
    for _ in 0..2 {
        server.node.leave_elsewhere();
    }
    let mut request = Request::new(request("edge", &["ip=1"]));
    let bearer = MetadataValue::try_from(format!("Bearer {API_KEY}")).unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let mut client = server.client().await;
    assert!(client.should_rate_limit(request).await.is_err());
    let counted = recorder.snapshotter().snapshot().into_vec().into_iter();
    let refusals = counted.filter_map(|(key, _, _, value)| match value {
        DebugValue::Counter(count) if key.key().name() == "weir_api_key_refusals_total" => {
            Some(count)
        }
        _ => None,
    });
    assert_eq!(refusals.collect::<Vec<_>>(), [1]);
}

/// Envoy asks again, or lets pass, what is `UNAVAILABLE`: a day that is used up is over, as any limit is.
#[tokio::test]
async fn a_tenant_whose_day_is_used_up_is_over_its_limit() {
    let server = serve_tenant(3).await;
    let ask = async |descriptors: &[&str]| {
        let mut request = Request::new(request("edge", descriptors));
        let bearer = MetadataValue::try_from(format!("Bearer {API_KEY}")).unwrap();
        request.metadata_mut().insert("authorization", bearer);
        let response = server.client().await.should_rate_limit(request).await;
        response.unwrap().into_inner()
    };
    for _ in 0..3 {
        let response = ask(&["ip=1"]).await;
        assert_eq!(response.overall_code(), Code::Ok);
    }
    for descriptors in [&["ip=1"][..], &["ip=1", "user=ada"]] {
        let response = ask(descriptors).await;
        assert_eq!(response.overall_code(), Code::OverLimit);
        for status in &response.statuses {
            let resets_in = status.duration_until_reset.unwrap().seconds;
            assert_eq!(
                (status.code(), status.limit_remaining),
                (Code::OverLimit, 0)
            );
            assert!((1..=86_400).contains(&resets_in), "{resets_in}");
        }
    }
    let refused = ("user".to_owned(), "ada".to_owned());
    assert!(!server.node.counted().contains(&refused));
}
