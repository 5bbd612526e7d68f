//! `/v1/service/records`: all that people made at run time, to be kept elsewhere and taken in again.

use axum::extract::{Request, State};
use axum::http::Uri;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use catalogue::Changed;
use limiter::{Change, Node, Refusal};
use serde::Deserialize;
use serde_json::{Value, json};

use super::read_up_to;
use crate::app::Shared;
use crate::body::BATCH_BODY_MAX;
use crate::caller::By;
use crate::changed;
use crate::decided;
use crate::explain::{Field, Kind, Shape};
use crate::memory::ANSWER_BYTES;
use crate::page::Page;
use crate::problem::Problem;

const RECORDS_ACCEPTED: &str = "up to 1000 of what GET /v1/service/records calls record";
const RECORDS_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    records: Vec<String>,
}

const GIVEN: Shape = Shape {
    fields: &[Field {
        name: "records",
        required: true,
        kind: Kind::Array,
        accepted: RECORDS_ACCEPTED,
    }],
};

/// `GET /v1/service/records`: a page of all, in an order of its own.
pub(crate) async fn export<N: Node>(State(app): Shared<N>, uri: Uri) -> Result<Response, Problem> {
    let page = Page::of(&uri)?;
    let room = app.answers.room(ANSWER_BYTES)?;
    app.service()?;
    let node = app.limiter.node();
    let mut records = node.export(page.after.as_deref(), page.count + 1)?;
    let next = page.next(&mut records, |record| record.place.clone());
    let items = records.iter().map(|record| {
        json!({
            "kind": record.kind.name(),
            "namespace": &*record.namespace,
            "name": &*record.name,
            "record": STANDARD.encode(&record.record),
        })
    });
    let json = json!({ "items": items.collect::<Vec<Value>>(), "next": next });
    Ok(decided::json(room.keep(json.to_string())))
}

/// `POST /v1/service/records`: each joins what stands there.
pub(crate) async fn import<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    app.service()?;
    let given: Given = read_up_to(BATCH_BODY_MAX, &app, &GIVEN, request).await?;
    if RECORDS_MAX < given.records.len() {
        let count = given.records.len().to_string();
        return Err(Refusal::field("records", count, RECORDS_ACCEPTED).into());
    }
    let decode = |(number, text): (usize, &String)| {
        let bytes = STANDARD.decode(text);
        let accepted = "base64, as GET /v1/service/records tells it";
        bytes.map_err(|_| Refusal::field(format!("records[{number}]"), "", accepted))
    };
    let records: Vec<_> = given
        .records
        .iter()
        .enumerate()
        .map(decode)
        .collect::<Result<_, _>>()?;
    let imported = app.limiter.node().import(&records).await?;
    let (all, new) = (records.len(), imported.new);
    let after = format!("{all} records, {new} of them new");
    let change = Change::new("service.import", "records").from_to(None, &*after);
    by.caller(&app).note(change).await;
    let told = Changed {
        replaced: true,
        pending: imported.pending,
    };
    Ok(changed::changed(&told, &json!({ "new": imported.new })))
}
