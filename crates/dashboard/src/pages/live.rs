//! What the script of a page asks while the page is open.

use axum::extract::{Path, RawQuery};
use axum::response::Response;

use crate::respond::Trouble;
use crate::visit::Visit;

/// `GET /dashboard/{tenant}/live`
pub(crate) async fn live(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    visit.seat(&id).await?;
    visit.passed_on(Some(&id), "/v1/live".to_owned()).await
}

/// `GET /dashboard/{tenant}/series`
pub(crate) async fn series(
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    visit: Visit,
) -> Result<Response, Trouble> {
    visit.seat(&id).await?;
    let query = query.unwrap_or_default();
    let path = format!("/v1/series?{query}");
    visit.passed_on(Some(&id), path).await
}

/// `GET /dashboard/cluster/shards`
pub(crate) async fn shards(visit: Visit) -> Result<Response, Trouble> {
    visit.reader().await?;
    visit.passed_on(None, "/v1/shards".to_owned()).await
}
