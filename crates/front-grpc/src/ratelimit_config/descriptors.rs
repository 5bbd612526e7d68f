//! From the tree of a file to the rules of its domain.

use coordinator::{FailMode, Policy, Strategy};
use limiter::{NAMESPACE, Selected};
use quota::{Algorithm, Limit, Nanos};

use super::problem::Problem;
use super::yaml::{Name, Node, Scalar, Value};
use crate::descriptor::{ENTRIES_MAX, escape};
use crate::in_force::InForce;
use crate::rule::{Bound, Rule};
use crate::rules::{Accepts, Level, Pattern, Rules};
use crate::unit::Unit;

/// What a file is read with.
struct Reader<'p> {
    file: &'p str,
    problems: &'p mut Vec<Problem>,
}

/// A map whose members are asked for one by one; what is left is refused.
struct Fields<'n, 't> {
    line: usize,
    path: String,
    members: &'n [(Name<'t>, Node<'t>)],
    accepted: Vec<&'static str>,
}

/// Reads a whole file.
pub(super) fn read(
    file: &str,
    root: Option<&Node<'_>>,
    rules: &mut Rules,
    problems: &mut Vec<Problem>,
) {
    let mut reader = Reader { file, problems };
    let Some(root) = root else {
        reader.refuse(1, "", "an empty file", "domain and descriptors");
        return;
    };
    let Some(mut fields) = reader.fields(root, "") else {
        return;
    };
    let domain_line = fields.member("domain").map_or(root.line, |node| node.line);
    let domain = reader.text(&mut fields, "domain");
    if domain.is_empty() {
        reader.refuse(
            domain_line,
            "domain",
            "no domain",
            "a name that is not empty",
        );
    }
    let mut level = Level::default();
    let path = [domain.clone()];
    reader.descriptors(&mut fields, &path, &mut Vec::new(), &mut level);
    reader.finish(fields);
    if !domain.is_empty()
        && let Err(first) = rules.add_domain(&domain, level, file)
    {
        let what = format!("the domain {domain:?} again, after {first}");
        reader.refuse(domain_line, "domain", what, "a domain of its own");
    }
}

