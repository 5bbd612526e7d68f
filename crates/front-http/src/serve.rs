//! The server: what is spoken on each connection.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::http::Request;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::response::Response;
use axum::routing::future::RouteFuture;
use connections::{Idle, Memory, Seat, Terms};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service as _;
use traces::Span;

use crate::front::Served;
use crate::gate::Gate;
use crate::head::HEAD_MAX;
use crate::traced;

/// The address that a request came from, as an extension of the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerAddr(pub SocketAddr);

/// What heads above 8 KiB may take together: 256 of them on their way at a time.
const HEADS_MAX: usize = 16 * 1024 * 1024;
/// What hyper may gather of a head: more than there is of it.
const BUFFER_MAX: usize = HEAD_MAX + 8 * 1024;

/// Answered to a connection that there is no room for.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 144\r\n\r\n\
    {\"type\":\"/problems/overloaded\",\"title\":\"Too much is waiting already\",\"status\":503,\
    \"detail\":\"too many connections are busy; nothing was counted\"}";

/// Serves `served` on `listener` until `shutdown`, and then until everybody who asked has been answered.
///
/// HTTP/1.1, with keep-alive and pipelining. Connections are bounded by what the process may open, at most 20 000: at the
/// bound, those that have been idle for longest make room for new ones, so that idle ones never stop others. A
/// connection on which no request begins or is completed for 60 s is closed.
///
/// What is no request is refused as a problem, and the connection ends; what was asked before is answered first. No
/// answer is made before the one before it has left, or leaves with it: a connection takes 14 KiB, an answer and what a
/// head or body takes.
///
/// After `shutdown` nobody is accepted any more, answers carry `Connection: close`, idle connections end within 250 ms,
/// and what has not been answered after ten seconds is cut off.
pub async fn serve(
    listener: TcpListener,
    served: impl Into<Served>,
    shutdown: impl Future<Output = ()>,
) {
    let served = served.into();
    let heads = Memory::new(HEADS_MAX);
    let terms = Terms {
        idle: Idle::EndsAfterAMinute,
        no_room: NO_ROOM,
    };
    let speak = move |stream, peer, seat: Arc<Seat>| {
        let connection = Arc::new(Connection {
            served: served.clone(),
            peer: PeerAddr(peer),
            seat: Arc::clone(&seat),
        });
        answer(Gate::new(stream, seat, heads.clone()), connection)
    };
    connections::serve(listener, terms, speak, shutdown).await;
}

async fn answer(mut gate: Gate<TcpStream>, connection: Arc<Connection>) {
    let service = Answer(Arc::clone(&connection));
    let served = http1::Builder::new()
        // Idle connections are closed by their listener, without a timer for each request.
        .header_read_timeout(None)
        // A client that has said all it will is still owed its answer.
        .half_close(true)
        // Pages are shared by all who read them, not copied for each.
        .writev(true)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(TokioIo::new(&mut gate), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended early");
    }
    connection.seat.close();
    gate.finish().await;
}

/// What all requests of one connection share.
struct Connection {
    served: Served,
    peer: PeerAddr,
    seat: Arc<Seat>,
}

/// Answers the requests of one connection.
struct Answer(Arc<Connection>);

impl hyper::service::Service<Request<Incoming>> for Answer {
    type Response = Response;
    /// The connection is being dropped, and the request was not asked: nothing was counted.
    type Error = io::Error;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        let began = Instant::now();
        let Connection { served, peer, seat } = &*self.0;
        let span = traced::begin(&served.requests, &request);
        let answer = seat.begin_request().then(|| {
            request.extensions_mut().insert(*peer);
            served.now().call(request)
        });
        Answering {
            answer,
            began,
            span,
            connection: Arc::clone(&self.0),
        }
    }
}

pin_project! {
    struct Answering {
        #[pin]
        answer: Option<RouteFuture<Infallible>>,
        began: Instant,
        span: Option<Span>,
        connection: Arc<Connection>,
    }
}

impl Future for Answering {
    type Output = io::Result<Response>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(answer) = this.answer.as_pin_mut() else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        };
        let answered = match this.span {
            None => answer.poll(cx),
            Some(span) => span.scope(|| answer.poll(cx)),
        };
        let Ok(mut response) = ready!(answered);
        if let Some(span) = this.span.take() {
            traced::end(span, &response);
        }
        let Connection { served, seat, .. } = &**this.connection;
        served.requests.answered(*this.began);
        if seat.end_request().is_last() {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use super::NO_ROOM;

    #[test]
    fn the_answer_to_one_too_many_is_complete() {
        let text = std::str::from_utf8(NO_ROOM).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{}",
            body.len()
        );
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
