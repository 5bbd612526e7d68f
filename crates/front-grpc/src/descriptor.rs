//! Descriptors as requests bring them, and what is counted of them.

use std::borrow::Cow;

pub(crate) use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use limiter::Key;

/// Most entries of a descriptor.
pub(crate) const ENTRIES_MAX: usize = 8;

/// What begins the keys that are not a single value as it is.
const VALUES: &str = "values";

/// The values of a descriptor that a rule leaves open, in their order: what is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Captured<'e> {
    values: [&'e str; ENTRIES_MAX],
    len: usize,
}

impl<'e> Captured<'e> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a value. No descriptor has more entries than there is room for.
    pub(crate) fn push(&mut self, value: &'e str) {
        self.values[self.len] = value;
        self.len += 1;
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = len;
    }

    /// The key that they are counted under.
    ///
    /// One value is a key by itself, so that every front counts it together: `u1` is the key that `/v1/check` knows as `u1`.
    /// Several are `values:` and the values between commas, none is `values`. A comma or backslash in a value gets a
    /// backslash before it, a NUL becomes `\0`, and a single value that is empty, has a NUL or begins like one of these is
    /// written like several: different values never share a key. A key beyond 1 KiB is `values#` and a digest.
    pub(crate) fn key(&self) -> Cow<'e, str> {
        let key = match self.values[..self.len] {
            [] => Cow::Borrowed(VALUES),
            [value] if is_plain(value) => Cow::Borrowed(value),
            ref values => Cow::Owned(joined(values.iter().copied())),
        };
        match key.len() {
            ..=Key::BYTES_MAX => key,
            _ => Cow::Owned(digest(&key)),
        }
    }
}

/// The key of a descriptor as a whole, its keys and its values: what is counted where no rule says what it leaves open.
pub(crate) fn key_of_all(entries: &[Entry]) -> String {
    let key = joined(
        entries
            .iter()
            .flat_map(|entry| [&*entry.key, &*entry.value]),
    );
    match key.len() {
        ..=Key::BYTES_MAX => key,
        _ => digest(&key),
    }
}

fn is_plain(value: &str) -> bool {
    let is_reserved = value
        .strip_prefix(VALUES)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '#']));
    !value.is_empty() && !is_reserved && !value.contains('\0')
}

fn joined<'t>(values: impl Iterator<Item = &'t str>) -> String {
    let mut key = String::from(VALUES);
    for (index, value) in values.enumerate() {
        key.push(if index == 0 { ':' } else { ',' });
        escape(value, &mut key);
    }
    key
}

/// Adds `text` so that a comma can follow it.
pub(crate) fn escape(text: &str, escaped: &mut String) {
    for char in text.chars() {
        match char {
            ',' | '\\' => escaped.extend(['\\', char]),
            '\0' => escaped.push_str("\\0"),
            char => escaped.push(char),
        }
    }
}

/// Of 128 bits, as all keys are hashed to inside. Not keyed: who can choose values of over a kilobyte so that they collide can
/// as well send one of them twice.
fn digest(key: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::digest(key.as_bytes());
    let half = digest.first_chunk().expect("it has 256 bits");
    format!("{VALUES}#{:032x}", u128::from_be_bytes(*half))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(values: &[&str]) -> String {
        let mut captured = Captured::default();
        values.iter().for_each(|value| captured.push(value));
        captured.key().into_owned()
    }

    #[test]
    fn one_value_is_its_own_key_and_several_are_told_apart() {
        let long = "x".repeat(256);
        for (values, expected) in [
            (&["u1"][..], "u1"),
            (&["a,b\\"], "a,b\\"),
            (&["valuesmith"], "valuesmith"),
            (&[], "values"),
            (&[""], "values:"),
            (&["values"], "values:values"),
            (&["values:a,b"], "values:values:a\\,b"),
            (&["values#1"], "values:values#1"),
            (&["a\0"], "values:a\\0"),
            (&["a", "b"], "values:a,b"),
            (&["a,b", "\\"], "values:a\\,b,\\\\"),
            (&["", ""], "values:,"),
            (
                &[&long, &long, &long, &long, &long],
                "values#811cf4d104fd963f52f3447149222da1",
            ),
        ] {
            assert_eq!(key(values), expected, "{values:?}");
        }
    }

    fn values() -> impl Strategy<Value = Vec<String>> {
        // From what the joining is made of, so that what could be mixed up is drawn often.
        let value = prop_oneof![
            Just("values".to_owned()),
            "[a,\\\\\0:#]{0,3}",
            Just("values:a".to_owned())
        ];
        prop::collection::vec(value, 0..4)
    }

    proptest! {
        #[test]
        fn different_values_never_share_a_key(one in values(), other in values()) {
            let of = |values: &[String]| {
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                key(&values)
            };
            prop_assert_eq!(of(&one) == of(&other), one == other);
        }

        #[test]
        fn a_key_is_what_every_front_takes(values in prop::collection::vec(".{0,256}", 0..=8)) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let key = key(&values);
            prop_assert!((1..=Key::BYTES_MAX).contains(&key.len()) && !key.contains('\0'));
        }
    }
}
