//! Requests that make no sense, and requests that nobody can decide.

use coordinator::NoDecision;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::google::protobuf::UInt64Value;
use quota::Nanos;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use crate::server::{Server, config, request, rules};

/// The request is refused with this, and nothing is counted.
async fn check(request: RateLimitRequest, code: Code, text: &str) {
    let server = Server::start(config(rules())).await;
    let status = server.ask(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, text));
    assert!(server.node.counted().is_empty());
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name_and_counts_nothing() {
    let invalid = async |request, text: &str| {
        let text = format!("{text}; nothing was counted");
        check(request, Code::InvalidArgument, &text).await;
    };
    invalid(request("", &["ip=1"]), "the domain is empty").await;
    invalid(request("edge", &[]), "0 descriptors, accepted: 1 to 16").await;
    invalid(
        request("edge", &["ip=1"; 17]),
        "17 descriptors, accepted: 1 to 16",
    )
    .await;
    invalid(
        request("edge", &["ip=1", "a b c d e f g h i"]),
        "descriptor 1 has 9 entries, accepted: at most 8",
    )
    .await;
    let long = "x".repeat(257);
    invalid(
        request("edge", &["ip=1", &format!("ip={long}")]),
        "descriptor 1 has a value of 257 bytes, accepted: at most 256",
    )
    .await;
    invalid(
        request("edge", &[&format!("{long}=1")]),
        "descriptor 0 has a key of 257 bytes, accepted: at most 256",
    )
    .await;
    for (units, unit, text) in [
        (
            1,
            0,
            "the limit of descriptor 0 has the unit 0, accepted: 1 to 7",
        ),
        (
            1,
            8,
            "the limit of descriptor 0 has the unit 8, accepted: 1 to 7",
        ),
        (
            u32::MAX,
            1,
            "the limit of descriptor 0 has 4294967295 requests_per_unit, accepted: 1 to 2147483647",
        ),
    ] {
        let mut with_limit = request("edge", &["ip=1"]);
        with_limit.descriptors[0].limit = Some(RateLimitOverride {
            requests_per_unit: units,
            unit,
        });
        invalid(with_limit, text).await;
    }
}

/// The largest that is accepted is.
#[tokio::test]
async fn a_request_at_all_of_its_bounds_is_answered() {
    let server = Server::start(config(rules())).await;
    let entry = format!("{}={}", "k".repeat(256), "v".repeat(256));
    let descriptor = vec![entry; 8].join(" ");
    let response = server.ask(request("edge", &vec![&*descriptor; 16])).await;
    assert_eq!(response.unwrap().statuses.len(), 16);
}

#[tokio::test]
async fn a_message_beyond_its_bound_is_not_read() {
    let domain = "x".repeat(90 * 1024);
    let server = Server::start(config(rules())).await;
    let status = server.ask(request(&domain, &["ip=1"])).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
}

const SOON: Nanos = Nanos::from_millis(200);

/// Envoy lets `UNKNOWN` pass whatever its `failure_mode_deny` says.
#[tokio::test]
async fn no_decision_is_unavailable_and_says_what_was_counted() {
    for (error, text) in [
        (
            NoDecision::Unavailable { retry_after: SOON },
            "no node could decide this hit, and it was not counted",
        ),
        (
            NoDecision::Unknown { retry_after: SOON },
            "the deciding node did not answer, and it is unknown whether this hit was counted",
        ),
        (
            NoDecision::Overloaded { retry_after: SOON },
            "too many hits are waiting, and this one was not counted",
        ),
        (
            NoDecision::Draining { retry_after: SOON },
            "this node is draining, and the hit was not counted",
        ),
    ] {
        let server = Server::start(config(rules())).await;
        server.node.lost.lock().unwrap().push(("lost", error));
        let status = server.ask(request("edge", &["ip=lost"])).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), format!("descriptor 0: {text}"));
        assert_eq!(status.metadata().get("retry-after").unwrap(), "1");

        let status = server
            .ask(request("edge", &["ip=1", "ip=lost", "user=1"]))
            .await
            .unwrap_err();
        let others = "2 of the others were counted";
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), format!("descriptor 1: {text}; {others}"));

        let mut refund = request("edge", &["ip=lost"]);
        refund.descriptors[0].is_negative_hits = true;
        let status = server.ask(refund).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
    }
}

/// Whoever reads "not counted" may ask again, all of it.
#[tokio::test]
async fn what_may_have_been_counted_is_told_before_what_was_not() {
    let server = Server::start(config(rules())).await;
    let unavailable = NoDecision::Unavailable { retry_after: SOON };
    let unknown = NoDecision::Unknown { retry_after: SOON };
    let lost = [("lost", unavailable), ("late", unknown), ("later", unknown)];
    server.node.lost.lock().unwrap().extend(lost);
    let descriptors = ["ip=lost", "ip=late", "ip=later"];
    let status = server.ask(request("edge", &descriptors)).await.unwrap_err();
    let text = "the deciding node did not answer, and it is unknown whether this hit was counted";
    assert_eq!(status.message(), format!("descriptor 1: {text}"));
}

/// A peek counts nothing, nor does giving back nothing.
#[tokio::test]
async fn only_what_was_counted_is_told_as_counted() {
    let server = Server::start(config(rules())).await;
    let error = NoDecision::Unavailable { retry_after: SOON };
    server.node.lost.lock().unwrap().push(("lost", error));
    let mut request = request("edge", &["ip=1", "ip=2", "ip=lost", "user=1", "user=2"]);
    for place in [1, 4] {
        request.descriptors[place].hits_addend = Some(UInt64Value { value: 0 });
    }
    for place in [3, 4] {
        request.descriptors[place].is_negative_hits = true;
    }
    let status = server.ask(request).await.unwrap_err();
    let text = "no node could decide this hit, and it was not counted";
    assert_eq!(
        status.message(),
        format!("descriptor 2: {text}; 2 of the others were counted")
    );
}

#[tokio::test]
async fn with_a_token_only_who_brings_it_is_answered() {
    let server = Server::start(front_grpc::GrpcConfig {
        access: limiter::Access::with_token("s3cret"),
        ..config(rules())
    })
    .await;
    let mut client = server.client().await;
    for (authorization, code) in [
        (None, Code::Unauthenticated),
        (Some("s3cret"), Code::Unauthenticated),
        (Some("Bearer "), Code::Unauthenticated),
        (Some("Bearer other"), Code::PermissionDenied),
        (Some("bearer s3cret"), Code::Ok),
    ] {
        let mut asked = Request::new(request("edge", &["ip=1"]));
        if let Some(text) = authorization {
            let value = MetadataValue::try_from(text).unwrap();
            asked.metadata_mut().insert("authorization", value);
        }
        let told = client.should_rate_limit(asked).await;
        let told = told.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(told, code, "{authorization:?}");
    }
}
