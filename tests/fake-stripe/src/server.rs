//! Sockets and clocks: hands each request to the books, and their events to whoever wants them.

use std::convert::Infallible;
use std::io;
use std::net::{self, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::service::service_fn;
use hyper::{HeaderMap, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::books::{Answer, Books, Request};
use crate::control::Reply;
use crate::problem::Problem;

/// More than anything that is asked of Stripe.
const BODY_MAX: usize = 1 << 20;

/// How often what is due is looked for while nobody asks.
const TICK: Duration = Duration::from_secs(1);

/// The books, and whoever waits for events in them.
#[derive(Debug)]
pub(crate) struct Shared {
    books: Mutex<Books>,
    pub(crate) has_events: Notify,
}

impl Shared {
    pub(crate) fn new(books: Books) -> Self {
        Self {
            books: Mutex::new(books),
            has_events: Notify::new(),
        }
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn on_control(&self, request: &Request) -> Result<Reply, Problem> {
        let reply = self.books().on_control(unix_secs(), request);
        self.has_events.notify_one();
        reply
    }

    fn on_request(&self, request: &Request) -> Answer {
        let answer = self.books().on_request(unix_secs(), request);
        self.has_events.notify_one();
        answer
    }
}

/// What the machine's clock shows.
pub(crate) fn unix_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0))
}

/// Answers on this socket for ever.
pub(crate) async fn serve(
    listener: net::TcpListener,
    shared: Arc<Shared>,
) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    tokio::spawn(crate::delivery::deliver(Arc::clone(&shared)));
    tokio::spawn(tick(Arc::clone(&shared)));
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream, Arc::clone(&shared)));
    }
}

async fn tick(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(TICK).await;
        shared.books().on_time(unix_secs());
        shared.has_events.notify_one();
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request| answer(request, &shared));
    let http = hyper::server::conn::http1::Builder::new();
    // A client that leaves, or is left, is no matter.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

/// An error ends the connection without an answer.
async fn answer(
    request: hyper::Request<Incoming>,
    shared: &Shared,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_MAX).collect().await;
    let body = body.map_err(io::Error::other)?.to_bytes();
    let request = Request {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        body: String::from_utf8_lossy(&body).into_owned(),
        authorization: text(&head.headers, AUTHORIZATION.as_str()),
        version: text(&head.headers, "stripe-version"),
        content_type: text(&head.headers, CONTENT_TYPE.as_str()),
        idempotency_key: text(&head.headers, "idempotency-key"),
    };
    if !request.path.starts_with("/v1/") {
        return Ok(match shared.on_control(&request) {
            Ok(Reply::Json(value)) => json(StatusCode::OK, &value),
            Ok(Reply::Page(page)) => response(StatusCode::OK, "text/html; charset=utf-8", page),
            Ok(Reply::SeeOther(url)) => {
                let mut response = response(StatusCode::SEE_OTHER, "text/plain", String::new());
                let url = HeaderValue::try_from(url).map_err(io::Error::other)?;
                response.headers_mut().insert(LOCATION, url);
                response
            }
            Err(problem) => json(status(problem.status), &problem.body()),
        });
    }
    let given = shared.on_request(&request);
    // Whoever waits in vain may ask again: what was done is done by then.
    tokio::time::sleep(Duration::from_millis(given.outcome.delay_ms)).await;
    if given.outcome.reset.is_some() {
        return Err(io::Error::other("ended by a fault"));
    }
    let mut response = json(status(given.status), &given.body);
    if given.is_repeated {
        let header = HeaderValue::from_static("true");
        response.headers_mut().insert("idempotent-replayed", header);
    }
    if let Some(should_retry) = given.outcome.should_retry {
        let header = HeaderValue::from_static(if should_retry { "true" } else { "false" });
        response.headers_mut().insert("stripe-should-retry", header);
    }
    Ok(response)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn json(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    response(status, "application/json", format!("{value:#}"))
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let header = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, header);
    response
}

/// The URL of a socket.
pub(crate) fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}
