//! Chunked bodies, whose end is followed before hyper decodes them.

#![no_main]

#[path = "../laws/handed.rs"]
mod handed;
#[path = "../laws/http-chunks.rs"]
mod law;

libfuzzer_sys::fuzz_target!(|input: &[u8]| law::check(input));
