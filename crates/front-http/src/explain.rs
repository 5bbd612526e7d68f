//! Says what is wrong with a body, after the fast parser has refused it.
//!
//! The fast parser borrows from the body and stops with a sentence. Here the body is read again, slowly, and every
//! field is held against a table, to tell the field, the value and what would be accepted.

use std::fmt;

use limiter::{Given, Kind as Refused, Refusal};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// The fields of an object.
pub(crate) struct Shape {
    pub(crate) fields: &'static [Field],
}

/// One field of an object.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) kind: Kind,
    /// Finishes the sentence "this field must be".
    pub(crate) accepted: &'static str,
}

/// What a field holds.
pub(crate) enum Kind {
    Text,
    /// A text that is told to nobody, also if it is something else.
    Secret,
    /// A whole number that fits 32 bits.
    Count,
    Flag,
    Object(&'static Shape),
    Array,
    /// That, or `null`.
    Nullable(&'static Kind),
}

/// Fields of a later version: who gives one is told so, and not that he has mistyped it.
const LATER: [&str; 2] = ["all_or_nothing", "shadow"];

/// The problem with `body`, which the fast parser refused with `error`.
pub(crate) fn explain(body: &[u8], shape: &Shape, error: &serde_json::Error) -> Refusal {
    match explain_object(body, shape, "") {
        Some(problem) => problem,
        // Cannot happen while shapes and structs agree. If they do not, this is still a true answer.
        None => Refusal::invalid(error.to_string()),
    }
}

fn explain_object(body: &[u8], shape: &Shape, path: &str) -> Option<Refusal> {
    let fields: Fields = match serde_json::from_slice(body) {
        Ok(fields) => fields,
        Err(error) => {
            return Some(match serde_json::from_slice::<Value>(body) {
                Ok(given) => {
                    let refusal = Refusal::invalid("the body must be an object");
                    let has_secret = shape
                        .fields
                        .iter()
                        .any(|field| matches!(field.kind, Kind::Secret));
                    match has_secret {
                        true => refusal,
                        false => refusal.with_given(as_given(given)),
                    }
                    .with_accepted(names(shape))
                }
                Err(_) => Refusal::invalid(format!("the body is not JSON: {error}")),
            });
        }
    };
    let place = |name: &str| format!("{path}{name}");
    for (index, (name, raw)) in fields.0.iter().enumerate() {
        let Some(field) = shape.fields.iter().find(|field| field.name == name) else {
            if LATER.contains(&name.as_str()) {
                let later = "this version does not have that; nothing was counted or changed";
                return Some(Refusal::new(Refused::NotImplemented, later).at(place(name)));
            }
            return Some(
                Refusal::invalid("there is no such field")
                    .at(place(name))
                    .with_accepted(names(shape)),
            );
        };
        if fields.0[..index].iter().any(|(earlier, _)| earlier == name) {
            return Some(Refusal::invalid("a field is given twice").at(place(name)));
        }
        // Numbers beyond all bounds and halves of surrogate pairs are JSON by its grammar, but no value.
        let Ok(value) = serde_json::from_str::<Value>(raw.get()) else {
            return Some(match field.kind {
                Kind::Secret => untold(place(name), field.accepted),
                _ => Refusal::field(place(name), raw.get(), field.accepted),
            });
        };
        let problem = match &field.kind {
            Kind::Object(shape) if value.is_object() => {
                explain_object(raw.get().as_bytes(), shape, &format!("{}.", place(name)))
            }
            Kind::Secret => (!value.is_string()).then(|| untold(place(name), field.accepted)),
            kind => (!kind.takes(&value))
                .then(|| Refusal::field(place(name), as_given(value), field.accepted)),
        };
        if problem.is_some() {
            return problem;
        }
    }
    let missing = shape
        .fields
        .iter()
        .find(|field| field.required && !fields.0.iter().any(|(name, _)| name == field.name))?;
    Some(Refusal::missing(place(missing.name), missing.accepted))
}

/// A field with a value that is not accepted, and that nobody is told.
fn untold(field: String, accepted: &'static str) -> Refusal {
    Refusal::invalid(format!("{field} must be {accepted}"))
        .at(field)
        .with_accepted(accepted)
}

/// What a body gave, without what is inside of it.
fn as_given(value: Value) -> Given {
    match value {
        Value::String(text) => text.into(),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Given::Literal(value.to_string()),
    }
}

impl Kind {
    fn takes(&self, value: &Value) -> bool {
        match self {
            Self::Text | Self::Secret => value.is_string(),
            Self::Count => value
                .as_u64()
                .is_some_and(|number| u32::try_from(number).is_ok()),
            Self::Flag => value.is_boolean(),
            Self::Object(_) => value.is_object(),
            Self::Array => value.is_array(),
            Self::Nullable(kind) => value.is_null() || kind.takes(value),
        }
    }
}

fn names(shape: &Shape) -> String {
    let names: Vec<_> = shape.fields.iter().map(|field| field.name).collect();
    names.join(", ")
}

/// The fields of an object as they stand in the text, those given twice as well.
struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}
