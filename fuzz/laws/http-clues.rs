//! What Weir reads of HTTP by itself, beside the head: names, queries, cookies and addresses; and the name of a limit, as
//! headers quote it.

use http::{HeaderMap, HeaderName, HeaderValue};
use limiter::{Clues, Identifier, Identity, Key, RateHeaders, Who, decode};
use quota::{Algorithm, Decision, Limit, Nanos, Verdict};

/// The first line is a query, each other one a header. Whoever sent it is told apart without a panic, and by a key that
/// nobody else can have by choosing a name.
pub(crate) fn check(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let Ok(query) = std::str::from_utf8(lines.next().unwrap_or_default()) else {
        return;
    };
    check_encoding(query);
    check_quoting(query);
    let clues = Clues {
        headers: &headers(lines),
        query,
        peer: Some([10, 0, 0, 1].into()),
    };
    let identifier = Identifier::new(&["10.0.0.0/8".parse().unwrap()], &[7; 32]);
    let by = [
        Identity::Header(HeaderName::from_static("x-user")),
        Identity::Query("user".to_owned()),
        Identity::Cookie("sid".to_owned()),
        Identity::Browser,
        Identity::Peer,
    ];
    for from in 0..by.len() {
        match identifier.identify(&by[from..], clues) {
            Ok(Some(Who::Named { name, key })) => {
                assert!(Key::new(&*name, "key").is_ok());
                let is_taken = ["peer:", "browser:"]
                    .iter()
                    .any(|of| key.as_str().starts_with(of));
                assert!(!is_taken, "{key:?}");
            }
            Ok(Some(who)) => {
                let key = who.key().as_str();
                assert!(
                    key.starts_with("peer:") || key.starts_with("browser:"),
                    "{key}"
                );
            }
            Ok(None) => panic!("every request has a peer"),
            Err(refusal) => assert!(!refusal.detail().is_empty()),
        }
    }
}

fn headers<'l>(lines: impl Iterator<Item = &'l [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// Text that was decoded is decoded from its encoding, too.
fn check_encoding(query: &str) {
    for plus_is_space in [true, false] {
        if let Some(text) = decode(query, plus_is_space) {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            assert_eq!(decode(&encoded, plus_is_space).as_deref(), Some(&*text));
        }
    }
}

/// A name is a String of RFC 9651 that tells it again, but for what such a String cannot have.
fn check_quoting(name: &str) {
    let limit = Limit::new(Algorithm::Gcra, 5, Nanos::from_secs(60)).unwrap();
    let decision = Decision {
        verdict: Verdict::Allow,
        remaining: 4,
        grows_after: Nanos::ZERO,
        reset_after: Nanos::ZERO,
    };
    let mut headers = HeaderMap::new();
    RateHeaders::new(name, &limit).write(&decision, &mut headers);
    let policy = headers["ratelimit-policy"].to_str().unwrap();
    let quoted = policy.strip_suffix("\";q=5;w=60").unwrap();
    let mut chars = quoted.strip_prefix('"').unwrap().chars();
    let mut told = String::new();
    while let Some(char) = chars.next() {
        assert_ne!(char, '"', "{policy}");
        told.push(match char {
            '\\' => chars.next().unwrap(),
            char => char,
        });
    }
    let printable = |char| {
        if (' '..='~').contains(&char) {
            char
        } else {
            '?'
        }
    };
    let expected: String = name.chars().map(printable).collect();
    assert_eq!(told, expected);
}
