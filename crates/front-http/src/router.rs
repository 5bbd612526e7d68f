//! What is served where.

use std::sync::Arc;

use accounts::Scope;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{self, MethodRouter};
use bytes::Bytes;
use limiter::{Limiter, Node};

use crate::app::{App, Room, Shared};
use crate::caller::{Needs, guard, guard_path};
use crate::config::{HttpConfig, Route};
use crate::routes::Protected;
use crate::{
    auth, check, cluster, decided, docs, key_limits, limits, openapi, problem, problems, rate,
    reload, service, throttle, traced,
};

/// Method, path, what whoever asks must bring where the node is a service for many, and handler.
pub(crate) type Endpoint<N> = (&'static str, &'static str, Needs, MethodRouter<Arc<App<N>>>);

/// Everything that is served for the node behind `limiter`.
///
/// Peers' addresses are read from the extension [`PeerAddr`](crate::PeerAddr), which [`serve`](crate::serve) adds.
///
/// # Panics
///
/// If two routes have the same path, or one has a path of the API.
pub fn router<N: Node>(limiter: Limiter<N>, config: HttpConfig) -> Router {
    route(limiter, config, Room::new())
}

/// `/metrics`, `/health` and `/ready` alone, for whoever connects: for an address that only those reach who watch the node.
pub fn metrics_router<N: Node>(limiter: Limiter<N>, config: HttpConfig) -> Router {
    let app = App::new(
        limiter,
        config.access,
        config.identifier,
        config.rate_limit,
        Room::new(),
    );
    let told = endpoints()
        .into_iter()
        .filter(|(_, path, ..)| ["/metrics", "/health", "/ready"].contains(path));
    let routes = told.fold(Router::new(), |router, (_, path, _, handler)| {
        router.route(path, handler)
    });
    routes
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(Arc::new(app))
}

/// As [`router`], where clients take from `room` what they need.
pub(crate) fn route<N: Node>(limiter: Limiter<N>, config: HttpConfig, room: Room) -> Router {
    let access = config.access.clone();
    let app = Arc::new(App::new(
        limiter.clone(),
        access.clone(),
        Arc::clone(&config.identifier),
        config.rate_limit.clone(),
        room,
    ));
    let is_service = access.service().is_some();
    let mut router = Router::new();
    for (method, path, needs, handler) in served(&config) {
        let state = Arc::new(app.guard(needs));
        let guard = middleware::from_fn_with_state(state, guard_path);
        let handler = match (is_service, method) {
            (false, _) => handler,
            (true, ANY) => handler.layer(guard),
            // Not around what answers other methods: that there are none needs no credential.
            (true, _) => handler.route_layer(guard),
        };
        router = router.route(path, named(handler, path, &limiter));
    }
    for route in &config.routes {
        // Braces would be a pattern; a route is matched as it stands.
        let path = route.path.replace('{', "{{").replace('}', "}}");
        let handler = named(protected(route), &route.path, &limiter);
        router = router.without_v07_checks().route(&path, handler);
    }
    let router = router
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(app);
    let router = match access.is_open() || is_service {
        true => router,
        false => router.layer(middleware::from_fn_with_state((access, limiter), guard)),
    };
    // Turns handlers into services once, not for every request.
    router.with_state(())
}

/// In place of a method: every one is taken.
const ANY: &str = "any";

/// Everything that is served but for the routes of the file.
fn served<N: Node>(config: &HttpConfig) -> impl Iterator<Item = Endpoint<N>> {
    let of_service = config.access.service().map(|_| service::endpoints());
    let of_service = of_service.into_iter().flatten();
    endpoints()
        .into_iter()
        .chain(of_service)
        .chain(descriptions(config))
}

