//! What Weir reads of HTTP by itself, beside the head: names, queries, cookies and addresses; and the name of a limit, as

#![no_main]

#[path = "../laws/http-clues.rs"]
mod law;

libfuzzer_sys::fuzz_target!(|input: &[u8]| law::check(input));
