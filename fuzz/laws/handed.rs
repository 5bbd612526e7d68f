//! What hyper hands to a service, when it is set up as `front-http` has it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{join, sink};

/// The first request of a connection that brings `input` and then ends; what hyper knows of the length of its body; and that
/// body, if it comes to its end.
pub(crate) fn handed(input: &[u8]) -> Option<(Request<()>, Option<u64>, Option<Bytes>)> {
    let handed = Rc::new(RefCell::new(None));
    let service = service_fn(|request: Request<Incoming>| {
        let handed = Rc::clone(&handed);
        async move {
            let (parts, body) = request.into_parts();
            let length = body.size_hint().exact();
            let body = body.collect().await.ok().map(|body| body.to_bytes());
            *handed.borrow_mut() = Some((Request::from_parts(parts, ()), length, body));
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .half_close(true)
        .keep_alive(false)
        .max_buf_size(72 * 1024)
        .serve_connection(TokioIo::new(join(input, sink())), service);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    // What it ends with is told by what was handed on.
    let _ = runtime.unwrap().block_on(connection);
    handed.take()
}
