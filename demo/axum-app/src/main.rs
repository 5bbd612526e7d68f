//! A web application with a rate limiter in it. Every instance is a node: those with the same cookie find each other on
//! this machine, and count together.
//!
//! ```text
//! cargo run -p axum-app -- oskar 8080
//! cargo run -p axum-app -- oskar2 8081
//! curl -H 'X-User-Id: ada' localhost:8080/user_home     Hello, ada
//! curl -H 'X-User-Id: ada' localhost:8081/user_home     Too Many Requests
//! curl -X POST localhost:8080/login/ada                 9 attempts are left
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use weir::{Cookie, Header, Node, Peer, RateLimitLayer};

/// Shared by all instances. A real application reads it from where it keeps its secrets.
const COOKIE: &str = "wojtyra";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let name = args.next().context("give this instance a name")?;
    let port = args.next().map_or(Ok(8080), |port| port.parse());
    let port = port.context("the second argument is a port")?;
    let home = std::env::var_os("HOME").context("instances find each other below HOME")?;

    let weir = Node::builder()
        .name(&name)
        .cookie(COOKIE)
        .limits(include_str!("limits.toml"))?
        .neighbours(PathBuf::from(home).join(".axum-app"))
        .start()
        .await?;
    let app = app(&weir)?.into_make_service_with_connect_info::<SocketAddr>();

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("{name} serves http://{}", listener.local_addr()?);
    let stopped = async {
        // An error means that no signal can be had: then nothing stops it in order.
        let _signalled = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await?;
    weir.stop().await;
    Ok(())
}

/// One page for each user in a minute, ten of the front page for each browser in ten seconds, and ten attempts to log in for
/// each user in a minute.
fn app(weir: &Node) -> Result<Router, weir::Error> {
    let per_user = RateLimitLayer::new(weir.limit("user_home")?).by(Header("X-User-Id"));
    let per_browser = RateLimitLayer::new(weir.limit("page")?)
        .by(Cookie("session"))
        .by(Peer::direct());
    let weir = weir.clone();
    Ok(Router::new()
        .route("/user_home", get(user_home).layer(per_user))
        .route("/", get(page).layer(per_browser))
        .route("/login/{user}", post(login))
        .with_state(weir.clone())
        // For Prometheus. Nothing is forgotten by a death once `weir_unsettled_shards` is 0.
        .route("/metrics", get(async move || weir.metrics())))
}

async fn user_home(headers: HeaderMap) -> String {
    let user = headers.get("X-User-Id").and_then(|user| user.to_str().ok());
    format!("Hello, {}", user.unwrap_or("stranger"))
}

/// Asks without a layer, and by a rule that is given here.
async fn login(State(weir): State<Node>, Path(user): Path<String>) -> (StatusCode, String) {
    let attempt = weir.check_rate(("login", user), Duration::from_secs(60), 10, 1);
    match attempt.await {
        Ok(Ok(pass)) => (
            StatusCode::OK,
            format!("{} attempts are left", pass.remaining),
        ),
        Ok(Err(limited)) => {
            let wait = limited.retry_after;
            (StatusCode::TOO_MANY_REQUESTS, format!("again in {wait:?}"))
        }
        // No decision could be had. `error.counted()` says what became of the hit.
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

/// Gives a browser its session. Before it has one, it is counted by its address.
async fn page(headers: HeaderMap) -> impl IntoResponse {
    let page = Html("<!doctype html><title>Weir</title><p>Ten of these in ten seconds.");
    let cookies = headers.get("cookie").map(|cookies| cookies.as_bytes());
    let has_session = cookies.is_some_and(|cookies| cookies.starts_with(b"session="));
    match getrandom::u64() {
        Ok(id) if !has_session => {
            let cookie = format!("session={id:016x}; HttpOnly; SameSite=Lax; Path=/");
            ([(SET_COOKIE, cookie)], page).into_response()
        }
        _ => page.into_response(),
    }
}