/// The API.
fn endpoints<N: Node>() -> Vec<Endpoint<N>> {
    let (checks, adjusts) = (Needs::Scope(Scope::Check), Needs::Scope(Scope::Adjust));
    let (reads, writes) = (
        Needs::Scope(Scope::LimitsRead),
        Needs::Scope(Scope::LimitsWrite),
    );
    let operator = Needs::Operator;
    vec![
        ("post", "/v1/check", checks, routing::post(check::check)),
        ("post", "/v1/refund", adjusts, routing::post(check::refund)),
        (
            "post",
            "/v1/check/batch",
            checks,
            routing::post(check::batch),
        ),
        (
            "delete",
            "/v1/keys/{limit}/{*key}",
            adjusts,
            routing::delete(check::reset),
        ),
        // The pattern above leaves out the empty key, which deserves to hear why it is refused.
        (
            "delete",
            "/v1/keys/{limit}/",
            adjusts,
            routing::delete(check::reset),
        ),
        ("get", "/v1/limits", reads, routing::get(limits::list)),
        ("get", "/v1/limits/{name}", reads, routing::get(limits::get)),
        (
            "put",
            "/v1/limits/{name}",
            writes,
            routing::put(limits::put),
        ),
        (
            "delete",
            "/v1/limits/{name}",
            writes,
            routing::delete(limits::delete),
        ),
        (
            "post",
            "/v1/reload",
            operator,
            routing::post(reload::reload),
        ),
        (
            "get",
            "/v1/cluster",
            operator,
            routing::get(cluster::cluster),
        ),
        ("get", "/v1/shards", operator, routing::get(cluster::shards)),
        ("get", "/v1/owner", operator, routing::get(cluster::owner)),
        (
            "delete",
            "/v1/members/{name}",
            operator,
            routing::delete(cluster::forget),
        ),
        ("get", "/api/limits", reads, routing::get(key_limits::get)),
        (
            "post",
            "/api/limits",
            writes,
            routing::post(key_limits::put),
        ),
        (
            "delete",
            "/api/limits",
            writes,
            routing::delete(key_limits::delete),
        ),
        (
            "get",
            "/api/limits/{*key}",
            reads,
            routing::get(key_limits::get_one),
        ),
        (
            "delete",
            "/api/limits/{*key}",
            writes,
            routing::delete(key_limits::delete_one),
        ),
        ("get", "/api/check", checks, routing::get(key_limits::check)),
        (
            "post",
            "/rate/increment",
            checks,
            routing::post(rate::increment),
        ),
        ("get", "/rate/check", checks, routing::get(rate::check)),
        (ANY, "/auth/{limit}", checks, routing::any(auth::auth)),
        (
            "post",
            "/throttle",
            checks,
            routing::post(throttle::throttle),
        ),
        (
            "get",
            "/health",
            Needs::Nothing,
            routing::get(cluster::health),
        ),
        (
            "get",
            "/ready",
            Needs::Nothing,
            routing::get(cluster::ready),
        ),
        ("get", "/metrics", operator, routing::get(cluster::metrics)),
    ]
}

/// What whoever asks must bring, by method and path as they are described.
fn wanted<N: Node>() -> impl Iterator<Item = openapi::Wanted> {
    let all = endpoints::<N>()
        .into_iter()
        .chain(service::endpoints::<N>());
    all.map(|(method, path, needs, _)| {
        // One method stands for all.
        let method = if method == ANY { "get" } else { method };
        (method, path.replace('*', ""), needs)
    })
}

/// The API described, for programs and for people.
fn descriptions<N: Node>(config: &HttpConfig) -> [Endpoint<N>; 3] {
    let api = openapi::describe(config, wanted::<N>());
    let page = Bytes::from(docs::render(&api));
    let json = Bytes::from(api.to_string());
    let policy = docs::security_policy();
    let policy = HeaderValue::try_from(policy).expect("a digest in base64 is ASCII");
    let serve_json = async move || decided::json(json.clone());
    let serve_page = async move || {
        let mut response = Response::new(Body::from(page.clone()));
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, html);
        response
            .headers_mut()
            .insert(CONTENT_SECURITY_POLICY, policy.clone());
        response
    };
    [
        (
            "get",
            "/openapi.json",
            Needs::Nothing,
            routing::get(serve_json),
        ),
        ("get", "/docs", Needs::Nothing, routing::get(serve_page)),
        (
            "get",
            "/problems/{name}",
            Needs::Nothing,
            routing::get(problems::page),
        ),
    ]
}

/// The handler, where requests may be recorded as one whose spans are named by `path`.
fn named<N: Node>(
    handler: MethodRouter<Arc<App<N>>>,
    path: &str,
    limiter: &Limiter<N>,
) -> MethodRouter<Arc<App<N>>> {
    if !limiter.requests().are_traced() {
        return handler;
    }
    let path: Arc<str> = path.into();
    let note = move |request: Request, next: middleware::Next| {
        let path = Arc::clone(&path);
        async move { traced::note_route(&path, request, next).await }
    };
    handler.layer(middleware::from_fn(note))
}

