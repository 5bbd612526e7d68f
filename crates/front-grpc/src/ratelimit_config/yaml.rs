//! YAML as a tree that knows its lines.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Deepest that lists and maps may stand in each other. Eight levels of descriptors, as many as a request has entries, take 20.
const DEPTH_MAX: usize = 64;

/// Most nodes, those of aliases counted each time. A limit is some ten nodes, so this is room for 100 000 limits; without a
/// bound, a few lines of aliases of aliases fill any memory.
const NODES_MAX: usize = 1_000_000;

/// A value and where it begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Node<'t> {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) value: Value<'t>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value<'t> {
    Scalar(Scalar<'t>),
    List(Vec<Node<'t>>),
    /// No name twice.
    Map(Vec<(Name<'t>, Node<'t>)>),
}

/// Text, and whether it may stand for something else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Scalar<'t> {
    pub(crate) text: Cow<'t, str>,
    /// Without quotes: `10` may be a number, `"10"` is text.
    pub(crate) is_plain: bool,
}

/// The name of a member of a map, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Name<'t> {
    pub(crate) line: usize,
    pub(crate) text: Cow<'t, str>,
}

/// Why a text is no YAML, or none that is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Malformed {
    pub(crate) line: usize,
    pub(crate) what: String,
}

/// A list or map whose end has not come.
enum Open<'t> {
    List {
        line: usize,
        anchor: usize,
        items: Vec<Node<'t>>,
    },
    Map {
        line: usize,
        anchor: usize,
        members: Vec<(Name<'t>, Node<'t>)>,
        /// From `<<`: taken for names that the map has not itself.
        merged: Vec<(Name<'t>, Node<'t>)>,
        /// Whose value comes next.
        name: Option<Name<'t>>,
    },
}

/// Reads the one document of `text`. `None`: it is empty.
///
/// Anchors, aliases and merged maps (`<<`) are resolved.
pub(crate) fn parse(text: &str) -> Result<Option<Node<'_>>, Malformed> {
    let mut loader = Loader::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| Malformed {
            line: error.marker().line(),
            what: format!("not YAML: {}", error.info()),
        })?;
        loader.take(event, span)?;
    }
    Ok(loader.root)
}

#[derive(Default)]
struct Loader<'t> {
    open: Vec<Open<'t>>,
    anchors: HashMap<usize, Node<'t>>,
    root: Option<Node<'t>>,
    documents: usize,
    nodes: usize,
}

impl<'t> Loader<'t> {
    fn take(&mut self, event: Event<'t>, span: Span) -> Result<(), Malformed> {
        let line = span.start.line();
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                match self.documents {
                    1 => Ok(()),
                    _ => refuse(line, "a second document; a file has one"),
                }
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return refuse(line, "an alias of what it stands in");
                };
                let (size, node) = (size(node), node.clone());
                self.count(line, size)?;
                self.place(node)
            }
            Event::Scalar(text, style, anchor, _) => {
                self.count(line, 1)?;
                let is_plain = style == ScalarStyle::Plain;
                let value = Value::Scalar(Scalar { text, is_plain });
                self.complete(Node { line, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                let items = Vec::new();
                self.begin(
                    line,
                    Open::List {
                        line,
                        anchor,
                        items,
                    },
                )
            }
            Event::MappingStart(anchor, _) => self.begin(
                line,
                Open::Map {
                    line,
                    anchor,
                    members: Vec::new(),
                    merged: Vec::new(),
                    name: None,
                },
            ),
            Event::SequenceEnd | Event::MappingEnd => {
                let (node, anchor) = self.open.pop().expect("an end has a beginning").end();
                self.complete(node, anchor)
            }
        }
    }

    fn begin(&mut self, line: usize, open: Open<'t>) -> Result<(), Malformed> {
        self.count(line, 1)?;
        if let Some(Open::Map { name: None, .. }) = self.open.last() {
            return refuse(line, "a name that is not text");
        }
        if self.open.len() == DEPTH_MAX {
            return refuse(line, "nested too deep");
        }
        self.open.push(open);
        Ok(())
    }

    fn count(&mut self, line: usize, nodes: usize) -> Result<(), Malformed> {
        self.nodes += nodes;
        match self.nodes {
            ..=NODES_MAX => Ok(()),
            _ => refuse(
                line,
                "more than a million values, aliases counted each time",
            ),
        }
    }

    fn complete(&mut self, node: Node<'t>, anchor: usize) -> Result<(), Malformed> {
        // 0 is none.
        if anchor != 0 {
            self.count(node.line, size(&node))?;
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node)
    }

    /// Puts a value where it belongs.
    fn place(&mut self, node: Node<'t>) -> Result<(), Malformed> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map {
                members,
                merged,
                name,
                ..
            }) => match (name.take(), node) {
                (None, node) => *name = Some(name_of(node)?),
                (Some(name), node) if name.text == "<<" => merge(node, merged)?,
                (Some(name), node) => {
                    if let Some((first, _)) =
                        members.iter().find(|(known, _)| known.text == name.text)
                    {
                        let what = format!("`{}` again, after line {}", name.text, first.line);
                        return refuse(name.line, what);
                    }
                    members.push((name, node));
                }
            },
        }
        Ok(())
    }
}

