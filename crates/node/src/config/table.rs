//! Reading a TOML table key by key.
//!
//! Not by `serde`, which stops at the first mistake: a file is refused with all of them. Every key that is asked
//! for becomes an accepted key; what is left over when the table is finished is refused by name.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Given, Problems};

/// A file's name, for messages, and its text, for line numbers.
#[derive(Clone, Copy)]
pub struct Source<'s> {
    /// Its name, as messages show it.
    pub name: &'s str,
    /// All of it.
    pub text: &'s str,
}

/// One table of a file, being read.
pub struct Table<'s> {
    source: Source<'s>,
    table: &'s DeTable<'s>,
    /// Such as `limit[2]`; empty for the file itself.
    path: String,
    /// Where the table begins, in bytes.
    start: usize,
    accepted: Vec<&'static str>,
    later: Vec<&'static str>,
}

impl<'s> Source<'s> {
    /// Parses the text. What is no TOML becomes problems, and the table is what could be understood.
    pub fn parse(self, problems: &mut Problems) -> Spanned<DeTable<'s>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        let mut last_place = String::new();
        for error in errors {
            let offset = error.span().map_or(self.text.len(), |span| span.start);
            let place = self.place(offset, "");
            // The first mistake of a line makes the parser see others behind it.
            if place != last_place {
                problems.add(&place, format!("not TOML: {}", error.message()), "");
            }
            last_place = place;
        }
        table
    }

    fn place(self, offset: usize, path: &str) -> String {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        let separator = if path.is_empty() { "" } else { ": " };
        format!("{}:{line}{separator}{path}", self.name)
    }
}

impl<'s> Table<'s> {
    /// The file itself.
    pub fn root(source: Source<'s>, table: &'s DeTable<'s>) -> Self {
        Self {
            source,
            table,
            path: String::new(),
            start: 0,
            accepted: Vec::new(),
            later: Vec::new(),
        }
    }

    /// Where this table begins.
    pub fn place(&self) -> String {
        self.source.place(self.start, &self.path)
    }

    /// A string, or nothing when the key is absent or (a problem) holds something else.
    pub fn string(&mut self, key: &'static str, problems: &mut Problems) -> Option<Given<String>> {
        let value = self.value(key)?;
        self.string_at(value, &self.path_of(key), problems)
    }

    /// An array of strings; empty when absent.
    pub fn strings(&mut self, key: &'static str, problems: &mut Problems) -> Vec<Given<String>> {
        self.array(key, "an array of strings", problems)
            .filter_map(|(value, path)| self.string_at(value, &path, problems))
            .collect()
    }

    /// A whole number within `min..=max`.
    pub fn integer(
        &mut self,
        key: &'static str,
        min: u64,
        max: u64,
        problems: &mut Problems,
    ) -> Option<Given<u64>> {
        let value = self.value(key)?;
        let place = self.place_of(value, &self.path_of(key));
        let number = value.get_ref().as_integer().and_then(|integer| {
            let digits = integer.as_str().replace('_', "");
            u64::from_str_radix(digits.trim_start_matches('+'), integer.radix()).ok()
        });
        let number = number.filter(|number| (min..=max).contains(number));
        if number.is_none() {
            let accepted = format!("a whole number from {min} to {max}");
            problems.add(&place, self.found(value), accepted);
        }
        Some(Given {
            value: number?,
            place,
        })
    }

    /// A part of a whole: a number from 0 to 1, with or without a fraction.
    pub fn part(&mut self, key: &'static str, problems: &mut Problems) -> Option<f64> {
        let value = self.value(key)?;
        let written = match value.get_ref() {
            DeValue::Integer(integer) => Some(integer.as_str()),
            DeValue::Float(float) => Some(float.as_str()),
            _ => None,
        };
        let part = written.and_then(|written| written.replace('_', "").parse().ok());
        let part = part.filter(|part| (0.0..=1.0).contains(part));
        if part.is_none() {
            let place = self.place_of(value, &self.path_of(key));
            problems.add(&place, self.found(value), "a number from 0 to 1");
        }
        part
    }

    /// `true`, the only thing some keys can say.
    pub fn only_true(&mut self, key: &'static str, problems: &mut Problems) -> Option<()> {
        let value = self.value(key)?;
        if value.get_ref().as_bool() == Some(true) {
            return Some(());
        }
        problems.add(
            &self.place_of(value, &self.path_of(key)),
            self.found(value),
            "true",
        );
        None
    }

    /// The only thing that `key` can say in this version.
    pub fn only(&mut self, key: &'static str, accepted: &str, problems: &mut Problems) {
        if let Some(given) = self.string(key, problems)
            && given.value != accepted
        {
            problems.bad_value(&given, accepted);
        }
    }

