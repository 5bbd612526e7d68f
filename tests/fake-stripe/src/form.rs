//! Forms with brackets in the names of their fields, read as a route allows.

use serde_json::{Map, Value};

use crate::problem::Problem;

/// Reads the fields of a form or a query by what a route takes: `name`, `line_items[][quantity]:int`, `metadata[*]`, each with
/// `!` before it when it must be there.
pub(crate) fn read(params: &[&str], form: &str) -> Result<Value, Problem> {
    let mut tree = Value::Object(Map::new());
    for (name, text) in form_urlencoded::parse(form.as_bytes()) {
        let segments = segments(&name);
        let param = params
            .iter()
            .map(|param| Param::new(param))
            .find(|param| param.is_of(&segments))
            .ok_or_else(|| Problem::unknown_parameter(&name))?;
        let value = param.value(&name, &text)?;
        let steps: Vec<(&str, bool)> = segments
            .iter()
            .zip(&param.segments)
            .map(|(segment, pattern)| (*segment, pattern.is_empty()))
            .collect();
        insert(&mut tree, &steps, value).ok_or_else(|| {
            Problem::parameter("parameter_invalid", &name, format!("Invalid {name}"))
        })?;
    }
    for param in params.iter().map(|param| Param::new(param)) {
        if param.is_missing(&tree) {
            return Err(Problem::missing_parameter(&param.name()));
        }
    }
    Ok(tree)
}

/// The texts of a list.
pub(crate) fn texts(list: &Value) -> Vec<&str> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).collect()
}

struct Param<'a> {
    is_required: bool,
    segments: Vec<&'a str>,
    kind: &'a str,
}

impl<'a> Param<'a> {
    fn new(text: &'a str) -> Self {
        let name = text.trim_start_matches('!');
        let (name, kind) = name.split_once(':').unwrap_or((name, ""));
        Self {
            is_required: text.starts_with('!'),
            segments: segments(name),
            kind,
        }
    }

    fn name(&self) -> String {
        let (first, rest) = self.segments.split_first().unwrap_or((&"", &[]));
        let rest: String = rest.iter().map(|segment| format!("[{segment}]")).collect();
        format!("{first}{rest}")
    }

    fn is_of(&self, segments: &[&str]) -> bool {
        let is_same = |(pattern, segment): (&&str, &&str)| match *pattern {
            "*" => !segment.is_empty(),
            "" => segment.bytes().all(|byte| byte.is_ascii_digit()),
            pattern => pattern == *segment,
        };
        self.segments.len() == segments.len() && self.segments.iter().zip(segments).all(is_same)
    }

    fn value(&self, name: &str, text: &str) -> Result<Value, Problem> {
        let invalid = |what: &str| {
            let message = format!("Invalid {what}: {text}");
            Problem::parameter("parameter_invalid", name, message)
        };
        if text.is_empty() && self.is_required {
            let message = format!("You passed an empty string for '{name}'.");
            return Err(Problem::parameter("parameter_invalid_empty", name, message));
        }
        if text.is_empty() && self.segments.last() != Some(&"*") {
            return Ok(Value::Null);
        }
        match self.kind {
            "int" => text.parse::<i64>().map(Value::from).map_err(|_| {
                let message = format!("Invalid integer: {text}");
                Problem::parameter("parameter_invalid_integer", name, message)
            }),
            "bool" => text
                .parse::<bool>()
                .map(Value::from)
                .map_err(|_| invalid("boolean")),
            "" => Ok(text.into()),
            words => match words.split('|').any(|word| word == text) {
                true => Ok(text.into()),
                false => {
                    let message = format!("Invalid {name}: must be one of {words}");
                    Err(Problem::parameter("parameter_invalid", name, message))
                }
            },
        }
    }

    /// What is within something else must be there when that is.
    fn is_missing(&self, tree: &Value) -> bool {
        let (last, outer) = self.segments.split_last().unwrap_or((&"", &[]));
        if !self.is_required || outer.contains(&"") {
            return false;
        }
        let holder = outer.iter().try_fold(tree, |node, step| node.get(step));
        holder.is_some_and(|holder| match *last {
            "" => !holder.is_array(),
            "*" => !holder.is_object(),
            last => holder.get(last).is_none(),
        })
    }
}

