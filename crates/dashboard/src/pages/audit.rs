//! Who has changed what.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use serde::Deserialize;

use crate::frame::{Frame, page};
use crate::respond::Trouble;
use crate::told::Paged;
use crate::visit::Visit;
use crate::words::minute;

#[derive(Deserialize)]
struct Entry {
    at: String,
    who: String,
    what: String,
    target: String,
    before: Option<String>,
    after: Option<String>,
    address: Option<String>,
    node: String,
}

impl Entry {
    fn when(&self) -> String {
        minute(&self.at)
    }

    fn from(&self) -> String {
        match &self.address {
            Some(address) => format!("{address} on {}", self.node),
            None => self.node.clone(),
        }
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
    entries: Paged<Entry>,
}

/// `GET /dashboard/{tenant}/audit`
pub(crate) async fn audit(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    let seat = visit.seat(&id).await?;
    let path = visit.part("/v1/audit", "before");
    let audit = Page {
        frame: Frame::in_tenant(&visit, seat, "audit", "Audit"),
        entries: visit.told_in(&id, &path).await?,
    };
    Ok(page(&audit.frame, &audit))
}
