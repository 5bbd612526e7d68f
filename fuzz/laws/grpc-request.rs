//! Requests of Envoy's rate limit service.

use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use front_grpc::{Rules, is_read, ratelimit_config};
use prost::Message as _;

const RULES: &str = "
domain: d
descriptors:
  - {key: a, rate_limit: {unit: second, requests_per_unit: 1, name: one}}
  - {key: b, rate_limit: {unit: second, requests_per_unit: 0, replaces: [{name: one}]}}
  - {key: c, value: 'x*', descriptors: [{key: d, rate_limit: {unit: day, requests_per_unit: 9}}]}
  - {key: e, rate_limit: {unlimited: true}}
";

/// Bytes are no message, a message that is refused, or one of which each descriptor is asked or passed over.
pub(crate) fn check(input: &[u8]) {
    let Ok(request) = RateLimitRequest::decode(input) else {
        return;
    };
    let (mut rules, mut problems) = (Rules::default(), Vec::new());
    ratelimit_config::read("file", RULES, &mut rules, &mut problems);
    assert_eq!(problems, []);
    let is_sound = !request.domain.is_empty() && (1..=16).contains(&request.descriptors.len());
    assert!(is_sound || !is_read(&rules, &request));
}
