//! What is a command, what is none, and that it does not matter in which pieces it comes.

use proptest::prelude::*;
use redis_protocol::resp2::encode::encode;
use redis_protocol::resp2::types::{OwnedFrame, Resp2Frame as _};

use super::*;

/// All commands of `input`, and what ended them, when it arrives in pieces of these sizes, over and over.
fn decoded(input: &[u8], pieces: &[usize]) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    let mut decoder = Decoder::default();
    let mut commands = Vec::new();
    let (mut from, mut to) = (0, 0);
    let mut pieces = pieces.iter().cycle();
    while to < input.len() {
        to = input.len().min(to + (*pieces.next().unwrap()).max(1));
        loop {
            match decoder.next(&input[from..to]) {
                Err(error) => return (commands, Some(error)),
                Ok(None) => break,
                Ok(Some(length)) => {
                    let arguments = decoder.arguments(&input[from..to]);
                    commands.push(arguments.from(0).map(<[u8]>::to_vec).collect());
                    decoder.forget();
                    from += length;
                }
            }
        }
    }
    (commands, None)
}

fn check(input: &[u8], commands: &[&[&str]], error: Option<ProtocolError>) {
    let expected: Vec<Vec<Vec<u8>>> = commands
        .iter()
        .map(|words| words.iter().map(|word| word.as_bytes().to_vec()).collect())
        .collect();
    for pieces in [&[input.len()][..], &[1], &[3, 1]] {
        let shown = String::from_utf8_lossy(&input[..input.len().min(80)]);
        assert_eq!(
            decoded(input, pieces),
            (expected.clone(), error),
            "{shown:?} in {pieces:?}"
        );
    }
}

#[test]
fn commands_are_arrays_or_lines() {
    check(b"*1\r\n$4\r\nPING\r\n", &[&["PING"]], None);
    check(b"PING\r\n", &[&["PING"]], None);
    check(b"PING\n", &[&["PING"]], None);
    check(
        b"  ECHO \t a  \r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
        &[&["ECHO", "a"], &["ECHO", ""]],
        None,
    );
    check(
        b"*2\r\n$4\r\nECHO\r\n$4\r\n\r\n*1\r\n",
        &[&["ECHO", "\r\n*1"]],
        None,
    );
}

#[test]
fn nothing_is_a_command_without_words() {
    check(
        b"\r\n*0\r\n*-1\r\n\n \r\nPING\r\n",
        &[&[], &[], &[], &[], &[], &["PING"]],
        None,
    );
}

#[test]
fn the_beginning_of_a_command_is_none() {
    for beginning in [
        "*",
        "*1",
        "*1\r",
        "*1\r\n",
        "*1\r\n$",
        "*1\r\n$4\r\n",
        "*1\r\n$4\r\nPING",
        "*1\r\n$4\r\nPING\r",
        "PING",
    ] {
        check(beginning.as_bytes(), &[], None);
    }
}

#[test]
fn what_is_no_command_is_told_as_soon_as_it_is_seen() {
    use ProtocolError::*;
    for (input, error) in [
        ("*1025\r\n", ArrayLength),
        ("*a", ArrayLength),
        ("*\r\n", ArrayLength),
        ("*+1\r\n", ArrayLength),
        ("*12345678901", ArrayLength),
        ("*1\rx", ArrayLength),
        ("*1\r\n:1\r\n", NoBulk(b':')),
        ("*1\r\n*", NoBulk(b'*')),
        ("*1\r\n\r\n", NoBulk(b'\r')),
        ("*1\r\n$65537\r\n", BulkLength),
        ("*1\r\n$-1\r\n", BulkLength),
        ("*1\r\n$-", BulkLength),
        ("*1\r\n$1.", BulkLength),
        ("*1\r\n$12345678901", BulkLength),
        ("*1\r\n$1\r\nabc", BulkEnd),
        ("GET / HTTP/1.1\r\n", Http),
        ("POST /v1/check HTTP/1.1\r\n", Http),
        ("post\r\n", Http),
        ("host: localhost:6379\r\n", Http),
    ] {
        check(input.as_bytes(), &[], Some(error));
        let after = format!("PING\r\n{input}");
        check(after.as_bytes(), &[&["PING"]], Some(error));
    }
}

/// A nested array is refused at its first byte: decoders that follow it overflow their stack at 64 KiB of these.
#[test]
fn nested_arrays_are_not_followed() {
    check(
        "*1\r\n".repeat(100_000).as_bytes(),
        &[],
        Some(ProtocolError::NoBulk(b'*')),
    );
}

#[test]
fn sizes_are_bounded() {
    let bulk = |bytes: usize| format!("${bytes}\r\n{}\r\n", "x".repeat(bytes));
    let whole = |input: String| decoded(input.as_bytes(), &[16 * 1024]);
    let largest = format!("*2\r\n$4\r\nECHO\r\n{}", bulk(BULK_MAX));
    assert_eq!(whole(largest).1, None);
    let three = format!(
        "*3\r\n{}{}{}",
        bulk(BULK_MAX),
        bulk(BULK_MAX - 100),
        bulk(100)
    );
    assert_eq!(whole(three), (vec![], Some(ProtocolError::TooLong)));
    let most = format!("*{ARGUMENTS_MAX}\r\n{}", bulk(1).repeat(ARGUMENTS_MAX));
    assert_eq!(whole(most).0[0].len(), ARGUMENTS_MAX);
    assert_eq!(
        whole("x".repeat(BULK_MAX + 1)).1,
        Some(ProtocolError::LineTooLong)
    );
    let words = format!("{}\r\n", "x ".repeat(ARGUMENTS_MAX + 1));
    assert_eq!(whole(words).1, Some(ProtocolError::ArrayLength));
}

fn words() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let word = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "[a-z.:0-9]{0,20}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(word, 1..12)
}

/// Bytes that come close to commands.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"*".to_vec()),
        Just(b"$".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"-".to_vec()),
        Just(b"*2\r\n$1\r\na\r\n".to_vec()),
        Just(b"PING".to_vec()),
        (0_u32..70_000).prop_map(|number| number.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
}

proptest! {
    /// What another implementation writes as commands is read as those, in whatever pieces.
    #[test]
    fn what_others_write_is_read(
        commands in prop::collection::vec(words(), 1..5),
        pieces in prop::collection::vec(1_usize..50, 1..5),
    ) {
        let mut input = Vec::new();
        for words in &commands {
            let bulks = words.iter().cloned().map(OwnedFrame::BulkString);
            let frame = OwnedFrame::Array(bulks.collect());
            let mut bytes = vec![0; frame.encode_len(false)];
            encode(&mut bytes, &frame, false).unwrap();
            input.append(&mut bytes);
        }
        prop_assert_eq!(decoded(&input, &pieces), (commands, None));
    }

    /// Nothing depends on where the network cuts, and nothing panics.
    #[test]
    fn pieces_change_nothing(input in noise(), pieces in prop::collection::vec(1_usize..20, 1..5)) {
        prop_assert_eq!(decoded(&input, &pieces), decoded(&input, &[input.len().max(1)]));
    }
}

/// What the fuzzer has found worth keeping: see `fuzz/README.md`.
#[test]
fn the_corpus_is_read_alike_in_any_pieces() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fuzz/corpus/resp-decoder"
    );
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert!(20 <= files.len(), "{} files", files.len());
    for file in files {
        let input = std::fs::read(file.unwrap().path()).unwrap();
        let whole = decoded(&input, &[input.len().max(1)]);
        for pieces in [&[1][..], &[2, 7], &[5]] {
            assert_eq!(decoded(&input, pieces), whole);
        }
    }
}
