//! Reading request bodies, bounded in size and time.

use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use connections::{Memory, Room};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use limiter::{Kind, Refusal};

use crate::problem::{Problem, Protocol};

/// Largest body of a request. A key of 1 KiB, escaped six times over, fits ten times.
pub(crate) const BODY_MAX: usize = 64 * 1024;
/// Largest body of a batch: 1 000 checks of 4 KiB.
pub(crate) const BATCH_BODY_MAX: usize = 4 * 1024 * 1024;
/// How long a body may take to arrive. 4 MiB in ten seconds is 3.4 Mbit/s.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// What is read and thrown away of a body that is too large, so that a client which only listens once it has sent
/// everything hears why it is refused. Beyond, the connection is closed on it.
const DISCARDED_MAX: u64 = 16 * 1024 * 1024;
/// How long that may take.
const DISCARDED_WITHIN: Duration = Duration::from_secs(2);

/// A body that has arrived, and its room among all bodies. What came with its head needs none.
pub(crate) struct Received {
    bytes: Bytes,
    _room: Room,
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Bytes> for Received {
    fn from(bytes: Bytes) -> Self {
        Self {
            bytes,
            _room: Room::default(),
        }
    }
}

/// Reads a JSON body of at most `max` bytes. Does not look whether it is JSON, only whether it says so.
///
/// # Errors
///
/// A problem, and nothing was counted: the body is none, too large, late, or there is no room for it in `memory`.
pub(crate) async fn read_json(
    memory: &Memory,
    headers: &HeaderMap,
    mut body: Body,
    max: usize,
) -> Result<Received, Problem> {
    if !says_json(headers) {
        let given = headers.get(CONTENT_TYPE);
        let refusal = Refusal::invalid("the body must be JSON and say so")
            .at("Content-Type")
            .with_given(given.map_or("", |value| value.to_str().unwrap_or("?")))
            .with_accepted("application/json");
        let problem = Problem::of_protocol(Protocol::UnsupportedMediaType, refusal);
        return Err(after(&mut body, problem).await);
    }
    read(memory, body, max).await
}

/// The same of a body that is whatever it says.
///
/// # Errors
///
/// As of [`read_json`].
pub(crate) async fn read(memory: &Memory, mut body: Body, max: usize) -> Result<Received, Problem> {
    if (max as u64) < body.size_hint().lower() {
        return Err(after(&mut body, too_large(max).into()).await);
    }
    // Small bodies come with their headers: then no timer has to be set.
    let first = match poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await {
        Poll::Ready(None) => return Ok(Bytes::new().into()),
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        Poll::Ready(Some(Err(_))) => return Err(broken().into()),
        Poll::Pending => Bytes::new(),
    };
    if body.is_end_stream() && first.len() <= max {
        return Ok(first.into());
    }
    match tokio::time::timeout(BODY_WITHIN, read_rest(memory, first, &mut body, max)).await {
        Ok(Ok(received)) => Ok(received),
        Ok(Err(Unread::Refused(problem))) => Err(after(&mut body, problem).await),
        Ok(Err(Unread::Broken)) => Err(broken().into()),
        Err(_) => {
            let detail = "the body did not arrive within 10 s; nothing was counted";
            Err(Refusal::invalid(detail).last().into())
        }
    }
}

/// What a request is refused with, once the rest of its body was read: the last answer on the connection, where that does not
/// come to its end.
async fn after(body: &mut Body, problem: Problem) -> Problem {
    match discard(body).await {
        true => problem,
        false => problem.last(),
    }
}

/// Why a body was not read to its end.
enum Unread {
    /// It ended too early.
    Broken,
    /// There is no place for it. The rest is on its way.
    Refused(Problem),
}

async fn read_rest(
    memory: &Memory,
    first: Bytes,
    body: &mut Body,
    max: usize,
) -> Result<Received, Unread> {
    let mut room = Room::default();
    let mut read = BytesMut::from(first);
    while read.len() <= max {
        let Some(frame) = body.frame().await else {
            return Ok(Received {
                bytes: read.freeze(),
                _room: room,
            });
        };
        let frame = frame.map_err(|_| Unread::Broken)?;
        if let Ok(data) = frame.into_data() {
            memory
                .grow(&mut room, read.len() + data.len())
                .map_err(|error| Unread::Refused(error.into()))?;
            read.extend_from_slice(&data);
        }
    }
    Err(Unread::Refused(too_large(max).into()))
}

fn says_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        // Nothing else could be meant.
        return true;
    };
    if value == "application/json" {
        return true;
    }
    let essence = value
        .to_str()
        .unwrap_or("")
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Refuses a body that says, before anything else is looked at, that it is larger than any at this path.
///
/// # Errors
///
/// [`Kind::TooLarge`].
pub(crate) fn check_said(path: &str, body: &Body) -> Result<(), Refusal> {
    let max = match path {
        "/v1/check/batch" | "/v1/service/records" => BATCH_BODY_MAX,
        _ => BODY_MAX,
    };
    match body.size_hint().lower() <= max as u64 {
        true => Ok(()),
        false => Err(too_large(max)),
    }
}

/// Answers a request that is refused for its head. Its body is read all the same, within bounds, so that the connection serves on; where
/// it does not come to its end, the answer says that the connection closes.
pub(crate) async fn refused(mut response: Response, mut body: Body) -> Response {
    if !body.is_end_stream() && !discard(&mut body).await {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

/// Reads the rest of a body that is refused, and throws it away. Whether it came to its end.
async fn discard(body: &mut Body) -> bool {
    if DISCARDED_MAX < body.size_hint().lower() {
        return false;
    }
    let discard = async {
        let mut discarded = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return false;
            };
            discarded += frame.data_ref().map_or(0, |data| data.len() as u64);
            if DISCARDED_MAX < discarded {
                return false;
            }
        }
        true
    };
    // Late or not, the answer is the same.
    let discarded = tokio::time::timeout(DISCARDED_WITHIN, discard).await;
    discarded.unwrap_or(false)
}

fn too_large(max: usize) -> Refusal {
    Refusal::new(
        Kind::TooLarge,
        format!("a body here has at most {max} bytes"),
    )
    .with_accepted(format!("at most {max} bytes"))
}

fn broken() -> Refusal {
    Refusal::invalid("the body ended before it was complete; nothing was counted").last()
}
