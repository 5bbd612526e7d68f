//! What a form has brought, and what is put into an address.

use std::collections::HashMap;
use std::fmt::Write as _;

/// The fields of a form, or of the query of a page.
#[derive(Clone, Default, Debug)]
pub(crate) struct Form(HashMap<String, Vec<String>>);

impl Form {
    pub(crate) fn parse(encoded: &[u8]) -> Self {
        let mut fields: HashMap<String, Vec<String>> = HashMap::new();
        for (name, value) in form_urlencoded::parse(encoded) {
            let values = fields.entry(name.into_owned()).or_default();
            values.push(value.into_owned());
        }
        Self(fields)
    }

    /// A field, trimmed: what people copy has spaces around it. `""`: it was not given.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.exactly(name).trim()
    }

    /// A field as it was given: a password has the spaces that it has.
    pub(crate) fn exactly(&self, name: &str) -> &str {
        let values = self.0.get(name);
        values
            .and_then(|values| values.last())
            .map_or("", String::as_str)
    }

    /// A field that is not empty.
    pub(crate) fn some(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }

    /// Every value of a field that may be given several times.
    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a field has this value among others.
    pub(crate) fn has(&self, name: &str, value: &str) -> bool {
        self.all(name).iter().any(|given| given == value)
    }
}

/// A segment of a path, so that it stays one segment whatever is in it.
pub(crate) fn segment(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'~' => path.push(byte.into()),
            // A segment of dots alone would be gone before it is matched.
            byte => write!(path, "%{byte:02X}").expect("a string takes all"),
        }
    }
    path
}

/// Where to go after a login: a path of this service, and of nobody else. A browser reads `//` and `/\` as another host.
pub(crate) fn next(given: &str) -> &str {
    let is_path = given.starts_with('/')
        && !given.starts_with("//")
        && !given.starts_with("/\\")
        && given.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path { given } else { "/dashboard" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        for (given, goes_to) in [
            (
                "/dashboard/tn_1/usage?from=2026-11-01",
                "/dashboard/tn_1/usage?from=2026-11-01",
            ),
            ("", "/dashboard"),
            ("//evil.example", "/dashboard"),
            ("/\\evil.example", "/dashboard"),
            ("https://evil.example", "/dashboard"),
            ("javascript:alert(1)", "/dashboard"),
            ("/a\r\nSet-Cookie: b", "/dashboard"),
            ("/\t/evil.example", "/dashboard"),
        ] {
            assert_eq!(next(given), goes_to, "{given}");
        }
    }

    #[test]
    fn a_segment_stays_one() {
        assert_eq!(segment("a/b?c#d%é.."), "a%2Fb%3Fc%23d%25%C3%A9%2E%2E");
    }

    #[test]
    fn fields_are_read_as_a_browser_sends_them() {
        let form = Form::parse(b"name=+a%20b+&scope=check&scope=adjust&password=+x+");
        assert_eq!((form.get("name"), form.exactly("password")), ("a b", " x "));
        assert!(form.has("scope", "check") && form.has("scope", "adjust"));
        assert_eq!((form.some("none"), form.all("none").len()), (None, 0));
    }
}
