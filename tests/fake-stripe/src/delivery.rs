//! Sends events to where they are wanted, in order for each endpoint.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::events::Delivery;
use crate::faults::Delivering;
use crate::server::{Shared, unix_secs};
use crate::webhooks::signature;

/// How long an endpoint may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long after a delivery that failed it is tried again: in test mode Stripe takes hours.
const AGAIN_AFTER: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// What is shuffled waits up to so long.
const SHUFFLED_MS: u64 = 400;

/// Sends what comes up, for ever. Endpoints do not wait for each other.
pub(crate) async fn deliver(shared: Arc<Shared>) {
    let mut endpoints = HashMap::<String, UnboundedSender<Delivery>>::new();
    loop {
        // Not within the condition, which would hold the books while something is sent.
        let next = shared.books().next_delivery();
        let Some(delivery) = next else {
            shared.has_events.notified().await;
            continue;
        };
        let endpoint = endpoints
            .entry(delivery.endpoint.clone())
            .or_insert_with(|| {
                let (sender, receiver) = unbounded_channel();
                tokio::spawn(deliver_in_order(receiver, Arc::clone(&shared)));
                sender
            });
        endpoint
            .send(delivery)
            .expect("an endpoint's task goes on for ever");
    }
}

async fn deliver_in_order(mut deliveries: UnboundedReceiver<Delivery>, shared: Arc<Shared>) {
    while let Some(delivery) = deliveries.recv().await {
        match delivery.how {
            Delivering::Lost => shared.books().on_delivered(&delivery, 0),
            Delivering::Once => attempt(delivery, &shared).await,
            Delivering::Doubled => {
                attempt(delivery.clone(), &shared).await;
                attempt(delivery, &shared).await;
            }
            Delivering::Shuffled => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let wait = getrandom::u64().unwrap_or(0) % SHUFFLED_MS;
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                    attempt(delivery, &shared).await;
                });
            }
        }
    }
}

/// Tries once, and a few times more behind those that follow.
async fn attempt(delivery: Delivery, shared: &Arc<Shared>) {
    if try_once(&delivery, shared).await {
        return;
    }
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        for wait in AGAIN_AFTER {
            tokio::time::sleep(wait).await;
            if try_once(&delivery, &shared).await {
                return;
            }
        }
    });
}

/// Whether the endpoint has taken it.
async fn try_once(delivery: &Delivery, shared: &Shared) -> bool {
    let sent = tokio::time::timeout(PATIENCE, send(delivery)).await;
    let status = sent.ok().and_then(Result::ok).unwrap_or(0);
    shared.books().on_delivered(delivery, status);
    (200..300).contains(&status)
}

async fn send(delivery: &Delivery) -> io::Result<u16> {
    let uri: Uri = delivery.url.parse().map_err(io::Error::other)?;
    if uri.scheme_str() != Some("http") {
        return Err(io::Error::other("the fake speaks no TLS"));
    }
    let authority = uri.authority().ok_or(io::ErrorKind::InvalidInput)?;
    let host = authority.host().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let http = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = http.map_err(io::Error::other)?;
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let signature = signature(unix_secs(), &delivery.secret, &delivery.body);
    let request = Request::post(path)
        .header(HOST, authority.as_str())
        .header(CONTENT_TYPE, "application/json; charset=utf-8")
        .header("stripe-signature", signature)
        .body(Full::new(Bytes::from(delivery.body.clone())))
        .map_err(io::Error::other)?;
    let response = sender.send_request(request).await;
    let response = response.map_err(io::Error::other)?;
    let status = response.status().as_u16();
    // Read, so that whoever answers need not see the connection end early.
    let _ = response.into_body().collect().await;
    Ok(status)
}
