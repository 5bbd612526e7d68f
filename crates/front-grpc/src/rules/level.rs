//! The descriptors of a domain as a tree: a level for each entry.

use std::collections::HashMap;

use super::pattern::Pattern;
use crate::descriptor::{Captured, Entry};

/// What the next entry of a descriptor may be.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Level<R> {
    keys: HashMap<Box<str>, Values<R>>,
}

/// What the value of an entry with one key may be.
#[derive(PartialEq, Eq, Debug)]
struct Values<R> {
    exact: HashMap<Box<str>, Matched<R>>,
    /// In the order in which they are tried.
    patterns: Vec<(Pattern, Matched<R>)>,
    any: Option<Box<Matched<R>>>,
}

/// Where an entry leads.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Matched<R> {
    /// For a descriptor that ends here.
    pub(crate) rule: Option<R>,
    /// For one that goes on.
    pub(crate) below: Level<R>,
}

/// What values an entry of a rule takes, of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Accepts {
    /// This one.
    Exactly(Box<str>),
    /// Those that the pattern stands for. They are captured.
    Like(Pattern),
    /// All. They are captured.
    Any,
}

/// Which of the entries that accept a value is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Follow {
    /// The most specific that leads to a rule.
    Fitting,
    /// The most specific, and if it leads to no rule, none: as envoyproxy/ratelimit does.
    First,
}

impl<R> Default for Level<R> {
    fn default() -> Self {
        Self {
            keys: HashMap::new(),
        }
    }
}

impl<R> Default for Matched<R> {
    fn default() -> Self {
        Self {
            rule: None,
            below: Level::default(),
        }
    }
}

impl<R> Default for Values<R> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            patterns: Vec::new(),
            any: None,
        }
    }
}

impl<R> Level<R> {
    /// Where a descriptor with these entries leads, which are not empty: what is there already, or a new place.
    ///
    /// A new pattern is tried after those known ones that `comes_after(new, known)` holds for.
    pub(crate) fn at(
        &mut self,
        path: &[(&str, Accepts)],
        comes_after: fn(&Pattern, &Pattern) -> bool,
    ) -> &mut Matched<R> {
        let ((key, accepts), rest) = path.split_first().expect("a rule has entries");
        let values = self.keys.entry((*key).into()).or_default();
        let matched = values.at(accepts, comes_after);
        match rest {
            [] => matched,
            rest => matched.below.at(rest, comes_after),
        }
    }

    /// Shows every rule, with the entries that lead to it as they were written.
    pub(crate) fn each(&self, entries: &mut Vec<String>, show: &mut impl FnMut(&[String], &R)) {
        for (key, values) in &self.keys {
            let exact = values.exact.iter();
            let exact = exact.map(|(value, matched)| (format!("{key} = {value}"), matched));
            let alike = values.patterns.iter();
            let alike = alike.map(|(pattern, it)| (format!("{key} = {}", pattern.text()), it));
            let any = values.any.as_deref().map(|it| (key.to_string(), it));
            for (entry, matched) in exact.chain(alike).chain(any) {
                entries.push(entry);
                if let Some(rule) = &matched.rule {
                    show(entries, rule);
                }
                matched.below.each(entries, show);
                entries.pop();
            }
        }
    }

    /// Does something to every rule.
    pub(crate) fn each_mut(&mut self, change: &mut impl FnMut(&mut R)) {
        for values in self.keys.values_mut() {
            let alike = values.patterns.iter_mut().map(|(_, matched)| matched);
            let any = values.any.as_deref_mut();
            for matched in values.exact.values_mut().chain(alike).chain(any) {
                matched.rule.iter_mut().for_each(&mut *change);
                matched.below.each_mut(change);
            }
        }
    }

    /// Whether an entry with this key and these values leads anywhere.
    pub(crate) fn has(&self, key: &str, accepts: &Accepts) -> bool {
        self.keys.get(key).is_some_and(|values| match accepts {
            Accepts::Exactly(value) => values.exact.contains_key(value),
            Accepts::Any => values.any.is_some(),
            Accepts::Like(new) => values.patterns.iter().any(|(pattern, _)| pattern == new),
        })
    }

    /// The rule of a descriptor with these entries, which are not empty. What it captures is added to `captured`.
    pub(crate) fn find<'r, 'e>(
        &'r self,
        entries: &'e [Entry],
        follow: Follow,
        captured: &mut Captured<'e>,
    ) -> Option<&'r R> {
        let (entry, rest) = entries.split_first()?;
        let before = captured.len();
        for (matched, captures) in self.keys.get(&*entry.key)?.accepting(&entry.value) {
            if captures {
                captured.push(&entry.value);
            }
            let found = match rest {
                [] => matched.rule.as_ref(),
                rest => matched.below.find(rest, follow, captured),
            };
            if found.is_some() || follow == Follow::First {
                return found;
            }
            captured.truncate(before);
        }
        None
    }
}

impl<R> Values<R> {
    fn at(
        &mut self,
        accepts: &Accepts,
        comes_after: fn(&Pattern, &Pattern) -> bool,
    ) -> &mut Matched<R> {
        match accepts {
            Accepts::Exactly(value) => self.exact.entry(value.clone()).or_default(),
            Accepts::Any => self.any.get_or_insert_default(),
            Accepts::Like(new) => {
                let known = self.patterns.iter().position(|(pattern, _)| pattern == new);
                let place = known.unwrap_or_else(|| {
                    let place = self
                        .patterns
                        .partition_point(|(pattern, _)| comes_after(new, pattern));
                    self.patterns
                        .insert(place, (new.clone(), Matched::default()));
                    place
                });
                &mut self.patterns[place].1
            }
        }
    }

    /// Where `value` leads, the most specific first, and whether it is captured.
    fn accepting<'r>(&'r self, value: &str) -> impl Iterator<Item = (&'r Matched<R>, bool)> {
        let exact = self.exact.get(value).map(|matched| (matched, false));
        let alike = self
            .patterns
            .iter()
            .filter(|(pattern, _)| pattern.matches(value))
            .map(|(_, matched)| (matched, true));
        let any = self.any.as_deref().map(|matched| (matched, true));
        exact.into_iter().chain(alike).chain(any)
    }
}
