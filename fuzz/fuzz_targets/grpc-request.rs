//! Requests of Envoy's rate limit service.

#![no_main]

#[path = "../laws/grpc-request.rs"]
mod law;

libfuzzer_sys::fuzz_target!(|input: &[u8]| law::check(input));
