//! The commands that answer at once: most ask a running node.

mod billing;
mod check;
mod config;
mod explain;
mod forget;
mod health;
mod key;
mod limits;
mod link;
mod manual;
mod operator;
mod reload;
mod reset;
mod service;
mod status;
mod table;
mod tenant;
mod usage;
mod user;

use std::process::ExitCode;

use serde_json::Value;

use crate::api::Answer;

pub(crate) use self::billing::billing;
pub(crate) use self::check::check;
pub(crate) use self::config::config;
pub(crate) use self::explain::explain;
pub(crate) use self::forget::forget;
pub(crate) use self::health::health;
pub(crate) use self::key::key;
pub(crate) use self::limits::limits;
pub(crate) use self::manual::{completions, man};
pub(crate) use self::operator::operator;
pub(crate) use self::reload::{NotReloaded, reload};
pub(crate) use self::reset::reset;
pub(crate) use self::service::service;
pub(crate) use self::status::{status, watch};
pub(crate) use self::tenant::tenant;
pub(crate) use self::usage::usage;
pub(crate) use self::user::user;

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

    /// Tells what is so now, where the node's answer has nothing to say; and of whom it is not known yet.
    fn done(answer: &Answer, told: &str, as_json: bool) -> Self {
        if as_json {
            eprint!("{}", answer.not_confirmed());
            return Self::success(answer.as_said());
        }
        Self::success(format!("{told}\n{}", answer.not_confirmed()))
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

/// Facts, one a line, their names in one column.
#[derive(Default)]
struct Facts(String);

impl Facts {
    fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        self.0.push_str(&format!("{name:<25}{value}\n"));
    }
}
