//! Requests as bytes, and the exact answers: RFC 9112, and what follows from "what was counted is answered".

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::client::front;

/// What is answered to a client that sends `raw` and waits, without its dates, its headers sorted.
async fn answer(raw: &[u8], closes: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(front_http::serve(
        listener,
        front().router,
        std::future::pending(),
    ));
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A refusal may come before all has been sent.
    let _ = stream.write_all(raw).await;
    if closes {
        stream.shutdown().await.unwrap();
    }
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    let read = tokio::time::timeout(Duration::from_secs(20), read).await;
    serving.abort();
    let raw = raw[..raw.len().min(200)].escape_ascii();
    read.unwrap_or_else(|_| panic!("not closed: {raw}"))
        .unwrap();
    normal(std::str::from_utf8(&bytes).unwrap())
}

/// Answers with their headers sorted and without their dates, each after the other.
fn normal(mut text: &str) -> String {
    let mut answers = String::new();
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let mut lines: Vec<_> = head.split("\r\n").collect();
        lines.retain(|line| !line.starts_with("date: "));
        lines[1..].sort_unstable();
        let length = lines
            .iter()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse::<usize>().unwrap());
        let length = length.min(rest.len());
        answers.push_str(&format!("{}\n{}\n", lines.join("\n"), &rest[..length]));
        text = &rest[length..];
    }
    assert_eq!(text, "", "after {answers}");
    answers
}

const OK: &str =
    "HTTP/1.1 200 OK\ncontent-length: 15\ncontent-type: application/json\n{\"status\":\"ok\"}\n";
const OK_LAST: &str = "HTTP/1.1 200 OK\nconnection: close\ncontent-length: 15\ncontent-type: application/json\n{\"status\":\"ok\"}\n";
const OK_1_0: &str =
    "HTTP/1.0 200 OK\ncontent-length: 15\ncontent-type: application/json\n{\"status\":\"ok\"}\n";
const OK_HEAD: &str = "HTTP/1.1 200 OK\ncontent-length: 15\ncontent-type: application/json\n\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\n\n";

/// A hit of `/v1/check` on a key of ten, of which so many remain.
fn counted(remaining: u32) -> String {
    let used = 10 - remaining;
    let (reset_ms, t) = (used * 6_000, 6);
    let json = format!(
        "{{\"allowed\":true,\"limit\":10,\"remaining\":{remaining},\"retry_after_ms\":null,\"reset_after_ms\":{reset_ms}}}"
    );
    format!(
        "HTTP/1.1 200 OK\ncontent-length: {}\ncontent-type: application/json\nratelimit-policy: \"login\";q=10;w=60\n\
         ratelimit: \"login\";r={remaining};t={t}\nx-ratelimit-limit: 10\nx-ratelimit-remaining: {remaining}\n\
         x-ratelimit-reset: {t}\n{json}\n",
        json.len()
    )
}

/// A refusal, after which the connection ends.
fn refused(status: &str, name: &str, title: &str, rest: &str) -> String {
    let json = format!(
        "{{\"type\":\"/problems/{name}\",\"title\":\"{title}\",\"status\":{},{rest}}}",
        &status[..3]
    );
    format!(
        "HTTP/1.1 {status}\nconnection: close\ncontent-length: {}\ncontent-type: application/problem+json\n{json}\n",
        json.len()
    )
}

/// A request that is not valid: what is told of it, and the field that it is about.
fn invalid(detail: &str, field: &str) -> String {
    let field = match field {
        "" => String::new(),
        field => format!(",\"field\":\"{field}\""),
    };
    let rest = format!("\"detail\":\"{detail}; nothing was counted\"{field}");
    refused(
        "400 Bad Request",
        "invalid-request",
        "The request is not valid",
        &rest,
    )
}

fn too_large(detail: &str) -> String {
    let rest = format!("\"detail\":\"{detail}; nothing was counted\"");
    refused(
        "431 Request Header Fields Too Large",
        "too-large",
        "The request is too large",
        &rest,
    )
}

