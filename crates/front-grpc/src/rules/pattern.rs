//! Values with gaps.

/// A value in which each `*` stands for any text, also none.
///
/// The file of envoyproxy/ratelimit has them anywhere and several times; a `[[rule]]` has one, at the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pattern {
    first: Box<str>,
    middle: Box<[Box<str>]>,
    last: Box<str>,
}

impl Pattern {
    /// The pattern that `text` is. `None`: it has no `*`.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let (first, rest) = text.split_once('*')?;
        let (middle, last) = rest.rsplit_once('*').unzip();
        Some(Self {
            first: first.into(),
            middle: middle.map_or_else(Box::default, |middle| {
                middle.split('*').map(Into::into).collect()
            }),
            last: last.unwrap_or(rest).into(),
        })
    }

    /// As it was written.
    pub(crate) fn text(&self) -> String {
        let middle = self.middle.iter().map(|part| format!("{part}*"));
        let middle: String = middle.collect();
        format!("{}*{middle}{}", self.first, self.last)
    }

    /// Whether `value` is one of those that it stands for.
    pub(crate) fn matches(&self, value: &str) -> bool {
        let inner = value.strip_prefix(&*self.first);
        let Some(mut rest) = inner.and_then(|inner| inner.strip_suffix(&*self.last)) else {
            return false;
        };
        // The earliest place of each part leaves most for those after it.
        self.middle
            .iter()
            .all(|part| match rest.split_once(&**part) {
                Some((_, after)) => {
                    rest = after;
                    true
                }
                None => false,
            })
    }

    /// How much of a value it fixes before its first gap: the more, the more specific.
    pub(crate) fn prefix_len(&self) -> usize {
        self.first.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, matched: &[&str], others: &[&str]) {
        let parsed = Pattern::new(pattern).unwrap();
        for value in matched {
            assert!(parsed.matches(value), "{pattern} stands for {value:?}");
        }
        for value in others {
            assert!(!parsed.matches(value), "{pattern} stands for {value:?}");
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        check("*", &["", "a", "*"], &[]);
        check("a*", &["a", "ab"], &["", "b", "ba"]);
        check(
            "/api/*/act",
            &["/api/1/act", "/api//act"],
            &["/api/act", "/api/1/acts"],
        );
        check("a*b*c", &["abc", "a-b-c", "abbc"], &["ac", "acb", "ab"]);
        check("*aa*aa*", &["aaaa", "-aa-aa-"], &["aaa"]);
        check("a**b", &["ab", "a-b"], &["a"]);
    }

    /// Ends that would have to overlap do not match.
    #[test]
    fn no_character_counts_twice() {
        check("ab*ba", &["abba", "ab-ba"], &["aba", "ab"]);
    }

    #[test]
    fn text_without_a_star_is_no_pattern() {
        assert_eq!(Pattern::new("a"), None);
    }

    /// The definition, character by character.
    fn stands_for(pattern: &[u8], value: &[u8]) -> bool {
        match (pattern.split_first(), value.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) if stands_for(rest, value) => true,
            (Some((b'*', _)), Some((_, value))) => stands_for(pattern, value),
            (Some((one, pattern)), Some((other, value))) => {
                one == other && stands_for(pattern, value)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_as_defined(pattern in "[ab*]{0,5}\\*[ab*]{0,5}", value in "[ab]{0,10}") {
            let parsed = Pattern::new(&pattern).unwrap();
            prop_assert_eq!(
                parsed.matches(&value),
                stands_for(pattern.as_bytes(), value.as_bytes())
            );
        }
    }
}
