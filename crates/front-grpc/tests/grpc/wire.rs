//! HTTP/2 by hand, for what no well-behaved client does.

use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::Server;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Kinds of frames.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;

/// Flags of frames.
pub(crate) const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// When a test gives up.
const WITHIN: Duration = Duration::from_secs(20);

/// What is said at once, of some 250 bytes at most.
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = u8::try_from(self.payload.len()).unwrap();
        let mut bytes = vec![0, 0, length, self.kind, self.flags];
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// The head of a request for decisions.
pub(crate) fn head(stream: u32) -> Vec<u8> {
    let mut payload = vec![0x83, 0x86];
    for (name, value) in [
        // By their places in the table that HPACK begins with: `:path`, `:authority`, `content-type`.
        (
            0x44,
            "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
        ),
        (0x41, "weir"),
        (0x5f, "application/grpc"),
    ] {
        payload.extend([name, u8::try_from(value.len()).unwrap()]);
        payload.extend_from_slice(value.as_bytes());
    }
    let head = Frame {
        kind: HEADERS,
        flags: END_HEADERS,
        stream,
        payload,
    };
    head.bytes()
}

/// The message of a request, which ends with it.
pub(crate) fn message(stream: u32, request: &RateLimitRequest) -> Vec<u8> {
    let message = request.encode_to_vec();
    let length = u8::try_from(message.len()).unwrap();
    let data = Frame {
        kind: DATA,
        flags: END_STREAM,
        stream,
        payload: [&[0, 0, 0, 0, length], &*message].concat(),
    };
    data.bytes()
}

/// A request whose message is of 50 bytes, as far as the first of them.
pub(crate) fn half_a_message() -> Vec<u8> {
    let data = [0, 0, 55, DATA, END_STREAM, 0, 0, 0, 1, 0, 0, 0, 0, 50, 0x0a];
    [&*head(1), &data].concat()
}

/// A connection on which HTTP/2 has begun.
pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(crate) async fn open(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(PREFACE).await.unwrap();
        stream.write_all(SETTINGS).await.unwrap();
        Self(stream)
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// What the server says next. `None`: nothing any more.
    pub(crate) async fn hear(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let [_, high, low, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            payload,
        })
    }

    /// The frame with which the server ends `stream`.
    pub(crate) async fn last_of(&mut self, stream: u32) -> Frame {
        let last = async {
            loop {
                let frame = self.hear().await.expect("the connection stays");
                let ends = match frame.kind {
                    DATA | HEADERS => frame.flags & END_STREAM != 0,
                    kind => kind == RST_STREAM,
                };
                if frame.stream == stream && ends {
                    return frame;
                }
            }
        };
        let last = tokio::time::timeout(WITHIN, last);
        last.await.expect("it ends in time")
    }
}
