//! A client that talks to the router without a socket.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode};
use coordinator::{FailMode, Policy, Strategy};
use front_http::{HttpConfig, PeerAddr, Route, RouteAnswer, router};
use http_body_util::BodyExt as _;
use limiter::{Access, Front as Way, Identifier, Identity, Limiter};
use quota::{Algorithm, Limit, Nanos};
use serde_json::Value;
use tower::ServiceExt as _;

use fake_node::FakeNode;

/// A front with the limits and routes of the built-in example, and some more.
pub(crate) struct Front {
    pub(crate) node: Arc<FakeNode>,
    pub(crate) limiter: Limiter<FakeNode>,
    pub(crate) router: Router,
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// The limits of the file, by name.
pub(crate) fn limits() -> HashMap<String, Policy> {
    let limit =
        |algorithm, units, secs| Limit::new(algorithm, units, Nanos::from_secs(secs)).unwrap();
    let limits = [
        ("page", limit(Algorithm::SlidingLog, 1, 10)),
        ("user_home", limit(Algorithm::SlidingLog, 1, 60)),
        ("api", limit(Algorithm::Gcra, 10, 60)),
        ("client", limit(Algorithm::SlidingLog, 10, 60)),
        ("login", limit(Algorithm::Gcra, 10, 60)),
        (
            "bursty",
            limit(Algorithm::Gcra, 10, 60).with_burst(20).unwrap(),
        ),
        ("open", limit(Algorithm::Gcra, 10, 60)),
        ("weekly", limit(Algorithm::FixedWindow, 5, 7 * 86_400)),
    ];
    let policy = |name: &str, limit| Policy {
        namespace: "default".into(),
        name: name.into(),
        limit,
        strategy: Strategy::Owner,
        on_failure: if name == "open" {
            FailMode::Allow
        } else {
            FailMode::Deny
        },
        top_keys: false,
    };
    limits
        .into_iter()
        .map(|(name, limit)| (name.to_owned(), policy(name, limit)))
        .collect()
}

pub(crate) fn config() -> HttpConfig {
    let limits = limits();
    let header = Identity::Header(HeaderName::from_static("x-user-id"));
    let routes = [
        ("/", "page", vec![Identity::Browser], RouteAnswer::Page),
        (
            "/user_home",
            "user_home",
            vec![header.clone(), Identity::Query("name".into())],
            RouteAnswer::Greeting,
        ),
        (
            "/api/data",
            "api",
            vec![header.clone(), Identity::Peer],
            RouteAnswer::Json,
        ),
        (
            "/api/status",
            "api",
            vec![header, Identity::Peer],
            RouteAnswer::Peek,
        ),
        (
            "/odd/:{path}",
            "login",
            vec![Identity::Cookie("sid".into())],
            RouteAnswer::Json,
        ),
        ("/many", "login", vec![Identity::Browser], RouteAnswer::Json),
    ];
    let routes = routes.map(|(path, limit, identify, answer)| Route {
        path: path.into(),
        policy: limits[limit].clone(),
        identify,
        answer,
    });
    HttpConfig {
        rate_limit: "client".into(),
        routes: routes.into(),
        access: Access::default(),
        identifier: identifier("10.0.0.0/8", 7),
    }
}

/// One that trusts the proxies of a network, and signs by a key of this byte.
pub(crate) fn identifier(proxies: &str, key: u8) -> Arc<Identifier> {
    Arc::new(Identifier::new(&[proxies.parse().unwrap()], &[key; 32]))
}

pub(crate) fn front() -> Front {
    front_with(config())
}

pub(crate) fn front_with(config: HttpConfig) -> Front {
    let node = Arc::new(FakeNode::new());
    let limiter = limiter(Arc::clone(&node));
    Front {
        router: router(limiter.clone(), config),
        limiter,
        node,
    }
}

/// With the limits of the file.
pub(crate) fn limiter(node: Arc<FakeNode>) -> Limiter<FakeNode> {
    Limiter::new(node, "default".into(), limits().into_values(), Way::Http)
}

impl Front {
    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(request("GET", path, &[])).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(request("GET", path, headers)).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Body>) -> Reply {
        let mut request = request("POST", path, &[("content-type", "application/json")]);
        *request.body_mut() = body.into();
        self.send(request).await
    }

    pub(crate) async fn put(&self, path: &str, body: impl Into<Body>) -> Reply {
        let mut request = request("PUT", path, &[("content-type", "application/json")]);
        *request.body_mut() = body.into();
        self.send(request).await
    }

    pub(crate) async fn method(&self, method: &str, path: &str) -> Reply {
        self.send(request(method, path, &[])).await
    }
}

/// A request from 192.0.2.1, or from the address in the made-up header `peer`.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut peer: SocketAddr = "192.0.2.1:1234".parse().unwrap();
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        match *name {
            "peer" => peer.set_ip(value.parse().unwrap()),
            _ => builder = builder.header(*name, *value),
        }
    }
    builder
        .extension(PeerAddr(peer))
        .body(Body::empty())
        .unwrap()
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that this is a problem of this status and name, and returns it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, name: &str) -> Value {
        let json = self.json();
        assert_eq!(self.status.as_u16(), status, "{json}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(json["type"], format!("/problems/{name}"), "{json}");
        assert_eq!(json["status"], status);
        assert!(
            json["title"].is_string() && json["detail"].is_string(),
            "{json}"
        );
        json
    }
}
