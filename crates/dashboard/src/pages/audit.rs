//! Who has changed what.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use crate::day::minute;
use crate::form::segment;
use crate::frame::{Frame, page};
use crate::respond::Trouble;
use crate::visit::Visit;

#[derive(Deserialize)]
struct Entry {
    at: String,
    #[serde(default)]
    who: Value,
    what: String,
    #[serde(default)]
    target: String,
    #[serde(default)]
    before: Value,
    #[serde(default)]
    after: Value,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    node: Option<String>,
}

impl Entry {
    fn when(&self) -> String {
        minute(&self.at)
    }

    /// Whoever it was, by the name that the API has.
    fn by(&self) -> String {
        text(&self.who)
    }

    fn change(&self) -> Option<String> {
        let (before, after) = (text(&self.before), text(&self.after));
        match (before.is_empty(), after.is_empty()) {
            (true, true) => None,
            (true, false) => Some(after),
            _ => Some(format!("{before} → {after}")),
        }
    }

    fn from(&self) -> String {
        let parts = [self.address.as_deref(), self.node.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" on ")
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[derive(Deserialize)]
struct Audit {
    items: Vec<Entry>,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
    entries: Vec<Entry>,
    next: Option<String>,
}

/// `GET /dashboard/{tenant}/audit`
pub(crate) async fn audit(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let seat = reader.tenant(&id)?;
    let path = match visit.form.some("before") {
        Some(before) => format!("/v1/audit?before={}", segment(before)),
        None => "/v1/audit".to_owned(),
    };
    let Audit { items, next } = visit.told_in(&id, &path).await?;
    let audit = Page {
        frame: Frame::of(&visit, reader, Some(seat), "audit", "Audit"),
        entries: items,
        next: next.map(|next| segment(&next)),
    };
    Ok(page(&visit, &audit.frame, &audit))
}
