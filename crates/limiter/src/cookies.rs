//! Cookies as requests bring them (RFC 6265, sections 4.2 and 5.4).

use http::HeaderMap;
use http::header::COOKIE;

/// The values of the cookies called `name`, in the order of the request.
///
/// Bytes, since one cookie that is no text is no reason to lose the others. Names match exactly; quotes are part of a
/// value; spaces and tabs around a name and a value are not. What has no `=` is no cookie.
pub fn values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h [u8]> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| {
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            Some((trim(&pair[..equals]), trim(&pair[equals + 1..])))
        })
        .filter(move |(found, _)| *found == name.as_bytes())
        .map(|(_, value)| value)
}

/// Without the spaces and tabs around it: all the white space that HTTP knows.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