impl Reader<'_> {
    /// The list `descriptors` below `fields`. `names` is the way there as clients see it, `entries` as it is matched.
    fn descriptors(
        &mut self,
        fields: &mut Fields<'_, '_>,
        names: &[String],
        entries: &mut Vec<(String, String)>,
        level: &mut Level<InForce>,
    ) {
        for (node, path) in self.list(fields, "descriptors") {
            if let Some(fields) = self.fields(node, &path) {
                self.descriptor(fields, names, entries, level);
            }
        }
    }

    fn descriptor(
        &mut self,
        mut fields: Fields<'_, '_>,
        names: &[String],
        entries: &mut Vec<(String, String)>,
        level: &mut Level<InForce>,
    ) {
        let key = self.key(&mut fields);
        let value = self.text(&mut fields, "value");
        let is_shadow = self.flag(&mut fields, "shadow_mode");
        // Metrics tell of each rule, and never of each value: there is no bound to how many of those there are.
        let _is_detailed = self.flag(&mut fields, "detailed_metric");
        let accepts = match (&*value, Pattern::new(&value)) {
            ("", _) => Accepts::Any,
            (_, Some(pattern)) => Accepts::Like(pattern),
            (value, None) => Accepts::Exactly(value.into()),
        };
        if level.has(&key, &accepts) {
            let what = format!("the key {key:?} with the value {value:?} again");
            self.refuse(fields.line, &fields.path, what, "each once in a list");
        }
        if entries.len() == ENTRIES_MAX {
            let what = format!("nested deeper than {ENTRIES_MAX}");
            let accepted = format!("at most {ENTRIES_MAX}: no request has more entries");
            self.refuse(fields.line, &fields.path, what, accepted);
            return;
        }
        let name = match &*value {
            "" => key.clone(),
            value => format!("{key}_{value}"),
        };
        let names = [names, &[name]].concat();
        entries.push((key.clone(), value));
        let rule = self.rate_limit(&mut fields, &names, entries, is_shadow);
        let matched = level.at(&[(&key, accepts)], |_, _| true);
        matched.rule = rule.map(InForce::new);
        self.descriptors(&mut fields, &names, entries, &mut matched.below);
        entries.pop();
        self.finish(fields);
    }

    fn key(&mut self, fields: &mut Fields<'_, '_>) -> String {
        let key = self.text(fields, "key");
        let line = fields.member("key").map_or(fields.line, |node| node.line);
        let path = fields.path_of("key");
        if key.is_empty() {
            self.refuse(line, &path, "no key", "a key that is not empty");
        }
        if key.contains('*') {
            let what = format!("found {key:?}");
            self.refuse(line, &path, what, "a key without *; a value may have them");
        }
        key
    }

    /// `rate_limit` of a descriptor.
    fn rate_limit(
        &mut self,
        fields: &mut Fields<'_, '_>,
        names: &[String],
        entries: &[(String, String)],
        is_shadow: bool,
    ) -> Option<Rule> {
        let path = fields.path_of("rate_limit");
        let node = fields.take("rate_limit")?;
        if is_null(node) {
            return None;
        }
        let mut fields = self.fields(node, &path)?;
        let given_name = self.text(&mut fields, "name");
        let replaces = self.replaces(&mut fields, &given_name);
        let is_unlimited = self.flag(&mut fields, "unlimited");
        let unit = self.unit(&mut fields, is_unlimited);
        let requests = self.requests(&mut fields, is_unlimited);
        self.finish(fields);
        let name = match given_name.is_empty() {
            true => names.join("."),
            false => given_name.clone(),
        };
        let bound = match (is_unlimited, unit, requests) {
            (true, ..) => Bound::Everything,
            (false, Some(unit), Some(0)) => Bound::Nothing(unit.period()),
            (false, Some(unit), Some(requests)) => {
                let policy = policy(&names[0], entries, requests, unit.period());
                Bound::Limit(Selected::shown_as(policy, name.clone()))
            }
            // The problem is noted.
            _ => return None,
        };
        Some(Rule {
            name,
            bound,
            is_shadow,
            replaces,
            replaced_as: given_name,
        })
    }

    fn replaces(&mut self, fields: &mut Fields<'_, '_>, own: &str) -> Vec<String> {
        let mut names = Vec::new();
        for (node, path) in self.list(fields, "replaces") {
            let Some(mut fields) = self.fields(node, &path) else {
                continue;
            };
            let name = self.text(&mut fields, "name");
            let path = fields.path_of("name");
            if name.is_empty() {
                self.refuse(fields.line, &path, "no name", "the name of another limit");
            } else if name == own {
                let what = format!("found {name:?}, the limit's own");
                self.refuse(fields.line, &path, what, "the name of another limit");
            }
            self.finish(fields);
            names.push(name);
        }
        names
    }

    fn unit(&mut self, fields: &mut Fields<'_, '_>, is_unlimited: bool) -> Option<Unit> {
        let path = fields.path_of("unit");
        let text = self.text(fields, "unit");
        let line = fields.member("unit").map_or(fields.line, |node| node.line);
        let unit = Unit::named(&text);
        match (is_unlimited, unit) {
            (true, Some(_)) => {
                let what = format!("found {text:?} beside unlimited");
                self.refuse(line, &path, what, "one of them");
            }
            (false, None) if text.is_empty() => self.refuse(line, &path, "no unit", Unit::NAMES),
            (_, None) if !text.is_empty() => {
                self.refuse(line, &path, format!("found {text:?}"), Unit::NAMES);
            }
            _ => {}
        }
        unit
    }

    fn requests(&mut self, fields: &mut Fields<'_, '_>, is_unlimited: bool) -> Option<u32> {
        let path = fields.path_of("requests_per_unit");
        let accepted = format!("a whole number from 0 to {}", u32::MAX);
        let Some(node) = fields.take("requests_per_unit") else {
            if !is_unlimited {
                self.refuse(fields.line, &path, "no requests_per_unit", accepted);
            }
            return None;
        };
        let number = match &node.value {
            Value::Scalar(Scalar {
                text,
                is_plain: true,
            }) => number(text),
            _ => None,
        };
        if number.is_none() {
            self.refuse(node.line, &path, found(node), accepted);
        }
        // There it is any number of 32 bits. Of those above ours nobody will see the difference.
        number.map(|number| number.min(Limit::UNITS_MAX))
    }

    /// The members of a map. `None`: it is none, which is noted.
    fn fields<'n, 't>(&mut self, node: &'n Node<'t>, path: &str) -> Option<Fields<'n, 't>> {
        let Value::Map(members) = &node.value else {
            self.refuse(node.line, path, found(node), "a map");
            return None;
        };
        Some(Fields {
            line: node.line,
            path: path.to_owned(),
            members,
            accepted: Vec::new(),
        })
    }

    /// The members of a list, each with its path. Empty if there is none.
    fn list<'n, 't>(
        &mut self,
        fields: &mut Fields<'n, 't>,
        name: &'static str,
    ) -> Vec<(&'n Node<'t>, String)> {
        let path = fields.path_of(name);
        let Some(node) = fields.take(name) else {
            return Vec::new();
        };
        let Value::List(items) = &node.value else {
            if !is_null(node) {
                self.refuse(node.line, &path, found(node), "a list");
            }
            return Vec::new();
        };
        let items = items.iter().enumerate();
        items
            .map(|(index, node)| (node, format!("{path}[{index}]")))
            .collect()
    }

    /// Text; empty if there is none. A number is taken as it is written.
    fn text(&mut self, fields: &mut Fields<'_, '_>, name: &'static str) -> String {
        let path = fields.path_of(name);
        let Some(node) = fields.take(name) else {
            return String::new();
        };
        match &node.value {
            _ if is_null(node) => String::new(),
            Value::Scalar(scalar) => scalar.text.clone().into_owned(),
            _ => {
                self.refuse(node.line, &path, found(node), "text");
                String::new()
            }
        }
    }

    fn flag(&mut self, fields: &mut Fields<'_, '_>, name: &'static str) -> bool {
        let path = fields.path_of(name);
        let Some(node) = fields.take(name) else {
            return false;
        };
        let flag = match &node.value {
            _ if is_null(node) => Some(false),
            Value::Scalar(Scalar {
                text,
                is_plain: true,
            }) => flag(text),
            _ => None,
        };
        if flag.is_none() {
            self.refuse(node.line, &path, found(node), "true or false");
        }
        flag.unwrap_or(false)
    }

    /// Refuses what nobody asked for.
    fn finish(&mut self, fields: Fields<'_, '_>) {
        for (name, _) in fields.members {
            if !fields.accepted.iter().any(|known| *known == name.text) {
                let what = match LATER.contains(&&*name.text) {
                    true => "not in this version",
                    false => "unknown key",
                };
                let path = fields.path_of(&name.text);
                self.refuse(name.line, &path, what, fields.accepted.join(", "));
            }
        }
    }

    fn refuse(
        &mut self,
        line: usize,
        path: &str,
        what: impl Into<String>,
        accepted: impl Into<String>,
    ) {
        let separator = if path.is_empty() { "" } else { ": " };
        self.problems.push(Problem {
            place: format!("{}:{line}{separator}{path}", self.file),
            what: what.into(),
            accepted: accepted.into(),
        });
    }
}

