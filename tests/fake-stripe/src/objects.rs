//! What Stripe keeps: each object as it is shown, by its id.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::form;
use crate::problem::Problem;

/// Properties that can be asked for with `expand[]`.
const EXPANDABLE: &[&str] = &[
    "configuration",
    "customer",
    "default_price",
    "invoice",
    "latest_invoice",
    "line_items",
    "price",
    "product",
    "products",
    "subscription",
    "tiers",
];

/// Properties that are shown only when they are asked for.
const HIDDEN: &[(&str, &str)] = &[
    ("checkout.session", "line_items"),
    ("checkout.session", "subscription_data"),
    ("price", "tiers"),
    // Of what can be changed to in the portal.
    ("", "products"),
];

/// All objects. Their ids begin with what they are and rise in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    by_id: BTreeMap<String, Value>,
    made: u64,
}

impl Objects {
    /// An id that nothing has.
    pub(crate) fn next_id(&mut self, prefix: &str, run: &str) -> String {
        self.made += 1;
        format!("{prefix}{run}{:08}", self.made)
    }

    pub(crate) fn put(&mut self, object: Value) {
        let id = object["id"].as_str().unwrap_or_default().to_owned();
        self.by_id.insert(id, object);
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Value> {
        self.by_id.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Value> {
        self.by_id.get_mut(id)
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Value> {
        self.by_id.remove(id)
    }

    /// Those of one kind, the oldest first, whatever their ids are.
    pub(crate) fn of_kind(&self, kind: &str) -> Vec<&Value> {
        let mut found: Vec<&Value> = self
            .by_id
            .values()
            .filter(|object| object["object"] == kind)
            .collect();
        found.sort_by_key(|object| object["created"].as_i64());
        found
    }

    /// Those whose ids begin so, the oldest first.
    pub(crate) fn of(&self, prefix: &str) -> impl DoubleEndedIterator<Item = &Value> {
        let end = format!("{prefix}\u{7f}");
        self.by_id
            .range(prefix.to_owned()..end)
            .map(|(_, object)| object)
    }

    /// An answer as its reader sees it: what was asked for in place of its id, and nothing that nobody asked for.
    pub(crate) fn show(&self, mut answer: Value, expand: &[&str]) -> Result<Value, Problem> {
        for path in expand {
            let last = path.rsplit('.').next().unwrap_or_default();
            if !EXPANDABLE.contains(&last) {
                let message = format!("This property cannot be expanded ({path}).");
                return Err(Problem::parameter(
                    "property_cannot_be_expanded",
                    "expand",
                    message,
                ));
            }
        }
        self.show_below(&mut answer, "", expand);
        Ok(answer)
    }

    /// An object as whoever asked for nothing more sees it.
    pub(crate) fn plain(&self, mut object: Value) -> Value {
        self.show_below(&mut object, "", &[]);
        object
    }

    fn show_below(&self, node: &mut Value, path: &str, expand: &[&str]) {
        if let Value::Array(items) = node {
            for item in items {
                self.show_below(item, path, expand);
            }
            return;
        }
        let Value::Object(fields) = node else { return };
        let kind = fields
            .get("object")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let path_of = |name: &str| match path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        let is_wanted = |name: &str| {
            let path = path_of(name);
            expand.iter().any(|wanted| {
                let rest = wanted.strip_prefix(path.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        fields
            .retain(|name, _| !HIDDEN.contains(&(kind.as_str(), name.as_str())) || is_wanted(name));
        for (name, child) in fields.iter_mut() {
            let object = child.as_str().and_then(|id| self.get(id));
            if let Some(object) = object.filter(|_| name != "id" && is_wanted(name)) {
                *child = object.clone();
            }
            self.show_below(child, &path_of(name), expand);
        }
    }
}

/// One page of a list that begins with the newest.
pub(crate) fn page(url: &str, form: &Value, all: Vec<Value>) -> Result<Value, Problem> {
    let limit = form["limit"].as_i64().unwrap_or(10);
    if !(1..=100).contains(&limit) {
        let message = format!("This value must be between 1 and 100 (it currently is '{limit}').");
        return Err(Problem::parameter(
            "parameter_invalid_integer",
            "limit",
            message,
        ));
    }
    let limit = usize::try_from(limit).expect("at most 100");
    let place = |param: &str| match form[param].as_str() {
        Some(id) => {
            let place = all.iter().position(|object| object["id"] == id);
            place
                .map(Some)
                .ok_or_else(|| Problem::no_such("object", id, param))
        }
        None => Ok(None),
    };
    let (after, before) = (place("starting_after")?, place("ending_before")?);
    let (data, has_more) = match (after, before) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid(
                "You cannot parameterize both starting_after and ending_before.",
            ));
        }
        (None, Some(before)) => {
            let start = before.saturating_sub(limit);
            (&all[start..before], 0 < start)
        }
        (after, None) => {
            let start = after.map_or(0, |after| after + 1);
            let end = all.len().min(start + limit);
            (&all[start..end], end < all.len())
        }
    };
    Ok(list(url, data, has_more))
}

/// A list as Stripe shows it.
pub(crate) fn list(url: &str, data: &[Value], has_more: bool) -> Value {
    json!({ "object": "list", "url": url, "has_more": has_more, "data": data })
}

/// What a form says of `metadata`: a map, of nothing if it says nothing.
pub(crate) fn metadata(form: &Value) -> Value {
    let fields = form["metadata"].as_object().cloned().unwrap_or_default();
    // An empty text takes a name away.
    let fields = fields.into_iter().filter(|(_, value)| value != "");
    fields.collect::<serde_json::Map<_, _>>().into()
}

/// Whether an object is of those that a list is asked for: each of these fields as the form has it, or not in the form.
pub(crate) fn is_asked_for(object: &Value, form: &Value, fields: &[&str]) -> bool {
    fields
        .iter()
        .all(|name| form[*name].is_null() || form[*name] == object[*name])
}

/// Whether a text is in the list that a form gives, if it gives one.
pub(crate) fn is_listed(text: &Value, form: &Value, list: &str) -> bool {
    form[list].is_null() || form::texts(&form[list]).contains(&text.as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Objects, page};

    fn ids(form: &Value) -> (Vec<i64>, bool) {
        let all = (0..25)
            .rev()
            .map(|n| json!({ "id": n.to_string(), "n": n }));
        let page = page("/v1/things", form, all.collect()).unwrap();
        let data = page["data"].as_array().unwrap().iter();
        let ids = data.map(|object| object["n"].as_i64().unwrap()).collect();
        (ids, page["has_more"] == true)
    }

    #[test]
    fn pages_go_both_ways() {
        assert_eq!(ids(&json!({ "limit": 3 })), (vec![24, 23, 22], true));
        assert_eq!(ids(&json!({})).0.len(), 10);
        let after = json!({ "limit": 3, "starting_after": "2" });
        assert_eq!(ids(&after), (vec![1, 0], false));
        let before = json!({ "limit": 3, "ending_before": "10" });
        assert_eq!(ids(&before), (vec![13, 12, 11], true));
        let newest = json!({ "limit": 3, "ending_before": "23" });
        assert_eq!(ids(&newest), (vec![24], false));
        let unknown = page("/v1/things", &json!({ "ending_before": "x" }), Vec::new());
        assert_eq!(unknown.unwrap_err().status, 400);
    }

    #[test]
    fn what_is_asked_for_is_shown_in_place_of_its_id() {
        let mut objects = Objects::default();
        objects.put(json!({ "id": "in_1", "object": "invoice", "customer": "cus_1" }));
        objects.put(json!({ "id": "cus_1", "object": "customer" }));
        let answer =
            json!({ "data": [{ "id": "sub_1", "latest_invoice": "in_1", "customer": "cus_1" }] });
        let shown = objects
            .show(answer.clone(), &["data.latest_invoice.customer"])
            .unwrap();
        let sub = &shown["data"][0];
        assert_eq!(sub["latest_invoice"]["customer"]["object"], "customer");
        assert_eq!(sub["customer"], "cus_1");
        assert!(objects.show(answer, &["data.nothing"]).is_err());
    }
}
