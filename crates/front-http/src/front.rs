//! The front with what it serves, which may be replaced while it does.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use limiter::{Limiter, Node, Requests};

use crate::app::Room;
use crate::config::HttpConfig;
use crate::router::route;

/// The front of one node. Clones are the same front.
pub struct Front<N> {
    limiter: Limiter<N>,
    room: Room,
    pages: Option<Pages>,
    served: Served,
}

/// What is served beside the API, of which it may ask what it shows.
type Pages = Arc<dyn Fn(Router) -> Router + Send + Sync>;

impl<N> Clone for Front<N> {
    fn clone(&self) -> Self {
        Self {
            limiter: self.limiter.clone(),
            room: self.room.clone(),
            pages: self.pages.clone(),
            served: self.served.clone(),
        }
    }
}

impl<N: Node> Front<N> {
    /// Serves what `config` says for the node behind `limiter`.
    ///
    /// # Panics
    ///
    /// If two routes have the same path, or one has a path of the API.
    pub fn new(limiter: Limiter<N>, config: HttpConfig) -> Self {
        let room = Room::new();
        let served = Served {
            router: Arc::new(ArcSwap::from_pointee(route(
                limiter.clone(),
                config,
                room.clone(),
            ))),
            requests: limiter.requests().clone(),
        };
        Self {
            limiter,
            room,
            pages: None,
            served,
        }
    }

    /// Serves also what `pages` makes of the API, each time that is replaced.
    ///
    /// # Panics
    ///
    /// If a route of both has the same path.
    #[must_use]
    pub fn with_pages(mut self, pages: impl Fn(Router) -> Router + Send + Sync + 'static) -> Self {
        let api = self.served.now();
        self.served
            .router
            .store(Arc::new(api.clone().merge(pages(api))));
        self.pages = Some(Arc::new(pages));
        self
    }

    /// Serves what `config` says, from the next request on. Those that are being answered, are as before.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new); all goes on as before then.
    pub fn replace(&self, config: HttpConfig) {
        let api = route(self.limiter.clone(), config, self.room.clone());
        let router = match &self.pages {
            Some(pages) => api.clone().merge(pages(api)),
            None => api,
        };
        self.served.router.store(Arc::new(router));
    }

    /// What [`serve`](crate::serve) serves.
    #[must_use]
    pub fn served(&self) -> Served {
        self.served.clone()
    }
}

/// What is served: to each request what it is then.
#[derive(Clone, Debug)]
pub struct Served {
    router: Arc<ArcSwap<Router>>,
    /// From the head of a request to that of its answer.
    pub(crate) requests: Requests,
}

impl From<Router> for Served {
    /// How long requests take is not told, and none is recorded.
    fn from(router: Router) -> Self {
        Self {
            router: Arc::new(ArcSwap::from_pointee(router)),
            requests: Requests::unseen(limiter::Front::Http),
        }
    }
}

impl Served {
    pub(crate) fn now(&self) -> Router {
        Router::clone(&self.router.load())
    }
}
