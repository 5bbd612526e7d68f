//! Who is counted, by what a request brings.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use client::IntoKey as _;
use http::{Extensions, HeaderMap, HeaderName, Method, Request, Uri};
use ipnet::IpNet;
use limiter::{Identifier, Identity, Refusal};

/// What a request brings, beside its body.
#[derive(Clone, Copy, Debug)]
pub struct Clues<'r> {
    /// Its method.
    pub method: &'r Method,
    /// Its address.
    pub uri: &'r Uri,
    /// Its headers.
    pub headers: &'r HeaderMap,
    /// What servers and middleware have left with it.
    pub extensions: &'r Extensions,
}

impl<'r> Clues<'r> {
    pub(crate) fn of<B>(request: &'r Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }
}

/// Something that tells one client from another: [`Header`], [`Query`], [`Cookie`], [`Peer`], [`MatchedPath`], a function
/// from [`Clues`] to a key, or two of them together in a tuple, of which a request has to bring both.
///
/// How somebody was identified is part of what is counted, as it is for the routes of `weir node`: a name of a header or of
/// the query is a key by itself, the others have `cookie:` or `peer:` before them.
pub trait Extract {
    /// Ready to be asked.
    fn into_extractor(self) -> Extractor;
}

/// An [`Extract`] that is ready to be asked.
#[derive(Clone)]
pub struct Extractor(Kind);

#[derive(Clone)]
enum Kind {
    Known(Identity, Arc<Identifier>),
    Function(Arc<Function>),
    Both(Box<Extractor>, Box<Extractor>),
}

type Function = dyn Fn(&Clues<'_>) -> Option<String> + Send + Sync;

impl Extractor {
    /// The key, if the request brings it.
    pub(crate) fn key(&self, clues: &Clues<'_>) -> Result<Option<String>, Refusal> {
        match &self.0 {
            Kind::Known(identity, identifier) => {
                let known = limiter::Clues {
                    headers: clues.headers,
                    query: clues.uri.query().unwrap_or_default(),
                    peer: peer(clues.extensions),
                };
                let who = identifier.identify(std::slice::from_ref(identity), known)?;
                Ok(who.map(|who| who.key().as_str().to_owned()))
            }
            Kind::Function(function) => Ok(function(clues).filter(|key| !key.is_empty())),
            Kind::Both(one, other) => {
                let (Some(one), Some(other)) = (one.key(clues)?, other.key(clues)?) else {
                    return Ok(None);
                };
                Ok(Some((one, other).into_text().into_owned()))
            }
        }
    }

    fn known(identity: Identity, trusted: &[IpNet]) -> Self {
        // No browser is identified, so nothing is signed.
        let identifier = Identifier::new(trusted, &[0; 32]);
        Self(Kind::Known(identity, Arc::new(identifier)))
    }
}

impl fmt::Debug for Extractor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Known(identity, _) => identity.fmt(f),
            Kind::Function(_) => f.write_str("a function"),
            Kind::Both(one, other) => f.debug_tuple("").field(one).field(other).finish(),
        }
    }
}

/// The value of a request header, named in any case. Given twice, the request is refused.
///
/// # Panics
///
/// When the layer is made, if no header can be called so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header(pub &'static str);

/// The value of a query parameter. Given twice, the request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query(pub &'static str);

/// The value of a cookie. Given twice with different values, the request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cookie(pub &'static str);

/// The address that a request comes from; of IPv6 the first 64 bits.
///
/// It is what axum's `into_make_service_with_connect_info::<SocketAddr>()` leaves with a request, or a [`SocketAddr`] or
/// [`IpAddr`] among its extensions. A request without any counts as from `0.0.0.0`, together with all others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    trusted: Vec<IpNet>,
}

impl Peer {
    /// Whoever is at the other end of the connection.
    #[must_use]
    pub fn direct() -> Self {
        Self {
            trusted: Vec::new(),
        }
    }

    /// Whoever a proxy in these networks says that it was called by, in `X-Forwarded-For`. Others are not believed.
    #[must_use]
    pub fn behind(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self {
            trusted: networks.into_iter().collect(),
        }
    }
}

/// The route that a request matched, such as `/users/{id}`: of axum, where the layer is one of its router.
#[cfg(feature = "axum")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MatchedPath;

impl Extract for Header {
    fn into_extractor(self) -> Extractor {
        let name: HeaderName = self.0.parse().expect("the name of a header");
        Extractor::known(Identity::Header(name), &[])
    }
}

impl Extract for Query {
    fn into_extractor(self) -> Extractor {
        Extractor::known(Identity::Query(self.0.to_owned()), &[])
    }
}

impl Extract for Cookie {
    fn into_extractor(self) -> Extractor {
        Extractor::known(Identity::Cookie(self.0.to_owned()), &[])
    }
}

impl Extract for Peer {
    fn into_extractor(self) -> Extractor {
        Extractor::known(Identity::Peer, &self.trusted)
    }
}

#[cfg(feature = "axum")]
impl Extract for MatchedPath {
    fn into_extractor(self) -> Extractor {
        (|clues: &Clues<'_>| {
            let matched = clues.extensions.get::<axum::extract::MatchedPath>();
            matched.map(|path| path.as_str().to_owned())
        })
        .into_extractor()
    }
}

impl<F> Extract for F
where
    F: Fn(&Clues<'_>) -> Option<String> + Send + Sync + 'static,
{
    fn into_extractor(self) -> Extractor {
        Extractor(Kind::Function(Arc::new(self)))
    }
}

impl<A: Extract, B: Extract> Extract for (A, B) {
    fn into_extractor(self) -> Extractor {
        let both = (self.0.into_extractor(), self.1.into_extractor());
        Extractor(Kind::Both(Box::new(both.0), Box::new(both.1)))
    }
}

fn peer(extensions: &Extensions) -> Option<IpAddr> {
    #[cfg(feature = "axum")]
    if let Some(info) = extensions.get::<axum::extract::ConnectInfo<SocketAddr>>() {
        return Some(info.0.ip());
    }
    let address = extensions.get::<SocketAddr>().map(SocketAddr::ip);
    address.or_else(|| extensions.get::<IpAddr>().copied())
}
