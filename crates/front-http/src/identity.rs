//! Who is counted by a route.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::browser::{self, BrowserId};
use crate::client;
use crate::config::Identity;
use crate::cookies;
use crate::key;
use crate::problem::Problem;
use crate::query;
use crate::serve::PeerAddr;

/// Who is counted.
#[derive(Debug)]
pub(crate) enum Who {
    /// Somebody who says who they are.
    Named {
        /// As it was said.
        name: String,
        /// What is counted.
        key: String,
    },
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
            Self::Named { key, .. } | Self::Unnamed(key) | Self::NewBrowser { origin: key, .. } => {
                key
            }
        }
    }
}

impl<N> App<N> {
    /// Who sent a request: the first of `identify` that it brings. `None` if it brings none.
    ///
    /// # Errors
    ///
    /// What can be read in two ways is refused, since whoever stands behind this node might take the other: a header
    /// or parameter that is given twice, two cookies of one name with different values, and what is no text.
    pub(crate) fn identify(
        &self,
        identify: &[Identity],
        request: &Parts,
    ) -> Result<Option<Who>, Problem> {
        for identity in identify {
            let (name, key) = match identity {
                Identity::Header(field) => {
                    let Some(name) = header(&request.headers, field)? else {
                        continue;
                    };
                    (Cow::Borrowed(name), key::of_name(name))
                }
                Identity::Query(field) => {
                    let query = request.uri.query().unwrap_or_default();
                    let Some(name) = query::parameter(query, field)? else {
                        continue;
                    };
                    let key = key::of_name(&name);
                    (name, key)
                }
                Identity::Cookie(field) => {
                    let Some(value) = cookie(&request.headers, field)? else {
                        continue;
                    };
                    (Cow::Borrowed(value), key::of_cookie(field, value))
                }
                Identity::Browser => return self.browser(request).map(Some),
                Identity::Peer => {
                    let address = client::counted(self.client(request));
                    return Ok(Some(Who::Unnamed(key::of_peer(&address))));
                }
            };
            if name.is_empty() {
                continue;
            }
            key::check(&name, "key")?;
            let name = name.into_owned();
            return Ok(Some(Who::Named { name, key }));
        }
        Ok(None)
    }

    fn browser(&self, request: &Parts) -> Result<Who, Problem> {
        // The first that is ours: a cookie that another site planted before it takes nobody's counter away.
        let known = cookies::values(&request.headers, browser::COOKIE)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .find_map(|value| self.browser_key.verify(value));
        if let Some(id) = known {
            return Ok(Who::Unnamed(id.key()));
        }
        let address = client::counted(self.client(request));
        let mut agent = Sha256::new();
        for line in request.headers.get_all(USER_AGENT) {
            agent.update(line.as_bytes());
        }
        // Half of the hash tells agents apart well enough, and keeps keys short whatever the header holds.
        let agent = browser::hex(&agent.finalize()[..16]);
        let origin = key::of_origin(&address, &agent);
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

/// The value of the header `field`. `None` when it is not there.
///
/// Twice, even when one is empty or both are equal, it is refused: RFC 9110, section 5.3, has its lines joined by commas,
/// servers that take the first line or the last are as common, and a proxy that adds its own cannot know which.
fn header<'h>(headers: &'h HeaderMap, field: &HeaderName) -> Result<Option<&'h str>, Problem> {
    let mut lines = headers.get_all(field).iter();
    let Some(value) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(Problem::invalid(format!("{field} is given twice")).at(field.to_string()));
    }
    text(value.as_bytes(), field.as_str()).map(Some)
}

/// The value of the cookie `name`. `None` when it is not there.
///
/// A browser sends cookies of one name for several paths or domains, and RFC 6265, section 4.2.2, wants nobody to rely on
/// their order. Equal ones are one; different ones are refused.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Problem> {
    let mut values = cookies::values(headers, name);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.any(|other| other != value) {
        let detail = format!("the cookie {name} is given twice, with different values");
        return Err(Problem::invalid(detail).at(name.to_owned()));
    }
    text(value, name).map(Some)
}

fn text<'b>(bytes: &'b [u8], field: &str) -> Result<&'b str, Problem> {
    std::str::from_utf8(bytes)
        .map_err(|_| Problem::field(field.to_owned(), String::from_utf8_lossy(bytes), "UTF-8"))
}
