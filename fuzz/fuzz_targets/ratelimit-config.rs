//! Files of envoyproxy/ratelimit.

#![no_main]

#[path = "../laws/ratelimit-config.rs"]
mod law;

libfuzzer_sys::fuzz_target!(|input: &[u8]| law::check(input));