/// What envoyproxy/ratelimit has beyond what is read here.
const LATER: [&str; 4] = [
    "quota_mode",
    "value_to_metric",
    "share_threshold",
    "metadata",
];

impl<'n, 't> Fields<'n, 't> {
    fn take(&mut self, name: &'static str) -> Option<&'n Node<'t>> {
        self.accepted.push(name);
        self.member(name)
    }

    fn member(&self, name: &str) -> Option<&'n Node<'t>> {
        let mut members = self.members.iter();
        let (_, node) = members.find(|(known, _)| known.text == name)?;
        Some(node)
    }

    fn path_of(&self, name: &str) -> String {
        match &*self.path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }
}

/// The limit of the descriptor with these entries. What it counts is kept as long as the descriptor is called so.
fn policy(domain: &str, entries: &[(String, String)], requests: u32, period: Nanos) -> Policy {
    let mut name = String::from("@ratelimit:");
    escape(domain, &mut name);
    for (key, value) in entries {
        for part in [key, value] {
            name.push(',');
            escape(part, &mut name);
        }
    }
    Policy {
        namespace: NAMESPACE.into(),
        name: name.into(),
        limit: Limit::new(Algorithm::FixedWindow, requests, period)
            .expect("the requests are in range, and a unit is a year at most"),
        strategy: Strategy::Owner,
        on_failure: FailMode::Deny,
        top_keys: false,
    }
}

/// A whole number as YAML writes it: digits, perhaps with `_` between them, a `+` before them, or as hexadecimal. One that
/// begins with a zero is none: some read it as octal.
fn number(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('+').unwrap_or(text).replace('_', "");
    if let Some(hex) = digits.strip_prefix("0x") {
        return u32::from_str_radix(hex, 16).ok();
    }
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_octal = digits.len() != 1 && digits.starts_with('0');
    digits.parse().ok().filter(|_| is_plain && !is_octal)
}

/// A truth value as YAML 1.1 writes it.
fn flag(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            Some(true)
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            Some(false)
        }
        _ => None,
    }
}

fn is_null(node: &Node<'_>) -> bool {
    matches!(&node.value, Value::Scalar(Scalar { text, is_plain: true })
        if matches!(&**text, "" | "~" | "null" | "Null" | "NULL"))
}

fn found(node: &Node<'_>) -> String {
    match &node.value {
        Value::Scalar(Scalar { text, .. }) => {
            let shown: String = text.chars().take(60).collect();
            format!("found {shown:?}")
        }
        Value::List(_) => "found a list".to_owned(),
        Value::Map(_) => "found a map".to_owned(),
    }
}