fn unknown_coding() -> String {
    let rest = "\"detail\":\"no other transfer coding is understood; nothing was counted\",\
                \"field\":\"Transfer-Encoding\",\"accepted\":\"chunked\"";
    refused(
        "501 Not Implemented",
        "not-implemented",
        "This version does not do that",
        rest,
    )
}

/// `GET /health` with these lines after the first.
fn get(lines: &str) -> String {
    format!("GET /health HTTP/1.1\r\n{lines}\r\n")
}

/// `POST /v1/check` with these lines and this body.
fn post(lines: &str, body: &str) -> String {
    format!("POST /v1/check HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}")
}

const CHECK: &str = "{\"limit\":\"login\",\"key\":\"a\"}";
const GET: &str = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";

fn check() -> String {
    post("Content-Length: 27\r\n", CHECK)
}

/// Requests that are well, and what they are answered before the client closes.
#[tokio::test]
async fn well() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let rows: &[(&str, String, String)] = &[
        ("one", GET.into(), OK.into()),
        ("two at once", GET.repeat(2), OK.repeat(2)),
        (
            "three, with a hit among them",
            [GET, &check(), GET].concat(),
            [OK, &counted(9), OK].concat(),
        ),
        (
            "empty lines before",
            format!("\r\n\r\n{GET}\r\n{GET}"),
            OK.repeat(2),
        ),
        (
            "bare line feeds",
            "GET /health HTTP/1.1\nHost: a\n\n".into(),
            OK.into(),
        ),
        (
            "HTTP/1.0 without Host",
            "GET /health HTTP/1.0\r\n\r\n".into(),
            OK_1_0.into(),
        ),
        ("an empty Host", get("Host:\r\n"), OK.into()),
        ("a port", get("Host: a:4000\r\n"), OK.into()),
        ("IPv6", get("Host: [::1]:4000\r\n"), OK.into()),
        (
            "white space, and names in any case",
            get("hOsT: \t a \t\r\n"),
            OK.into(),
        ),
        ("an empty header", get("Host: a\r\nX:\r\n"), OK.into()),
        (
            "bytes beyond ASCII",
            get("Host: a\r\nX: Zürich\r\n"),
            OK.into(),
        ),
        (
            "a target with its host",
            "GET http://b/health HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            OK.into(),
        ),
        (
            "HEAD",
            "HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            OK_HEAD.into(),
        ),
        (
            "the last by its own will",
            get("Host: a\r\nConnection: close\r\n"),
            OK_LAST.into(),
        ),
        (
            "nothing after the last",
            get("Host: a\r\nConnection: close\r\n") + &check(),
            OK_LAST.into(),
        ),
        (
            "a body of nothing",
            get("Host: a\r\nContent-Length: 0\r\n") + GET,
            OK.repeat(2),
        ),
        (
            "a body that nobody asked for",
            get("Host: a\r\nContent-Length: 5\r\n") + "hello" + GET,
            OK.repeat(2),
        ),
        (
            "chunks",
            post(
                chunked,
                "1b\r\n{\"limit\":\"login\",\"key\":\"a\"}\r\n0\r\n\r\n",
            ) + GET,
            counted(9) + OK,
        ),
        (
            "chunks with extras",
            post(
                chunked,
                "1B;x=y\r\n{\"limit\":\"login\",\"key\":\"a\"}\r\n0\r\nA: b\r\n\r\n",
            ) + GET,
            counted(9) + OK,
        ),
        (
            "a body that is waited for",
            post("Expect: 100-continue\r\nContent-Length: 27\r\n", CHECK),
            CONTINUE.to_owned() + &counted(9),
        ),
        ("no more of it", String::new(), String::new()),
        ("only empty lines", "\r\n\r\n".into(), String::new()),
        (
            "a head that ends early",
            GET.to_owned() + "GET /hea",
            OK.to_owned() + &invalid("the request ended before its head was complete", ""),
        ),
        (
            "a body that ends early",
            GET.to_owned() + &post("Content-Length: 28\r\n", CHECK),
            OK.to_owned() + &invalid("the body ended before it was complete", ""),
        ),
    ];
    for (what, raw, expected) in rows {
        assert_eq!(&answer(raw.as_bytes(), true).await, expected, "{what}");
    }
}

