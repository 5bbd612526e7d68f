//! Who sent a request, as far as that is counted.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

use crate::browser::{self, BrowserId, BrowserKey};
use crate::client::{self, Proxies};
use crate::{Given, Key, Refusal, cookies, query};

/// What tells one client from another.
///
/// How somebody was identified is part of what is counted: a name is a key by itself, the others have `cookie:`, `peer:`
/// or `browser:` before them, and a name that begins like one of these has `name:` before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identity {
    /// The value of a request header, unless it is empty. Given twice, the request is refused.
    Header(HeaderName),
    /// The value of a query parameter, unless it is empty: the same name as in a header. Given twice, the request is
    /// refused.
    Query(String),
    /// The value of a cookie, unless it is empty. Given twice with different values, the request is refused.
    Cookie(String),
    /// A browser, by a signed cookie that it is given. Every request brings one or gets one.
    Browser,
    /// The address of the client; of IPv6 the first 64 bits. Every request has one.
    Peer,
}

/// What a request brings that tells who sent it.
#[derive(Clone, Copy, Debug)]
pub struct Clues<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its query, without the question mark.
    pub query: &'a str,
    /// Who is at the other end of the connection. `None` counts as 0.0.0.0.
    pub peer: Option<IpAddr>,
}

/// Who is counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Who {
    /// Somebody who says who they are.
    Named {
        /// As it was said.
        name: String,
        /// What is counted.
        key: Key<'static>,
    },
    /// Somebody who is told by where they come from, or by the cookie that they were given.
    Unnamed(Key<'static>),
    /// A browser without a valid cookie. Counted by where it comes from, and from then on by a new id.
    NewBrowser {
        /// Where it comes from.
        origin: Key<'static>,
        /// The new id.
        id: BrowserId,
    },
}

impl Who {
    /// What is counted first.
    #[must_use]
    pub fn key(&self) -> &Key<'static> {
        match self {
            Self::Named { key, .. } | Self::Unnamed(key) | Self::NewBrowser { origin: key, .. } => {
                key
            }
        }
    }
}

/// Identifies those who send requests. The same on every node of a cluster and after every restart.
pub struct Identifier {
    proxies: Proxies,
    browser_key: BrowserKey,
}

impl Identifier {
    /// One that believes the `X-Forwarded-For` of `trusted_proxies`, and signs the cookies of browsers with `browser_key`.
    ///
    /// An entry of `X-Forwarded-For` that lies in one of the networks is a proxy as well. IPv4 may be written as such or
    /// mapped into IPv6 (`::ffff:10.0.0.0/104`); other networks of IPv6 hold no IPv4.
    #[must_use]
    pub fn new(trusted_proxies: &[IpNet], browser_key: &[u8; 32]) -> Self {
        Self {
            proxies: Proxies::new(trusted_proxies),
            browser_key: BrowserKey::new(browser_key),
        }
    }

    /// Who sent a request: the first of `by` that it brings. `None` if it brings none.
    ///
    /// # Errors
    ///
    /// What can be read in two ways is refused, since whoever stands behind this node might take the other: a header
    /// or parameter that is given twice, two cookies of one name with different values, and what is no text.
    pub fn identify(&self, by: &[Identity], clues: Clues<'_>) -> Result<Option<Who>, Refusal> {
        for identity in by {
            let (name, key) = match identity {
                Identity::Header(field) => {
                    let Some(name) = header(clues.headers, field)? else {
                        continue;
                    };
                    (Cow::Borrowed(name), Key::of_name(name))
                }
                Identity::Query(field) => {
                    let Some(name) = query::parameter(clues.query, field)? else {
                        continue;
                    };
                    let key = Key::of_name(&name);
                    (name, key)
                }
                Identity::Cookie(field) => {
                    let Some(value) = cookie(clues.headers, field)? else {
                        continue;
                    };
                    (Cow::Borrowed(value), Key::of_cookie(field, value))
                }
                Identity::Browser => return Ok(Some(self.browser(clues))),
                Identity::Peer => {
                    let address = client::counted(self.client(clues));
                    return Ok(Some(Who::Unnamed(Key::of_peer(&address))));
                }
            };
            if name.is_empty() {
                continue;
            }
            Key::new(&*name, "key")?;
            let name = name.into_owned();
            return Ok(Some(Who::Named { name, key }));
        }
        Ok(None)
    }

    /// The value of a `Set-Cookie` that gives a browser its id.
    #[must_use]
    pub fn set_cookie(&self, id: &BrowserId) -> HeaderValue {
        self.browser_key.set_cookie(id)
    }

    fn browser(&self, clues: Clues<'_>) -> Who {
        // The first that is ours: a cookie that another site planted before it takes nobody's counter away.
        let known = cookies::values(clues.headers, browser::COOKIE)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .find_map(|value| self.browser_key.verify(value));
        if let Some(id) = known {
            return Who::Unnamed(id.key());
        }
        let address = client::counted(self.client(clues));
        let mut agent = Sha256::new();
        for line in clues.headers.get_all(USER_AGENT) {
            agent.update(line.as_bytes());
        }
        // Half of the hash tells agents apart well enough, and keeps keys short whatever the header holds.
        let agent = browser::hex(&agent.finalize()[..16]);
        let origin = Key::of_origin(&address, &agent);
        match BrowserId::random() {
            Some(id) => Who::NewBrowser { origin, id },
            None => Who::Unnamed(origin),
        }
    }

    /// The address of the client that a request comes from, by the proxies that are believed.
    #[must_use]
    pub fn client(&self, clues: Clues<'_>) -> IpAddr {
        let peer = clues.peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.proxies.client(peer, clues.headers)
    }
}

/// The value of the header `field`. `None` when it is not there.
///
/// Twice, even when one is empty or both are equal, it is refused: RFC 9110, section 5.3, has its lines joined by commas,
/// servers that take the first line or the last are as common, and a proxy that adds its own cannot know which.
fn header<'h>(headers: &'h HeaderMap, field: &HeaderName) -> Result<Option<&'h str>, Refusal> {
    let mut lines = headers.get_all(field).iter();
    let Some(value) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(Refusal::invalid(format!("{field} is given twice")).at(field.to_string()));
    }
    text(value.as_bytes(), field.as_str()).map(Some)
}

/// The value of the cookie `name`. `None` when it is not there.
///
/// A browser sends cookies of one name for several paths or domains, and RFC 6265, section 4.2.2, wants nobody to rely on
/// their order. Equal ones are one; different ones are refused.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refusal> {
    let mut values = cookies::values(headers, name);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.any(|other| other != value) {
        let detail = format!("the cookie {name} is given twice, with different values");
        return Err(Refusal::invalid(detail).at(name.to_owned()));
    }
    text(value, name).map(Some)
}

fn text<'b>(bytes: &'b [u8], field: &str) -> Result<&'b str, Refusal> {
    std::str::from_utf8(bytes)
        .map_err(|_| Refusal::field(field.to_owned(), Given::lossy(bytes), "UTF-8"))
}
