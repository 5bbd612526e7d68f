//! The commands that ask a running node.

mod check;
mod forget;
mod limits;
mod status;
mod table;

use std::process::ExitCode;

use serde_json::Value;

pub(crate) use self::check::check;
pub(crate) use self::forget::forget;
pub(crate) use self::limits::limits;
pub(crate) use self::status::status;

/// What a command says on stdout, and how it exits.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    pub(crate) exit: ExitCode,
}

impl Outcome {
    fn success(text: String) -> Self {
        Self {
            text,
            exit: ExitCode::SUCCESS,
        }
    }
}

/// A field as a person reads it: strings without quotes, `-` for what is absent.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
