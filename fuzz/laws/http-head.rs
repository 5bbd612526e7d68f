//! Heads of requests, which are looked at before hyper reads them.

use front_http::{Framing, Head, read_head};

use crate::handed::handed;

/// Largest head.
const HEAD_MAX: usize = 64 * 1024;

/// A head is read the same however it is cut; one that is well keeps to RFC 9112, and is what hyper reads.
pub(crate) fn check(input: &[u8]) {
    // Empty lines before it have been taken away.
    let begin = input.iter().position(|byte| !b"\r\n".contains(byte));
    let input = &input[begin.unwrap_or(input.len())..];
    check_pieces(input);
    match read_head(input) {
        Some(Ok(head)) => check_well(&input[..head.len], head.body),
        Some(Err(why)) => assert!(why.ends_with("; nothing was counted"), "{why}"),
        None => assert!(input.len() < HEAD_MAX),
    }
    check_written(input);
}

/// What was said of a part of it is said of the whole, too. It is looked at when a line has ended, or a piece has come.
fn check_pieces(input: &[u8]) {
    let lines = input.split_inclusive(|byte| *byte == b'\n');
    let ends = lines.scan(0, |end, line| {
        *end += line.len();
        Some(*end)
    });
    let pieces = (1..8).map(|piece| input.len() * piece / 8);
    let whole = read_head(input);
    for end in ends.chain(pieces) {
        match read_head(&input[..end]) {
            None => {}
            // By what was first seen of it.
            Some(Err(_)) if HEAD_MAX <= input.len() => assert!(matches!(whole, Some(Err(_)))),
            part => assert_eq!(part, whole, "{end} of {}", input.len()),
        }
    }
}

/// RFC 9112, line by line.
fn check_well(head: &[u8], body: Framing) {
    assert!(head.len() <= HEAD_MAX);
    let lines = head.split_inclusive(|byte| *byte == b'\n');
    let mut lines = lines.map(|line| {
        let line = line.strip_suffix(b"\n").expect("a line ends");
        line.strip_suffix(b"\r").unwrap_or(line)
    });
    let first = lines.next().expect("a request has a line");
    let words: Vec<_> = first.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else {
        panic!("{words:?}");
    };
    assert!(is_token(method) && !target.is_empty());
    assert!(
        target
            .iter()
            .all(|byte| b' ' < *byte && *byte != 0x7f && *byte != b'#')
    );
    assert!(version == b"HTTP/1.1" || version == b"HTTP/1.0");

    let mut fields: Vec<_> = lines.map(field).collect();
    assert_eq!(fields.pop(), Some(None), "an empty line ends it");
    let fields: Vec<_> = fields
        .into_iter()
        .map(|field| field.expect("a field"))
        .collect();
    assert!(fields.len() <= 100);
    let values = |name: &str| {
        let named = fields
            .iter()
            .filter(|(of, _)| of.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| *value).collect::<Vec<_>>()
    };
    let is_1_1 = version == b"HTTP/1.1";
    let hosts = values("host");
    assert!(hosts.len() == 1 || (!is_1_1 && hosts.is_empty()));
    assert!(
        hosts
            .iter()
            .all(|host| !host.contains(&b'@') && !host.contains(&b'/'))
    );
    let told = match (
        &values("content-length")[..],
        &values("transfer-encoding")[..],
    ) {
        ([], []) => Framing::Sized(0),
        ([length], []) => {
            assert!(length.iter().all(u8::is_ascii_digit));
            Framing::Sized(std::str::from_utf8(length).unwrap().parse().unwrap())
        }
        ([], [coding]) => {
            assert!(is_1_1 && coding.eq_ignore_ascii_case(b"chunked"));
            Framing::Chunked
        }
        both => panic!("{both:?}"),
    };
    assert_eq!(body, told);

    let (request, length, _) = handed(head).expect("hyper reads what is well");
    assert_eq!(request.method().as_str().as_bytes(), method);
    if target.starts_with(b"/") {
        assert_eq!(request.uri().to_string().as_bytes(), target);
    }
    assert_eq!(request.headers().len(), fields.len());
    for (name, value) in fields {
        let name = std::str::from_utf8(name).unwrap();
        let mut values = request.headers().get_all(name).iter();
        assert!(values.any(|other| other == value));
    }
    let told = match body {
        Framing::Sized(length) => Some(length),
        Framing::Chunked => None,
    };
    assert_eq!(length, told);
}

/// The name and the value of a field. `None`: an empty line.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':');
    let Some(colon) = colon else {
        assert_eq!(line, b"");
        return None;
    };
    let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
    // Neither folded, nor with white space before the colon.
    assert!(is_token(name), "{name:?}");
    let is_text = |byte: &u8| *byte == b'\t' || (b' ' <= *byte && *byte != 0x7f);
    assert!(value.iter().all(is_text), "{value:?}");
    Some((name, value))
}

/// Without the white space around it.
fn trimmed(value: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !b" \t".contains(byte);
    let begin = value.iter().position(is_text).unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(is_text)
        .map_or(begin, |last| last + 1);
    &value[begin..end]
}

fn is_token(word: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !word.is_empty() && word.iter().all(is_part)
}

/// Text of `input` in up to 90 headers is a head that is well, whatever follows.
fn check_written(input: &[u8]) {
    let length = input.len();
    let mut head = format!("POST /a?b=%20 HTTP/1.1\r\nHost: a:1\r\nContent-Length: {length}\r\n");
    for (number, value) in input.chunks(60).take(90).enumerate() {
        let value = value.iter().map(|byte| char::from(b' ' + byte % 95));
        head.push_str(&format!("X-{number}: {}\r\n", value.collect::<String>()));
    }
    head.push_str("\r\n");
    let expected = Head {
        len: head.len(),
        body: Framing::Sized(length as u64),
    };
    let followed = [head.as_bytes(), input].concat();
    assert_eq!(read_head(&followed), Some(Ok(expected)));
    assert_eq!(read_head(&followed[..head.len() - 1]), None);
}
