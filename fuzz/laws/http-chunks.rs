//! Chunked bodies, whose end is followed before hyper decodes them.

use front_http::{Chunks, Progress};

use crate::handed::handed;

/// A body ends where a plain decoder ends it, whatever follows and however it is cut; and hyper never finds another end.
pub(crate) fn check(input: &[u8]) {
    let seen = followed(input, input.len().max(1));
    for piece in [1, 2, 7] {
        assert_eq!(followed(input, piece), seen);
    }
    match (decoded(input), seen) {
        (Some(plain), Progress::Over(end)) => {
            assert_eq!(plain.end, end);
            assert!(plain.data.len() < end && end <= input.len());
        }
        // Extensions and trailers have a bound.
        (Some(_), Progress::Broken(_)) => assert!(16 * 1024 < input.len()),
        (None, Progress::Going | Progress::Broken(_)) => {}
        (plain, seen) => panic!("{plain:?} and {seen:?}"),
    }
    check_hyper(input, seen);
    check_encoded(input);
}

/// What becomes of `input` when it comes in pieces of `piece` bytes.
fn followed(input: &[u8], piece: usize) -> Progress {
    let mut chunks = Chunks::new();
    let mut read = 0;
    for bytes in input.chunks(piece) {
        match chunks.advance(bytes) {
            Progress::Going => read += bytes.len(),
            Progress::Over(here) => return Progress::Over(read + here),
            Progress::Broken(here) => return Progress::Broken(read + here),
        }
    }
    Progress::Going
}

/// A chunked body.
#[derive(PartialEq, Eq, Debug)]
struct Plain {
    data: Vec<u8>,
    has_trailers: bool,
    /// Where it ends.
    end: usize,
}

/// RFC 9112, section 7.1, line by line. `None`: no whole body.
fn decoded(input: &[u8]) -> Option<Plain> {
    let mut rest = input;
    let mut data = Vec::new();
    loop {
        let size = size(line(&mut rest)?)?;
        if size == 0 {
            break;
        }
        data.extend_from_slice(rest.split_off(..size)?);
        if !line(&mut rest)?.is_empty() {
            return None;
        }
    }
    let mut has_trailers = false;
    while !line(&mut rest)?.is_empty() {
        has_trailers = true;
    }
    Some(Plain {
        data,
        has_trailers,
        end: input.len() - rest.len(),
    })
}

/// The next line, which CR LF ends and neither stands in.
fn line<'i>(rest: &mut &'i [u8]) -> Option<&'i [u8]> {
    let end = rest.iter().position(|byte| b"\r\n".contains(byte))?;
    let line = rest.split_off(..end)?;
    (rest.split_off(..2)? == b"\r\n").then_some(line)
}

/// Of a line like `1a ;name=value`.
fn size(line: &[u8]) -> Option<usize> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit());
    let (digits, rest) = line.split_at(end.unwrap_or(line.len()));
    let behind = rest.iter().find(|byte| !b" \t".contains(byte));
    let is_extension = behind.is_none_or(|byte| *byte == b';');
    let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    usize::try_from(size).ok().filter(|_| is_extension)
}

/// Of the bytes that it is given, hyper makes a whole body only where this is the end, and finds none before it.
fn check_hyper(input: &[u8], seen: Progress) {
    let (given, plain) = match seen {
        Progress::Over(end) => (end, decoded(input)),
        Progress::Broken(well) => (well, None),
        Progress::Going => (input.len(), None),
    };
    let body = |given: usize| {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (_, _, body) = handed(&[&head[..], &input[..given]].concat())?;
        body
    };
    let Some(plain) = plain else {
        assert_eq!(body(given), None);
        return;
    };
    assert_eq!(body(given - 1), None);
    match body(given) {
        Some(body) => assert_eq!(body, plain.data),
        // A trailer that is none.
        None => assert!(plain.has_trailers),
    }
}

/// `input` as data, in chunks of sizes that it tells itself, ends at its end and nowhere before.
fn check_encoded(input: &[u8]) {
    let mut rest = input;
    let mut encoded = Vec::new();
    while let Some(&byte) = rest.first() {
        let size = (usize::from(byte) % 40 + 1).min(rest.len());
        let (data, after) = rest.split_at(size);
        let (line, extension) = (format!("{size:02X}"), [" ;a=\"b\"", ""][size % 2]);
        encoded.extend(
            [
                line.as_bytes(),
                extension.as_bytes(),
                b"\r\n",
                data,
                b"\r\n",
            ]
            .concat(),
        );
        rest = after;
    }
    encoded.extend_from_slice(b"0\r\n\r\n");
    let end = encoded.len();
    assert_eq!(followed(&encoded[..end - 1], end), Progress::Going);
    assert_eq!(
        followed(&[&encoded, input].concat(), end),
        Progress::Over(end)
    );
    assert_eq!(
        decoded(&encoded).map(|plain| plain.data).as_deref(),
        Some(input)
    );
}