fn protected<N: Node>(route: &Route) -> MethodRouter<Arc<App<N>>> {
    let route = Arc::new(Protected::new(route));
    routing::get(async move |State(app): Shared<N>, request: Request| {
        route.serve(app, request).await.into_response()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use catalogue::{Changed, Content, NotChanged};
    use coordinator::{
        Answer, ClusterStatus, Coordinator, Forgotten, Hit, NoDecision, Ownership, Policy,
        Readiness,
    };
    use limiter::{Access, Exported, Identifier, Imported, Refusal, Service};
    use quota::Cost;

    use super::*;

    /// A node that cannot be: endpoints are listed without one.
    enum Nobody {}

    impl Coordinator for Nobody {
        async fn hit(&self, _: &Policy, _: &str, _: Cost) -> Result<Answer, NoDecision> {
            match *self {}
        }
        async fn hits(&self, _: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
            match *self {}
        }
        async fn refund(&self, _: &Policy, _: &str, _: Cost) -> Result<Answer, NoDecision> {
            match *self {}
        }
        async fn reset(&self, _: &Policy, _: &str) -> Result<(), NoDecision> {
            match *self {}
        }
    }

    impl Node for Nobody {
        fn cluster(&self) -> ClusterStatus {
            match *self {}
        }
        fn owner_of(&self, _: &Policy, _: &str) -> Option<Ownership> {
            match *self {}
        }
        fn forget(&self, _: &str) -> Forgotten {
            match *self {}
        }
        fn is_well(&self) -> bool {
            match *self {}
        }
        fn readiness(&self) -> Readiness {
            match *self {}
        }
        fn metrics(&self) -> String {
            match *self {}
        }
        fn record(&self, _: catalogue::Kind, _: &str, _: &str) -> Option<Content> {
            match *self {}
        }

        fn records(
            &self,
            _: catalogue::Kind,
            _: &str,
            _: Option<&str>,
            _: usize,
        ) -> Vec<(Arc<str>, Content)> {
            match *self {}
        }

        fn count_records(&self, _: catalogue::Kind, _: &str) -> usize {
            match *self {}
        }

        fn export(&self, _: Option<&str>, _: usize) -> Result<Vec<Exported>, Refusal> {
            match *self {}
        }

        async fn import(&self, _: &[Vec<u8>]) -> Result<Imported, Refusal> {
            match *self {}
        }

        async fn edit<E: From<NotChanged> + Send>(
            &self,
            _: catalogue::Kind,
            _: &str,
            _: &str,
            _: impl FnOnce(Option<&Content>) -> Result<Content, E> + Send,
        ) -> Result<Changed, E> {
            match *self {}
        }

        async fn remove(
            &self,
            _: catalogue::Kind,
            _: &str,
            _: &str,
        ) -> Result<Option<Changed>, NotChanged> {
            match *self {}
        }
    }

    fn config(access: Access) -> HttpConfig {
        HttpConfig {
            rate_limit: "client".into(),
            routes: vec![],
            access,
            identifier: Arc::new(Identifier::new(&[], &[0; 32])),
        }
    }

    fn service() -> Access {
        let url = "https://weir.example.com".into();
        let service = Service::new(b"a cookie", url, accounts::Plans::default());
        Access::new(None, Some(service))
    }

    #[test]
    fn the_api_is_described_completely() {
        for access in [Access::default(), service()] {
            check_completeness(&config(access));
        }
    }

    fn check_completeness(config: &HttpConfig) {
        let endpoints = served::<Nobody>(config);
        let served: BTreeSet<_> = endpoints
            // One stands for all.
            .map(|(method, path, ..)| (path.replace('*', ""), method.replace(ANY, "get")))
            // The empty key of a path is part of the pattern beside it.
            .filter(|(path, _)| !path.ends_with('/'))
            .collect();
        let api = openapi::describe(config, wanted::<Nobody>());
        let paths = api["paths"].as_object().unwrap().iter();
        let described: BTreeSet<_> = paths
            .flat_map(|(path, methods)| {
                methods
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(|method| (path.clone(), method.clone()))
            })
            .collect();
        assert_eq!(served, described);
    }

    /// Who may do what stands in the list of what is served, and is told from there.
    #[test]
    fn what_a_path_needs_is_described_where_there_are_tenants() {
        let role = |access: Access, method: &str, path: &str| {
            let api = openapi::describe(&config(access), wanted::<Nobody>());
            api["paths"][path][method]["security"].clone()
        };
        for (method, path, needs) in [
            (
                "post",
                "/v1/check",
                serde_json::json!([{"token": ["check"]}, {"session": []}]),
            ),
            (
                "delete",
                "/api/limits/{key}",
                serde_json::json!([{"token": ["limits.write"]}, {"session": []}]),
            ),
            (
                "get",
                "/v1/tenants",
                serde_json::json!([{"token": ["operator"]}, {"session": ["operator"]}]),
            ),
            (
                "get",
                "/metrics",
                serde_json::json!([{"token": ["operator"]}, {"session": ["operator"]}]),
            ),
            (
                "get",
                "/v1/tenant",
                serde_json::json!([{"token": []}, {"session": []}]),
            ),
            (
                "post",
                "/v1/team/invites",
                serde_json::json!([{"session": ["admin"]}, {"token": ["operator"]}]),
            ),
            ("get", "/v1/plans", serde_json::Value::Null),
            ("get", "/health", serde_json::Value::Null),
        ] {
            assert_eq!(role(service(), method, path), needs, "{method} {path}");
        }
        let anybody = serde_json::json!([{}, {"token": []}]);
        assert_eq!(role(Access::default(), "post", "/v1/check"), anybody);
    }
}
