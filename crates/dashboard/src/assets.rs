//! What pages need beside themselves: styles, an icon and scripts, in the program.
//!
//! An asset lies under the hash of its bytes and may be kept for ever: another version has another address.

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::respond::missing;

/// A file, and where it is served.
pub(crate) struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    hash: LazyLock<String>,
}

/// The style of all pages.
pub(crate) static STYLE: Asset = Asset {
    name: "weir.css",
    kind: "text/css; charset=utf-8",
    bytes: include_bytes!("../assets/weir.css"),
    hash: LazyLock::new(|| hash(STYLE.bytes)),
};

/// A weir, small.
pub(crate) static ICON: Asset = Asset {
    name: "weir.svg",
    kind: "image/svg+xml",
    bytes: include_bytes!("../assets/weir.svg"),
    hash: LazyLock::new(|| hash(ICON.bytes)),
};

/// Small conveniences: no page needs it.
pub(crate) static SCRIPT: Asset = Asset {
    name: "weir.js",
    kind: "text/javascript; charset=utf-8",
    bytes: include_bytes!("../assets/weir.js"),
    hash: LazyLock::new(|| hash(SCRIPT.bytes)),
};

/// Numbers and charts that move: for pages that have some.
pub(crate) static LIVE: Asset = Asset {
    name: "live.js",
    kind: "text/javascript; charset=utf-8",
    bytes: include_bytes!("../assets/live.js"),
    hash: LazyLock::new(|| hash(LIVE.bytes)),
};

/// Draws charts: uPlot 1.6.32 as it is published, whose licence lies beside it.
pub(crate) static PLOT: Asset = Asset {
    name: "uPlot.js",
    kind: "text/javascript; charset=utf-8",
    bytes: include_bytes!("../assets/uplot/uPlot.js"),
    hash: LazyLock::new(|| hash(PLOT.bytes)),
};

/// The style of its charts.
pub(crate) static PLOT_STYLE: Asset = Asset {
    name: "uPlot.css",
    kind: "text/css; charset=utf-8",
    bytes: include_bytes!("../assets/uplot/uPlot.css"),
    hash: LazyLock::new(|| hash(PLOT_STYLE.bytes)),
};

/// All of them.
static ALL: [&Asset; 6] = [&STYLE, &SCRIPT, &ICON, &LIVE, &PLOT, &PLOT_STYLE];

fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    URL_SAFE_NO_PAD.encode(&digest[..12])
}

impl Asset {
    /// Its address.
    pub(crate) fn path(&self) -> String {
        format!("/assets/{}/{}", *self.hash, self.name)
    }
}

/// `GET /assets/{hash}/{name}`
pub(crate) async fn serve(Path((hash, name)): Path<(String, String)>) -> Response {
    let asset = ALL
        .into_iter()
        .find(|asset| asset.name == name && *asset.hash == hash);
    let Some(asset) = asset else {
        return missing().into_response();
    };
    let mut response = (StatusCode::OK, Body::from(asset.bytes)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(CACHE_CONTROL, for_ever);
    response
}
