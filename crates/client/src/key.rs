//! What is counted, as programs name it.

use std::borrow::Cow;

use crate::Error;

/// Longest key, in bytes.
const KEY_MAX: usize = 1_024;

/// What is counted: 1 to 1 024 bytes of text without NUL.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Key<'k>(Cow<'k, str>);

impl<'k> Key<'k> {
    /// A key of this text.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for one that no counter may have.
    pub fn new(text: impl Into<Cow<'k, str>>) -> Result<Self, Error> {
        let text = text.into();
        if text.is_empty() || KEY_MAX < text.len() || text.contains('\0') {
            let length = text.len();
            return Err(Error::Invalid {
                what: format!("this is no key, at {length} bytes"),
                accepted: "1 to 1024 bytes of text without NUL".into(),
            });
        }
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What can be counted: text, or parts of it in a tuple.
///
/// `("user", "user123")` is counted as `user:user123`, which is also how other fronts know it. A `:` or `\` inside of a part
/// gets a `\` before it, so that no two tuples of one size share a counter: `("a:b", "c")` is `a\:b:c`.
pub trait IntoKey<'k> {
    /// The text that is counted.
    fn into_text(self) -> Cow<'k, str>;
}

impl<'k> IntoKey<'k> for &'k str {
    fn into_text(self) -> Cow<'k, str> {
        Cow::Borrowed(self)
    }
}

impl<'k> IntoKey<'k> for &'k String {
    fn into_text(self) -> Cow<'k, str> {
        Cow::Borrowed(self)
    }
}

impl<'k> IntoKey<'k> for String {
    fn into_text(self) -> Cow<'k, str> {
        Cow::Owned(self)
    }
}

impl<'k> IntoKey<'k> for Cow<'k, str> {
    fn into_text(self) -> Cow<'k, str> {
        self
    }
}

impl<'k> IntoKey<'k> for Key<'k> {
    fn into_text(self) -> Cow<'k, str> {
        self.0
    }
}

impl<'k, A: AsRef<str>, B: AsRef<str>> IntoKey<'k> for (A, B) {
    fn into_text(self) -> Cow<'k, str> {
        joined(&[self.0.as_ref(), self.1.as_ref()])
    }
}

impl<'k, A: AsRef<str>, B: AsRef<str>, C: AsRef<str>> IntoKey<'k> for (A, B, C) {
    fn into_text(self) -> Cow<'k, str> {
        joined(&[self.0.as_ref(), self.1.as_ref(), self.2.as_ref()])
    }
}

fn joined<'k>(parts: &[&str]) -> Cow<'k, str> {
    let mut text = String::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for (place, part) in parts.iter().enumerate() {
        if 0 < place {
            text.push(':');
        }
        for char in part.chars() {
            if matches!(char, ':' | '\\') {
                text.push('\\');
            }
            text.push(char);
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_so_that_no_two_tuples_share_a_counter() {
        for (parts, text) in [
            (("user", "user123"), "user:user123"),
            (("a:b", "c"), r"a\:b:c"),
            (("a", "b:c"), r"a:b\:c"),
            ((r"a\", "b"), r"a\\:b"),
            (("", "b"), ":b"),
        ] {
            assert_eq!(parts.into_text(), text);
        }
        assert_eq!(("a", String::from("b"), "c").into_text(), "a:b:c");
    }

    #[test]
    fn what_no_counter_may_have_is_refused() {
        for text in ["", "a\0b", &"x".repeat(KEY_MAX + 1)] {
            assert!(matches!(Key::new(text), Err(Error::Invalid { .. })));
        }
        assert_eq!(
            Key::new("x".repeat(KEY_MAX)).unwrap().as_str().len(),
            KEY_MAX
        );
    }
}
