//! Bytes that are no request: nothing is counted, and nobody else waits.

use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::{Server, config, request, rules};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Everything that the server says until it closes.
async fn told(server: &Server, said: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(said).await.unwrap();
    let mut told = Vec::new();
    let read = stream.read_to_end(&mut told);
    // A reset is an end, too: what was sent after the end was known is not read.
    let _ = tokio::time::timeout(Duration::from_secs(20), read)
        .await
        .expect("the server closes");
    told
}

#[tokio::test]
async fn what_is_no_http_2_ends_the_connection() {
    let server = Server::start(config(rules())).await;
    for said in [
        &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
        &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3],
        &[0xff; 64],
        &[PREFACE, &[0xff; 9]].concat(),
        &[PREFACE, SETTINGS, &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0xff]].concat(),
        &[PREFACE, SETTINGS, &[0, 0, 0, 0, 0, 0, 0, 0, 1]].concat(),
    ] {
        told(&server, said).await;
    }
    assert!(server.ask(request("edge", &["ip=1"])).await.is_ok());
    assert_eq!(server.node.counted().len(), 1);
}

#[tokio::test]
async fn who_says_nothing_or_half_a_word_makes_nobody_wait() {
    let server = Server::start(config(rules())).await;
    let mut silent = Vec::new();
    for said in [&b""[..], &PREFACE[..10], PREFACE] {
        for _ in 0..100 {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(said).await.unwrap();
            silent.push(stream);
        }
    }
    assert!(server.ask(request("edge", &["ip=1"])).await.is_ok());
    // Nor do they hold up the end: well below the 10 s that those have who were not answered.
    tokio::time::timeout(Duration::from_secs(8), server.stop())
        .await
        .expect("it ends");
}

/// A request whose message is of 50 bytes, as far as the first of them.
fn half_a_message() -> Vec<u8> {
    let mut head = vec![0x83, 0x86];
    for (name, value) in [
        // By their places in the table that HPACK begins with: `:path`, `:authority`, `content-type`.
        (
            0x44,
            "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
        ),
        (0x41, "weir"),
        (0x5f, "application/grpc"),
    ] {
        head.extend([name, value.len() as u8]);
        head.extend_from_slice(value.as_bytes());
    }
    let headers = [0, 0, head.len() as u8, 1, 4, 0, 0, 0, 1];
    let data = [0, 0, 55, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 50, 0x0a];
    [PREFACE, SETTINGS, &headers, &head, &data].concat()
}

/// Memory of this process, in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() * 1024
}

/// 5 000 that are idle and 500 that send a byte now and then are more than have a seat: the idle ones make room, and nobody
/// else waits.
#[tokio::test]
async fn a_crowd_of_idle_and_dripping_connections_is_cheap() {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).unwrap();
    let server = Server::start(config(rules())).await;
    assert!(server.ask(request("edge", &["ip=1"])).await.is_ok());
    let before = memory();
    let connect = async |said: &[u8]| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        // It is served: its settings are told.
        stream.read_exact(&mut [0; 9]).await.unwrap();
        stream
    };
    let mut idle = Vec::new();
    for _ in 0..5_000 {
        idle.push(connect(&[PREFACE, SETTINGS].concat()).await);
    }
    let half = half_a_message();
    let mut dripping = Vec::new();
    for _ in 0..500 {
        dripping.push(connect(&half).await);
    }
    for byte in [1, b'e', 0x12] {
        for stream in &mut dripping {
            stream.write_all(&[byte]).await.unwrap();
        }
    }
    let response = server.ask(request("edge", &["ip=1"])).await.unwrap();
    assert_eq!(
        response.statuses[0].limit_remaining, 0,
        "of two, both are counted"
    );
    assert_eq!(server.node.counted().len(), 1);
    let held = memory().saturating_sub(before) / 5_120;
    assert!(held < 40 * 1024, "{held} bytes for each connection");
}

mod malformed {
    use bytes::Bytes;
    use tonic::client::Grpc;
    use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
    use tonic::codegen::http::uri::PathAndQuery;
    use tonic::{Code, Request, Status};

    use super::*;

    /// Sends bytes for messages.
    #[derive(Clone, Default)]
    struct Raw;

    impl Encoder for Raw {
        type Item = Bytes;
        type Error = Status;

        fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
            bytes::BufMut::put_slice(into, &item);
            Ok(())
        }
    }

    impl Decoder for Raw {
        type Item = ();
        type Error = Status;

        fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
            bytes::Buf::advance(from, bytes::Buf::remaining(from));
            Ok(Some(()))
        }
    }

    impl Codec for Raw {
        type Encode = Bytes;
        type Decode = ();
        type Encoder = Self;
        type Decoder = Self;

        fn encoder(&mut self) -> Self {
            Self
        }

        fn decoder(&mut self) -> Self {
            Self
        }
    }

    /// The status of a message of these bytes to this method.
    async fn code(server: &Server, path: &'static str, message: &[u8]) -> Code {
        let mut client = Grpc::new(server.channel().await);
        client.ready().await.unwrap();
        let message = Request::new(Bytes::copy_from_slice(message));
        let path = PathAndQuery::from_static(path);
        let told = client.unary(message, path, Raw).await;
        told.map_or_else(|status| status.code(), |_| Code::Ok)
    }

    const ASK: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

    #[tokio::test]
    async fn a_message_that_is_none_is_refused() {
        let server = Server::start(config(rules())).await;
        for (message, expected) in [
            (&[][..], Code::InvalidArgument),
            // A domain that is not UTF-8, one that is longer than the message, a field that is none.
            (&[0x0a, 2, 0xff, 0xfe], Code::Internal),
            (&[0x0a, 0x7f, b'e'], Code::Internal),
            (&[0x07], Code::Internal),
            // A field of another time is passed over.
            (&[0x0a, 1, b'e', 0x12, 0, 0x7a, 1, 0], Code::Ok),
        ] {
            assert_eq!(code(&server, ASK, message).await, expected, "{message:x?}");
        }
        for path in [
            "/envoy.service.ratelimit.v3.RateLimitService/Other",
            "/envoy.service.ratelimit.v2.RateLimitService/ShouldRateLimit",
            "/",
        ] {
            assert_eq!(
                code(&server, path, &[]).await,
                Code::Unimplemented,
                "{path}"
            );
        }
        assert!(server.node.counted().is_empty());
    }
}