impl<'t> Open<'t> {
    fn end(self) -> (Node<'t>, usize) {
        match self {
            Self::List {
                line,
                anchor,
                items,
            } => {
                let value = Value::List(items);
                (Node { line, value }, anchor)
            }
            Self::Map {
                line,
                anchor,
                mut members,
                merged,
                ..
            } => {
                for (name, node) in merged {
                    if !members.iter().any(|(known, _)| known.text == name.text) {
                        members.push((name, node));
                    }
                }
                let value = Value::Map(members);
                (Node { line, value }, anchor)
            }
        }
    }
}

fn name_of(node: Node<'_>) -> Result<Name<'_>, Malformed> {
    match node.value {
        Value::Scalar(Scalar { text, .. }) => Ok(Name {
            line: node.line,
            text,
        }),
        _ => refuse(node.line, "a name that is not text"),
    }
}

fn merge<'t>(node: Node<'t>, merged: &mut Vec<(Name<'t>, Node<'t>)>) -> Result<(), Malformed> {
    let maps = match node.value {
        Value::List(maps) => maps,
        _ => vec![node],
    };
    for map in maps {
        match map.value {
            Value::Map(members) => merged.extend(members),
            _ => return refuse(map.line, "`<<` of what is no map"),
        }
    }
    Ok(())
}

fn size(node: &Node<'_>) -> usize {
    1 + match &node.value {
        Value::Scalar(_) => 0,
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(members) => members.iter().map(|(_, node)| 1 + size(node)).sum(),
    }
}

fn refuse<T>(line: usize, what: impl Into<String>) -> Result<T, Malformed> {
    let what = what.into();
    Err(Malformed { line, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree in one line, with the line of each name.
    fn shown(node: &Node<'_>) -> String {
        match &node.value {
            Value::Scalar(Scalar {
                text,
                is_plain: true,
            }) => text.to_string(),
            Value::Scalar(Scalar { text, .. }) => format!("{text:?}"),
            Value::List(items) => {
                let items: Vec<_> = items.iter().map(shown).collect();
                format!("[{}]", items.join(" "))
            }
            Value::Map(members) => {
                let members = members.iter();
                let members: Vec<_> = members
                    .map(|(name, node)| format!("{}@{} {}", name.text, name.line, shown(node)))
                    .collect();
                format!("{{{}}}", members.join(", "))
            }
        }
    }

    fn check(text: &str, expected: &str) {
        let actual = match parse(text) {
            Ok(node) => node.as_ref().map_or("nothing".to_owned(), shown),
            Err(error) => format!("line {}: {}", error.line, error.what),
        };
        assert_eq!(actual, expected, "{text}");
    }

    #[test]
    fn a_text_becomes_a_tree_with_lines() {
        check("", "nothing");
        check("# nothing\n", "nothing");
        check(
            "---\na: 1\nb:\n  - \"2\"\n  - c: x\n",
            r#"{a@2 1, b@3 ["2" {c@5 x}]}"#,
        );
    }

    #[test]
    fn aliases_and_merged_maps_are_resolved() {
        check(
            "a: &one {x: 1, y: 2}\nb:\n  <<: *one\n  y: 3\nc: *one",
            "{a@1 {x@1 1, y@1 2}, b@2 {y@4 3, x@1 1}, c@5 {x@1 1, y@1 2}}",
        );
        check(
            "a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}",
            "{a@1 {x@1 1}, b@2 {x@2 2, y@2 2}, c@3 {x@1 1, y@2 2}}",
        );
    }

    #[test]
    fn what_is_not_read_is_refused_by_its_line() {
        check("a: 1\na: 2", "line 2: `a` again, after line 1");
        check(
            "a: 1\n---\nb: 1",
            "line 2: a second document; a file has one",
        );
        check("a: 1\n? [b]\n: 1", "line 2: a name that is not text");
        check("a: &a\n  - *a", "line 2: an alias of what it stands in");
        check("<<: 1", "line 1: `<<` of what is no map");
        check(&"[".repeat(65), "line 1: nested too deep");
        let doubled: String = (1..40)
            .map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1))
            .collect();
        check(
            &format!("a0: &a0 x\n{doubled}"),
            "line 18: more than a million values, aliases counted each time",
        );
    }
}
