//! What pages need beside themselves: styles, an icon and scripts, in the program.
//!
//! An asset lies under the hash of its bytes and may be kept for ever: another version has another address.

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::App;

/// A file, and where it is served.
pub(crate) struct Asset {
    name: &'static str,
    bytes: &'static [u8],
    hash: LazyLock<String>,
}

/// The style of all pages.
pub(crate) static STYLE: Asset = Asset {
    name: "weir.css",
    bytes: include_bytes!("../assets/weir.css"),
    hash: LazyLock::new(|| hash(STYLE.bytes)),
};

/// A weir, small.
pub(crate) static ICON: Asset = Asset {
    name: "weir.svg",
    bytes: include_bytes!("../assets/weir.svg"),
    hash: LazyLock::new(|| hash(ICON.bytes)),
};

/// Small conveniences: no page needs it.
pub(crate) static SCRIPT: Asset = Asset {
    name: "weir.js",
    bytes: include_bytes!("../assets/weir.js"),
    hash: LazyLock::new(|| hash(SCRIPT.bytes)),
};

/// Numbers and charts that move: for pages that have some.
pub(crate) static LIVE: Asset = Asset {
    name: "live.js",
    bytes: include_bytes!("../assets/live.js"),
    hash: LazyLock::new(|| hash(LIVE.bytes)),
};

/// Draws charts: uPlot 1.6.32 as it is published, whose licence lies beside it.
pub(crate) static PLOT: Asset = Asset {
    name: "uPlot.js",
    bytes: include_bytes!("../assets/uplot/uPlot.js"),
    hash: LazyLock::new(|| hash(PLOT.bytes)),
};

/// The style of its charts.
pub(crate) static PLOT_STYLE: Asset = Asset {
    name: "uPlot.css",
    bytes: include_bytes!("../assets/uplot/uPlot.css"),
    hash: LazyLock::new(|| hash(PLOT_STYLE.bytes)),
};

/// All of them.
static ALL: [&Asset; 6] = [&STYLE, &SCRIPT, &ICON, &LIVE, &PLOT, &PLOT_STYLE];

/// Of the digest, and of its text.
const HASH_BYTES: usize = 12;
const HASH_LENGTH: usize = HASH_BYTES / 3 * 4;

fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    URL_SAFE_NO_PAD.encode(&digest[..HASH_BYTES])
}

impl Asset {
    /// Its address.
    pub(crate) fn path(&self) -> String {
        format!("/assets/{}/{}", *self.hash, self.name)
    }
}

/// What assets are, by how their names end: of another version as of this one.
const KINDS: [(&str, &str); 3] = [
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("svg", "image/svg+xml"),
];

/// Most characters of a name.
const NAME_MAX: usize = 32;

/// An asset that this version may not have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    hash: String,
    name: String,
    kind: &'static str,
}

impl Wanted {
    /// `None`: no version has one that is called so.
    fn new(hash: String, name: String) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let is_hash = hash.len() == HASH_LENGTH && hash.bytes().all(is_plain);
        let (stem, end) = name.rsplit_once('.')?;
        let (_, kind) = KINDS.into_iter().find(|(known, _)| *known == end)?;
        let is_name = !stem.is_empty() && name.len() <= NAME_MAX && stem.bytes().all(is_plain);
        (is_hash && is_name).then_some(Self { hash, name, kind })
    }

    /// What nodes call it when they ask each other: `HASH/NAME`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.hash, self.name)
    }

    /// Whether these are its bytes: its hash says so, whoever tells them.
    #[must_use]
    pub fn is(&self, bytes: &[u8]) -> bool {
        hash(bytes) == self.hash
    }
}

/// The asset of this version at that [path](Wanted::path). `None`: it has none there.
#[must_use]
pub fn asset(path: &str) -> Option<&'static [u8]> {
    let (hash, name) = path.split_once('/')?;
    let mut all = ALL.into_iter();
    let asset = all.find(|asset| asset.name == name && *asset.hash == hash)?;
    Some(asset.bytes)
}

/// `GET /assets/{hash}/{name}`: of this version, or else, while a cluster is upgraded node by node, of another that a member has.
pub(crate) async fn serve(
    State(app): State<Arc<App>>,
    Path((hash, name)): Path<(String, String)>,
) -> Response {
    let Some(wanted) = Wanted::new(hash, name) else {
        return no_asset();
    };
    let body = match asset(&wanted.path()) {
        Some(bytes) => Body::from(bytes),
        None => match app.settings.elsewhere.find(wanted.clone()).await {
            Some(bytes) if wanted.is(&bytes) => Body::from(bytes),
            _ => return no_asset(),
        },
    };
    let mut response = (StatusCode::OK, body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(wanted.kind));
    let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(CACHE_CONTROL, for_ever);
    response
}

/// For scripts and styles, which read no page.
fn no_asset() -> Response {
    let problem = json!({
        "type": "/problems/not-found",
        "title": "There is nothing here",
        "status": 404,
        "detail": "no page of this version, or of another that is at hand, has such an asset",
    });
    let mut response = (StatusCode::NOT_FOUND, problem.to_string()).into_response();
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_version_can_have_is_asked_of_nobody() {
        let is_one = |hash: &str, name: &str| Wanted::new(hash.into(), name.into()).is_some();
        let hash = STYLE.hash.as_str();
        for asset in ALL {
            assert!(is_one(&asset.hash, asset.name), "{}", asset.name);
            let wanted = Wanted::new(asset.hash.clone(), asset.name.to_owned());
            let wanted = wanted.expect("it is one");
            assert_eq!(super::asset(&wanted.path()), Some(asset.bytes));
            assert!(wanted.is(asset.bytes) && !wanted.is(b""));
        }
        assert!(is_one("0123456789abcdeF", "later.js"));
        for (hash, name) in [
            ("", "weir.css"),
            (&hash[1..], "weir.css"),
            ("0123456789abcde/", "weir.css"),
            ("0123456789abcd\u{e9}", "weir.css"),
            (hash, ""),
            (hash, "css"),
            (hash, ".css"),
            (hash, "weir.exe"),
            (hash, "a b.css"),
            (hash, "../weir.css"),
            (hash, "a-name-that-is-longer-than-any.css"),
        ] {
            assert!(!is_one(hash, name), "{hash} {name}");
        }
    }
}
