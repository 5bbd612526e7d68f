//! The decoder of the Redis protocol front: in any pieces the same, and never more than it was given.

#![no_main]

use front_resp::{ARGUMENTS_MAX, BULK_MAX, Decoder, ProtocolError};
use libfuzzer_sys::fuzz_target;

/// All commands of `input`, and what ended them, when it arrives in pieces of `piece` bytes.
fn decoded(input: &[u8], piece: usize) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    let mut decoder = Decoder::default();
    let mut commands = Vec::new();
    let (mut from, mut to) = (0, 0);
    while to < input.len() {
        to = input.len().min(to + piece);
        loop {
            match decoder.next(&input[from..to]) {
                Err(error) => return (commands, Some(error)),
                Ok(None) => break,
                Ok(Some(length)) => {
                    assert!(0 < length && length <= to - from);
                    let arguments = decoder.arguments(&input[from..to]);
                    assert!(arguments.len() <= ARGUMENTS_MAX);
                    let words: Vec<_> = arguments.from(0).map(<[u8]>::to_vec).collect();
                    assert!(words.iter().all(|word| word.len() <= BULK_MAX));
                    commands.push(words);
                    decoder.forget();
                    from += length;
                }
            }
        }
    }
    (commands, None)
}

fuzz_target!(|input: &[u8]| {
    let whole = decoded(input, input.len().max(1));
    for piece in [1, 2, 7] {
        assert_eq!(decoded(input, piece), whole);
    }
});