/// `a[b][][c]` in its parts: `a`, `b`, nothing, `c`.
fn segments(name: &str) -> Vec<&str> {
    let (first, rest) = name.split_once('[').unwrap_or((name, ""));
    let rest = rest.strip_suffix(']').unwrap_or(rest);
    let mut segments = vec![first];
    if name.contains('[') {
        segments.extend(rest.split("]["));
    }
    segments
}

/// Puts a value in its place. `None`: something else is there, or a list has a gap.
fn insert(node: &mut Value, steps: &[(&str, bool)], value: Value) -> Option<()> {
    let Some(((step, is_index), rest)) = steps.split_first() else {
        *node = value;
        return Some(());
    };
    if !is_index {
        if node.is_null() {
            *node = Value::Object(Map::new());
        }
        let child = node.as_object_mut()?.entry(*step).or_insert(Value::Null);
        return insert(child, rest, value);
    }
    if node.is_null() {
        *node = Value::Array(Vec::new());
    }
    let items = node.as_array_mut()?;
    let index = match step.parse::<usize>() {
        Ok(index) => index,
        // The next of a list, or more of its last.
        Err(_) => {
            let is_more = rest.first().is_some_and(|(next, _)| {
                items
                    .last()
                    .is_some_and(|last| last.is_object() && last.get(next).is_none())
            });
            items.len() - usize::from(is_more)
        }
    };
    if index == items.len() {
        items.push(Value::Null);
    }
    insert(items.get_mut(index)?, rest, value)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::read;

    const PARAMS: &[&str] = &[
        "!mode:payment|subscription",
        "line_items[][price]",
        "line_items[][quantity]:int",
        "expand[]",
        "metadata[*]",
        "!recurring[interval]",
        "recurring[count]:int",
        "active:bool",
    ];

    fn check(form: &str, expected: Result<Value, (&str, &str)>) {
        let read = read(PARAMS, form).map_err(|problem| problem.body());
        let error = |code: &str, param: &str| json!({ "code": code, "param": param });
        let expected = expected.map_err(|(code, param)| error(code, param));
        let read = read.map_err(
            |body| json!({ "code": body["error"]["code"], "param": body["error"]["param"] }),
        );
        assert_eq!(read, expected, "{form}");
    }

    #[test]
    fn brackets_make_lists_and_maps() {
        check(
            "mode=payment&line_items[0][price]=a&line_items[0][quantity]=2&line_items%5B1%5D[price]=b&metadata[a+b]=%C3%A9",
            Ok(json!({
                "mode": "payment",
                "line_items": [{ "price": "a", "quantity": 2 }, { "price": "b" }],
                "metadata": { "a b": "é" },
            })),
        );
        check(
            "mode=payment&line_items[][price]=a&line_items[][quantity]=2&line_items[][price]=b&expand[]=x&expand[]=y&active=true",
            Ok(json!({
                "mode": "payment",
                "line_items": [{ "price": "a", "quantity": 2 }, { "price": "b" }],
                "expand": ["x", "y"],
                "active": true,
            })),
        );
    }

    #[test]
    fn what_a_route_does_not_take_is_refused() {
        check("mode=payment&b=1", Err(("parameter_unknown", "b")));
        check(
            "mode=payment&metadata=1",
            Err(("parameter_unknown", "metadata")),
        );
        check(
            "mode=payment&line_items[2][price]=a",
            Err(("parameter_invalid", "line_items[2][price]")),
        );
        check("mode=setup", Err(("parameter_invalid", "mode")));
        check("mode=", Err(("parameter_invalid_empty", "mode")));
        check(
            "mode=payment&line_items[0][quantity]=x",
            Err(("parameter_invalid_integer", "line_items[0][quantity]")),
        );
        check("", Err(("parameter_missing", "mode")));
        check(
            "mode=payment&recurring[count]=1",
            Err(("parameter_missing", "recurring[interval]")),
        );
    }
}
