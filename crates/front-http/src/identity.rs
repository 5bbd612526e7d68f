//! Who is counted by a route.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use axum::http::HeaderMap;
use axum::http::header::{COOKIE, USER_AGENT};
use axum::http::request::Parts;
use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::browser::{self, BrowserId};
use crate::client;
use crate::config::Identity;
use crate::key;
use crate::problem::Problem;
use crate::query;
use crate::serve::PeerAddr;

/// Who is counted.
#[derive(Debug)]
pub(crate) enum Who {
    /// Somebody with a name of their own.
    Named(String),
    /// Somebody who is told by where they come from, or by the cookie that they were given.
    Unnamed(String),
    /// A browser without a valid cookie. Counted by where it comes from, and from then on by a new id.
    NewBrowser {
        /// Where it comes from.
        origin: String,
        /// The new id.
        id: BrowserId,
    },
}

impl Who {
    /// What is counted first.
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Named(key) | Self::Unnamed(key) | Self::NewBrowser { origin: key, .. } => key,
        }
    }
}

impl<N> App<N> {
    /// Who sent a request: the first of `identify` that it brings. `None` if it brings none.
    pub(crate) fn identify(
        &self,
        identify: &[Identity],
        request: &Parts,
    ) -> Result<Option<Who>, Problem> {
        for identity in identify {
            let who = match identity {
                Identity::Header(name) => match request.headers.get(name) {
                    Some(value) if !value.is_empty() => {
                        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| {
                            let lossy = String::from_utf8_lossy(value.as_bytes());
                            Problem::field(name.to_string(), lossy, "UTF-8")
                        })?;
                        Some(text.into())
                    }
                    _ => None,
                },
                Identity::Query(name) => {
                    query::parameter(request.uri.query().unwrap_or_default(), name)?
                }
                Identity::Cookie(name) => cookie(&request.headers, name).map(Cow::Borrowed),
                Identity::Browser => return self.browser(request).map(Some),
                Identity::Peer => {
                    let address = client::counted(self.client(request));
                    return Ok(Some(Who::Unnamed(format!("peer:{address}"))));
                }
            };
            if let Some(key) = who.filter(|key| !key.is_empty()) {
                key::check(&key, "key")?;
                return Ok(Some(Who::Named(key.into_owned())));
            }
        }
        Ok(None)
    }

    fn browser(&self, request: &Parts) -> Result<Who, Problem> {
        let known = cookie(&request.headers, browser::COOKIE)
            .and_then(|value| self.browser_key.verify(value));
        if let Some(id) = known {
            return Ok(Who::Unnamed(id.key()));
        }
        let address = client::counted(self.client(request));
        let agent = request
            .headers
            .get(USER_AGENT)
            .map_or(&b""[..], |value| value.as_bytes());
        // Half of the hash tells agents apart well enough, and keeps keys short whatever the header holds.
        let agent = browser::hex(&Sha256::digest(agent)[..16]);
        let origin = format!("browser:{address}:{agent}");
        Ok(match BrowserId::random() {
            Some(id) => Who::NewBrowser { origin, id },
            None => Who::Unnamed(origin),
        })
    }

    fn client(&self, request: &Parts) -> IpAddr {
        let peer = request
            .extensions
            .get::<PeerAddr>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        self.proxies.client(peer, &request.headers)
    }
}

/// The value of the first cookie of this name.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.split_once('='))
        .find(|(found, _)| found.trim() == name)
        .map(|(_, value)| value.trim())
}