/// Requests that are refused, each after a hit that is counted and answered. The server closes.
#[tokio::test]
async fn refused_ones() {
    let many = format!("Host: a\r\n{}", "X: y\r\n".repeat(100));
    let long = format!("Host: a\r\nX: {}\r\n", "y".repeat(70_000));
    let length = |value: &str| get(&format!("Host: a\r\nContent-Length: {value}\r\n"));
    let coding = |value: &str| get(&format!("Host: a\r\nTransfer-Encoding: {value}\r\n"));
    let lines = |first: &str| format!("{first}\r\nHost: a\r\n\r\n");
    let host = |detail: &str| invalid(&format!("the header Host is {detail}"), "Host");
    let no_length = || invalid("Content-Length is not a number of bytes", "Content-Length");
    let twice = |name: &str| invalid(&format!("{name} is given twice"), name);
    let beside = || {
        invalid(
            "Content-Length is given beside Transfer-Encoding",
            "Transfer-Encoding",
        )
    };
    let name = || invalid("the name of a header is malformed", "");
    let value = || invalid("the value of a header has bytes that none may have", "");
    let version = || invalid("the version is not HTTP/1.1 or HTTP/1.0", "");
    let target = || invalid("the target of the request is malformed", "");
    let method = || invalid("the method is malformed: this is no HTTP request", "");
    let rows: &[(&str, String, String)] = &[
        ("no Host", get(""), host("missing")),
        (
            "HEAD without Host",
            "HEAD /health HTTP/1.1\r\n\r\n".into(),
            host("missing").split_once("\n{").unwrap().0.to_owned() + "\n\n",
        ),
        (
            "two Hosts",
            get("Host: a\r\nHost: b\r\n"),
            host("given twice"),
        ),
        (
            "a Host twice",
            get("Host: a\r\nHost: a\r\n"),
            host("given twice"),
        ),
        (
            "two Hosts in HTTP/1.0",
            "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n".into(),
            host("given twice"),
        ),
        (
            "a Host of two words",
            get("Host: a b\r\n"),
            host("malformed"),
        ),
        (
            "a Host with a path",
            get("Host: a/b\r\n"),
            host("malformed"),
        ),
        (
            "a Host with a user",
            get("Host: u@a\r\n"),
            host("malformed"),
        ),
        (
            "length beside coding",
            get("Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            beside(),
        ),
        (
            "coding beside length",
            get("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
            beside(),
        ),
        (
            "two lengths",
            get("Host: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n"),
            twice("Content-Length"),
        ),
        (
            "a length twice",
            get("Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n"),
            twice("Content-Length"),
        ),
        ("a list of lengths", length("5, 5"), no_length()),
        ("a length with a sign", length("+5"), no_length()),
        ("a length below zero", length("-1"), no_length()),
        ("no length", length(""), no_length()),
        ("a length in hex", length("0x5"), no_length()),
        ("a length with a fraction", length("5.0"), no_length()),
        (
            "a length beyond 64 bits",
            length("18446744073709551616"),
            no_length(),
        ),
        ("another coding", coding("gzip"), unknown_coding()),
        (
            "another coding in chunks",
            coding("gzip, chunked"),
            unknown_coding(),
        ),
        (
            "chunks in chunks",
            coding("chunked, chunked"),
            unknown_coding(),
        ),
        ("almost chunked", coding("xchunked"), unknown_coding()),
        ("no coding", coding(""), unknown_coding()),
        (
            "two codings",
            get("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            twice("Transfer-Encoding"),
        ),
        (
            "HTTP/1.0 in chunks",
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            invalid("HTTP/1.0 has no Transfer-Encoding", "Transfer-Encoding"),
        ),
        ("white space before the colon", get("Host : a\r\n"), name()),
        ("no colon", get("Host: a\r\nX\r\n"), name()),
        ("no name", get("Host: a\r\n: x\r\n"), name()),
        ("a name of two words", get("Host: a\r\nX Y: z\r\n"), name()),
        ("a folded line", get("Host: a\r\nX: y\r\n z\r\n"), name()),
        (
            "white space before the first header",
            get(" Host: a\r\n"),
            name(),
        ),
        ("NUL in a value", get("Host: a\r\nX: a\0b\r\n"), value()),
        (
            "a bare CR in a value",
            get("Host: a\r\nX: a\rb\r\n"),
            value(),
        ),
        ("no version", lines("GET /health"), target()),
        ("HTTP/2.0", lines("GET /health HTTP/2.0"), version()),
        ("HTTP/1.2", lines("GET /health HTTP/1.2"), version()),
        (
            "a version in small letters",
            lines("GET /health http/1.1"),
            version(),
        ),
        (
            "the preface of HTTP/2",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
            version(),
        ),
        ("two spaces", lines("GET  /health HTTP/1.1"), target()),
        ("TLS", "\x16\x03\x01\x02\0\x01".into(), method()),
        (
            "a method that is none",
            lines("G(T /health HTTP/1.1"),
            method(),
        ),
        ("a greeting", "hello\r\n\r\n".into(), method()),
        ("a fragment", lines("GET /health#x HTTP/1.1"), target()),
        (
            "a target without a slash",
            lines("GET health HTTP/1.1"),
            target(),
        ),
        (
            "a star for anything but OPTIONS",
            lines("GET * HTTP/1.1"),
            target(),
        ),
        ("NUL in the target", lines("GET /\0 HTTP/1.1"), target()),
        (
            "101 headers",
            get(&many),
            too_large("a request has at most 100 headers"),
        ),
        (
            "a head of 70 000 bytes",
            get(&long),
            too_large("a head has at most 65536 bytes"),
        ),
    ];
    for (what, raw, expected) in rows {
        // By itself, and behind a hit in the same write: what was counted is answered.
        assert_eq!(&answer(raw.as_bytes(), false).await, expected, "{what}");
        let behind = check() + raw;
        assert_eq!(
            answer(behind.as_bytes(), false).await,
            counted(9) + expected,
            "{what}, behind a hit"
        );
    }
    let broken = || invalid("the body ended before it was complete", "");
    for (what, body) in [
        ("chunks that are none", "zz\r\n"),
        // hyper reads on after it, and once answered whatever stood there, without a look at its head.
        ("a bare LF in a trailer", "0\r\nA: b\n\r\n\r\n"),
        ("a word behind the size", "0 x\r\n\r\n"),
    ] {
        let raw = check() + &post("Transfer-Encoding: chunked\r\n", body) + &get("") + GET;
        let expected = counted(9) + &broken();
        assert_eq!(answer(raw.as_bytes(), false).await, expected, "{what}");
    }
}

/// However the bytes come, the answers are the same.
#[tokio::test]
async fn requests_in_pieces() {
    let raw = [
        GET,
        &check(),
        &post(
            "Transfer-Encoding: chunked\r\n",
            "1b\r\n{\"limit\":\"login\",\"key\":\"a\"}\r\n0\r\n\r\n",
        ),
        GET,
        "GET /\r\n\r\n",
    ]
    .concat();
    let expected = answer(raw.as_bytes(), false).await;
    assert!(
        expected.ends_with(&invalid("the target of the request is malformed", "")),
        "{expected}"
    );
    for size in [1, 7, 40, 100] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(front_http::serve(
            listener,
            front().router,
            std::future::pending(),
        ));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for piece in raw.as_bytes().chunks(size) {
            stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(normal(&text), expected, "in pieces of {size}");
    }
}