    /// Takes these keys for accepted, whatever they hold: something else has taken their place.
    pub fn passed_over(&mut self, keys: &[&'static str]) {
        self.accepted.extend(keys);
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &'static str, problems: &mut Problems) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            let place = self.place_of(value, &self.path_of(key));
            problems.add(&place, self.found(value), "true or false");
        }
        flag
    }

    /// The table below `key`.
    pub fn table(&mut self, key: &'static str, problems: &mut Problems) -> Option<Table<'s>> {
        let value = self.value(key)?;
        self.table_at(value, self.path_of(key), problems)
    }

    /// The tables below `key`, written `[[key]]` or `key = [{ … }]`; empty when absent.
    pub fn tables(&mut self, key: &'static str, problems: &mut Problems) -> Vec<Table<'s>> {
        self.array(key, "an array of tables", problems)
            .filter_map(|(value, path)| self.table_at(value, path, problems))
            .collect()
    }

    /// A key of a later version: refused by name when present.
    pub fn not_yet(&mut self, key: &'static str, problems: &mut Problems) {
        self.later.push(key);
        if let Some(value) = self.table.get(key) {
            problems.add(
                &self.place_of(value, &self.path_of(key)),
                "not in this version",
                "leave it out",
            );
        }
    }

    /// Notes that `key` is missing.
    pub fn missing(&self, key: &'static str, accepted: &str, problems: &mut Problems) {
        if !self.table.contains_key(key) {
            problems.add(&self.place(), format!("no `{key}`"), accepted);
        }
    }

    /// Refuses every key that nobody asked for.
    pub fn finish(self, problems: &mut Problems) {
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            if !self.accepted.contains(&name) && !self.later.contains(&name) {
                let place = self.source.place(key.span().start, &self.path_of(name));
                problems.add(&place, "unknown key", self.accepted.join(", "));
            }
        }
    }

    /// Whether `key` holds an array with nothing in it.
    pub fn is_empty_array(&self, key: &str) -> bool {
        self.table
            .get(key)
            .and_then(|value| value.get_ref().as_array())
            .is_some_and(|array| array.is_empty())
    }

    /// Where the value of `key` is; without one, where the table begins.
    pub fn place_of_key(&self, key: &str) -> String {
        self.table.get(key).map_or_else(
            || self.place(),
            |value| self.place_of(value, &self.path_of(key)),
        )
    }

    /// Whether `key` is there, whatever it holds.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// How many keys the table has.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    fn value(&mut self, key: &'static str) -> Option<&'s Spanned<DeValue<'s>>> {
        if !self.accepted.contains(&key) {
            self.accepted.push(key);
        }
        self.table.get(key)
    }

    fn array(
        &mut self,
        key: &'static str,
        accepted: &str,
        problems: &mut Problems,
    ) -> impl Iterator<Item = (&'s Spanned<DeValue<'s>>, String)> + use<'s> {
        let path = self.path_of(key);
        let value = self.value(key);
        let array = value.and_then(|value| value.get_ref().as_array());
        if let (Some(value), None) = (value, array) {
            problems.add(&self.place_of(value, &path), self.found(value), accepted);
        }
        array
            .into_iter()
            .flatten()
            .enumerate()
            .map(move |(index, value)| (value, format!("{path}[{index}]")))
    }

    fn string_at(
        &self,
        value: &'s Spanned<DeValue<'s>>,
        path: &str,
        problems: &mut Problems,
    ) -> Option<Given<String>> {
        let place = self.place_of(value, path);
        let Some(text) = value.get_ref().as_str() else {
            problems.add(&place, self.found(value), "a string");
            return None;
        };
        Some(Given {
            value: text.to_owned(),
            place,
        })
    }

    fn table_at(
        &self,
        value: &'s Spanned<DeValue<'s>>,
        path: String,
        problems: &mut Problems,
    ) -> Option<Table<'s>> {
        let Some(table) = value.get_ref().as_table() else {
            problems.add(&self.place_of(value, &path), self.found(value), "a table");
            return None;
        };
        let start = value.span().start;
        Some(Table {
            source: self.source,
            table,
            path,
            start,
            accepted: Vec::new(),
            later: Vec::new(),
        })
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn place_of(&self, value: &Spanned<DeValue<'_>>, path: &str) -> String {
        self.source.place(value.span().start, path)
    }

    /// `found` and the value as it was written, shortened to what fits a line.
    fn found(&self, value: &Spanned<DeValue<'_>>) -> String {
        let written = self.source.text.get(value.span()).unwrap_or_default();
        let line = written.lines().next().unwrap_or_default();
        let shown: String = line.chars().take(60).collect();
        let rest = if shown.len() < written.len() {
            " …"
        } else {
            ""
        };
        format!("found {shown}{rest}")
    }
}
