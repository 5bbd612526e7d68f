//! Heads of requests, which are looked at before hyper reads them.

#![no_main]

#[path = "../laws/handed.rs"]
mod handed;
#[path = "../laws/http-head.rs"]
mod law;

libfuzzer_sys::fuzz_target!(|input: &[u8]| law::check(input));
