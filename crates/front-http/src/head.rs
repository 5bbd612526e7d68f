//! The head of a request, looked at before hyper reads it.
//!
//! hyper answers as well what RFC 9112 wants refused (no `Host`, two of them, a length beside a transfer coding), and
//! refuses without saying why. The parser is hyper's own, so that both read the same.

use std::mem::MaybeUninit;

use axum::http::Uri;
use axum::http::uri::Authority;
use httparse::{Error, Header, Status};
use limiter::{Kind, Refusal};

use crate::problem::{Problem, Protocol};

/// Most of a request's head: a key of 1 KiB fits every way it can be given, and so do the cookies of a browser.
pub(crate) const HEAD_MAX: usize = 64 * 1024;
/// Most headers of a request: hyper's own bound.
const HEADERS_MAX: usize = 100;

/// What the first bytes of a request come to.
#[derive(PartialEq, Debug)]
pub(crate) enum Seen {
    /// More has to come.
    Partial,
    /// A head that hyper may have.
    Whole(Head),
    /// Answered with this, and nothing after it is read.
    Refused(Problem),
}

/// A head that is well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Its bytes, the empty line included.
    pub len: usize,
    /// What follows it.
    pub body: Framing,
}

/// Where the body of a request ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// After so many bytes. 0: there is none.
    Sized(u64),
    /// With the last chunk.
    Chunked,
}

/// Looks at what may be the head of a request. Empty lines before it have been taken away.
pub(crate) fn read(bytes: &[u8]) -> Seen {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let len = match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(Status::Complete(len)) if len <= HEAD_MAX => len,
        Ok(Status::Partial) if bytes.len() < HEAD_MAX => return Seen::Partial,
        Ok(_) => return Seen::Refused(too_large("a head has at most 65536 bytes")),
        Err(error) => return Seen::Refused(malformed(error, request.method.is_some())),
    };
    let method = request.method.unwrap_or_default();
    let target = request.path.unwrap_or_default();
    let is_1_1 = request.version == Some(1);
    let checked = check_target(method, target)
        .and_then(|()| check_host(request.headers, is_1_1))
        .and_then(|()| framing(request.headers, is_1_1));
    match checked {
        Ok(body) => Seen::Whole(Head { len, body }),
        Err(refusal) => Seen::Refused(refusal.into()),
    }
}

/// What `read` makes of `bytes`: a head, why it is refused, or nothing until more has come. Nobody calls it but the fuzzer,
/// which cannot see what is within this crate.
#[must_use]
pub fn read_head(bytes: &[u8]) -> Option<Result<Head, String>> {
    match read(bytes) {
        Seen::Partial => None,
        Seen::Whole(head) => Some(Ok(head)),
        Seen::Refused(problem) => Some(Err(problem.detail().to_owned())),
    }
}

/// A head that ended before it was whole.
pub(crate) fn incomplete() -> Problem {
    refused("the request ended before its head was complete").into()
}

fn malformed(error: Error, has_method: bool) -> Problem {
    let detail = match error {
        Error::TooManyHeaders => return too_large("a request has at most 100 headers"),
        Error::HeaderName => "the name of a header is malformed",
        Error::HeaderValue => "the value of a header has bytes that none may have",
        Error::NewLine => "a line does not end as one",
        Error::Version => "the version is not HTTP/1.1 or HTTP/1.0",
        Error::Token if has_method => "the target of the request is malformed",
        Error::Token => "the method is malformed: this is no HTTP request",
        Error::Status => "this is no HTTP request",
    };
    refused(detail).into()
}

/// RFC 9112, section 3.2: a path, or one of the forms for proxies, `CONNECT` and `OPTIONS`.
fn check_target(method: &str, target: &str) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/?&=._-~%+:@!$'()*,;".contains(&byte);
    if target.starts_with('/') && target.bytes().all(plain) {
        return Ok(());
    }
    let is_form = match target {
        "*" => method == "OPTIONS",
        _ if method == "CONNECT" => target.parse::<Authority>().is_ok(),
        // A fragment never leaves the client.
        _ if target.contains('#') => false,
        _ => target.parse::<Uri>().is_ok_and(|uri| {
            target.starts_with('/') || (uri.scheme().is_some() && uri.authority().is_some())
        }),
    };
    match is_form {
        true => Ok(()),
        false => Err(refused("the target of the request is malformed")),
    }
}

/// RFC 9112, section 3.2: one `Host`, without which only HTTP/1.0 may come.
fn check_host(headers: &[Header<'_>], is_1_1: bool) -> Result<(), Refusal> {
    let mut hosts = values(headers, "host");
    let Some(host) = hosts.next() else {
        return match is_1_1 {
            true => Err(refused("the header Host is missing").at("Host")),
            false => Ok(()),
        };
    };
    if hosts.next().is_some() {
        return Err(refused("the header Host is given twice").at("Host"));
    }
    // An authority without a user; empty where the target has none.
    let is_host = host.is_empty()
        || (!host.contains(&b'@')
            && Authority::try_from(host).is_ok_and(|host| !host.as_str().is_empty()));
    match is_host {
        true => Ok(()),
        false => Err(refused("the header Host is malformed").at("Host")),
    }
}

/// Where the body ends. Refuses every way of saying it in which two readers could find different ends.
fn framing(headers: &[Header<'_>], is_1_1: bool) -> Result<Framing, Refusal> {
    const LENGTH: &str = "Content-Length";
    const CODING: &str = "Transfer-Encoding";
    let mut lengths = values(headers, LENGTH);
    let mut codings = values(headers, CODING);
    let (length, coding) = (lengths.next(), codings.next());
    if let Some(coding) = coding {
        if length.is_some() {
            return Err(refused("Content-Length is given beside Transfer-Encoding").at(CODING));
        }
        if !is_1_1 {
            return Err(refused("HTTP/1.0 has no Transfer-Encoding").at(CODING));
        }
        if codings.next().is_some() {
            return Err(refused("Transfer-Encoding is given twice").at(CODING));
        }
        return match coding.eq_ignore_ascii_case(b"chunked") {
            true => Ok(Framing::Chunked),
            false => Err(Refusal::new(
                Kind::NotImplemented,
                "no other transfer coding is understood; nothing was counted",
            )
            .at(CODING)
            .with_accepted("chunked")),
        };
    }
    let Some(length) = length else {
        return Ok(Framing::Sized(0));
    };
    if lengths.next().is_some() {
        return Err(refused("Content-Length is given twice").at(LENGTH));
    }
    // Digits alone: neither a sign nor a list.
    let digits = length.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(length).ok().filter(|_| digits);
    match number.and_then(|number| number.parse::<u64>().ok()) {
        // What is above means something else to hyper.
        Some(length) if length < u64::MAX - 2 => Ok(Framing::Sized(length)),
        _ => Err(refused("Content-Length is not a number of bytes").at(LENGTH)),
    }
}

fn values<'h>(headers: &'h [Header<'h>], name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let named = move |header: &&Header<'_>| header.name.eq_ignore_ascii_case(name);
    headers.iter().filter(named).map(|header| header.value)
}

fn refused(detail: &str) -> Refusal {
    Refusal::invalid(format!("{detail}; nothing was counted"))
}

fn too_large(detail: &str) -> Problem {
    Problem::of_protocol(Protocol::HeadTooLarge, refused(detail))
}
