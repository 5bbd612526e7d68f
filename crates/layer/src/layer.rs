//! What stands before a service, and what it is told.

use std::fmt;
use std::sync::{Arc, Once};

use bytes::Bytes;
use client::{Limit, Limits};
use http::Response;
use metrics::{Counter, counter};
use tower_layer::Layer;

use crate::extract::{Extract, Extractor};
use crate::respond::{Denied, denied};
use crate::service::RateLimit;

/// Limits in front of a service.
///
/// Of several limits all are asked at once, and a request passes if all let it: what one denied is given back to the others.
/// Answers carry `RateLimit`, `RateLimit-Policy` and `X-RateLimit-…` as those of a node do. A request that is limited is
/// answered 429 with `Retry-After`; one of gRPC `RESOURCE_EXHAUSTED` with `retry-after` among its metadata.
pub struct RateLimitLayer<L: Limits> {
    told: Arc<ToldLayer<L>>,
}

/// What a layer was told.
pub(crate) struct ToldLayer<L: Limits> {
    pub(crate) asked: Vec<Asked<L>>,
    pub(crate) on_failure: OnFailure,
    pub(crate) missing: Missing,
    pub(crate) shadow: bool,
    pub(crate) respond: Respond,
}

/// Answers a request that is limited.
pub(crate) type Respond = Arc<dyn Fn(&Denied<'_>) -> Response<Bytes> + Send + Sync>;

/// One limit, and who is counted on it.
pub(crate) struct Asked<L: Limits> {
    pub(crate) limit: Limit<L>,
    /// The first that a request brings. Empty: everybody is one.
    pub(crate) by: Vec<Extractor>,
    pub(crate) cost: u32,
    pub(crate) denials: Counter,
    /// Whether the log tells that it cannot be asked.
    pub(crate) warned: Arc<Once>,
}

/// What happens to a request about which no decision could be had.
///
/// That is after the fail mode of the limit, which is the node's: a limit that fails open has no such requests, but for
/// those that no node could be asked about. A request that costs more than ever passes is none: it is answered 422, or
/// `FAILED_PRECONDITION`. Nor is one on a limit that no node knows, or that this program may not ask: that is a mistake,
/// told once in the log, and its requests are answered 503.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnFailure {
    /// It is answered 503, or `UNAVAILABLE`.
    #[default]
    Deny,
    /// It passes.
    Allow,
}

/// What happens to a request that brings nothing by which it could be counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Missing {
    /// It is answered 401, or `UNAUTHENTICATED`.
    #[default]
    Deny,
    /// That limit is not asked about it.
    Pass,
}

impl<L: Limits> RateLimitLayer<L> {
    /// Before a request reaches the service, `limit` is asked. Without [`Self::by`] everybody is counted together.
    #[must_use]
    pub fn new(limit: Limit<L>) -> Self {
        Self {
            told: Arc::new(ToldLayer {
                asked: vec![Asked::new(limit, false)],
                on_failure: OnFailure::default(),
                missing: Missing::default(),
                shadow: false,
                respond: Arc::new(denied),
            }),
        }
    }

    /// Who is counted on the limit that was named last. Called again: the first that a request brings.
    #[must_use]
    pub fn by(self, extract: impl Extract) -> Self {
        self.last(|asked| asked.by.push(extract.into_extractor()))
    }

    /// What a request costs on the limit that was named last. Default 1.
    #[must_use]
    pub fn cost(self, units: u32) -> Self {
        self.last(|asked| asked.cost = units)
    }

    /// One more limit, of the same node or nodes as the first, who is asked about all of them. A request has to pass all.
    #[must_use]
    pub fn and(self, limit: Limit<L>) -> Self {
        self.with(|told| told.asked.push(Asked::new(limit, told.shadow)))
    }

    /// What happens to a request about which no decision could be had. Default [`OnFailure::Deny`].
    #[must_use]
    pub fn on_failure(self, on_failure: OnFailure) -> Self {
        self.with(|told| told.on_failure = on_failure)
    }

    /// What happens to a request that brings nothing by which it could be counted. Default [`Missing::Deny`].
    #[must_use]
    pub fn missing(self, missing: Missing) -> Self {
        self.with(|told| told.missing = missing)
    }

    /// Decides, and lets every request pass: what would have been denied is counted in `weir_layer_denials_total` with
    /// `shadow="true"`.
    #[must_use]
    pub fn shadow(self) -> Self {
        self.with(|told| {
            told.shadow = true;
            for asked in &mut told.asked {
                asked.denials = denials(asked.limit.name(), true);
            }
        })
    }

    /// Answers a request that is limited. Headers that tell of the limits are added; the status is what the function says.
    /// Requests of gRPC are answered in its own way.
    #[must_use]
    pub fn denied(
        self,
        respond: impl Fn(&Denied<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.with(|told| told.respond = Arc::new(respond))
    }

    fn last(self, change: impl FnOnce(&mut Asked<L>)) -> Self {
        self.with(|told| change(told.asked.last_mut().expect("there is a limit")))
    }

    fn with(mut self, change: impl FnOnce(&mut ToldLayer<L>)) -> Self {
        let told = Arc::get_mut(&mut self.told);
        // A clone was made in between, as rarely happens: it keeps what it was told.
        match told {
            Some(told) => change(told),
            None => {
                let mut told = ToldLayer::clone(&self.told);
                change(&mut told);
                self.told = Arc::new(told);
            }
        }
        self
    }
}

impl<L: Limits> Asked<L> {
    fn new(limit: Limit<L>, shadow: bool) -> Self {
        Self {
            denials: denials(limit.name(), shadow),
            limit,
            by: Vec::new(),
            cost: 1,
            warned: Arc::new(Once::new()),
        }
    }
}

/// Requests that were limited: by the recorder of the program, whose layer it is.
fn denials(limit: &str, shadow: bool) -> Counter {
    let shadow = if shadow { "true" } else { "false" };
    counter!("weir_layer_denials_total", "limit" => limit.to_owned(), "shadow" => shadow)
}

impl<S, L: Limits> Layer<S> for RateLimitLayer<L> {
    type Service = RateLimit<S, L>;

    fn layer(&self, inner: S) -> RateLimit<S, L> {
        RateLimit::new(inner, Arc::clone(&self.told))
    }
}

impl<L: Limits> Clone for RateLimitLayer<L> {
    fn clone(&self) -> Self {
        Self {
            told: Arc::clone(&self.told),
        }
    }
}

impl<L: Limits> Clone for ToldLayer<L> {
    fn clone(&self) -> Self {
        Self {
            asked: self.asked.clone(),
            on_failure: self.on_failure,
            missing: self.missing,
            shadow: self.shadow,
            respond: Arc::clone(&self.respond),
        }
    }
}

impl<L: Limits> Clone for Asked<L> {
    fn clone(&self) -> Self {
        Self {
            limit: self.limit.clone(),
            by: self.by.clone(),
            cost: self.cost,
            denials: self.denials.clone(),
            warned: Arc::clone(&self.warned),
        }
    }
}

impl<L: Limits> fmt::Debug for RateLimitLayer<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self.told.asked.iter();
        f.debug_map()
            .entries(asked.map(|asked| (asked.limit.name(), &asked.by)))
            .finish()
    }
}
