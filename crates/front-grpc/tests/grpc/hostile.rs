//! Bytes that are no request: nothing is counted, and nobody else waits.

use std::time::Duration;

use front_grpc::GrpcConfig;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::server::{Server, config, request, rules};
use crate::wire::{
    ACK, Frame, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, Wire, half_a_message, head,
    message,
};

/// When a test gives up.
const WITHIN: Duration = Duration::from_secs(20);

/// Everything that the server says until it closes.
async fn told(server: &Server, said: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(said).await.unwrap();
    let mut told = Vec::new();
    let read = stream.read_to_end(&mut told);
    // A reset is an end, too: what was sent after the end was known is not read.
    let _ = tokio::time::timeout(WITHIN, read)
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

/// Envoy sends some 500 bytes.
#[tokio::test]
async fn metadata_beyond_its_bound_is_refused_with_431() {
    let server = Server::start(config(rules())).await;
    let mut client = server.client().await;
    let mut ask = async |bytes: usize| {
        let mut asked = Request::new(request("edge", &["ip=1"]));
        let value = MetadataValue::try_from("x".repeat(bytes)).unwrap();
        asked.metadata_mut().insert("x", value);
        client.should_rate_limit(asked).await
    };
    let refused = ask(17 * 1024).await.unwrap_err();
    assert!(refused.message().contains(" 431"), "{refused}");
    assert!(server.node.counted().is_empty());
    // The connection goes on.
    assert!(ask(15 * 1024).await.is_ok());
}

/// Of a client that does not keep to what it is told, which is how many it may send.
#[tokio::test]
async fn a_connection_has_256_requests_at_once_and_the_next_may_be_sent_again() {
    let server = Server::start(config(rules())).await;
    let mut wire = Wire::open(&server).await;
    let settings = wire.hear().await.unwrap().payload;
    let is_told = settings.chunks(6).any(|told| told == [0, 3, 0, 0, 1, 0]);
    assert!(is_told, "{settings:?}");
    for place in 0..256 {
        wire.say(&head(2 * place + 1)).await;
    }
    let asked = request("edge", &["ip=again"]);
    let ask = |stream| [head(stream), message(stream, &asked)].concat();
    wire.say(&ask(513)).await;
    let refused = wire.last_of(513).await;
    // REFUSED_STREAM: nothing was done.
    assert_eq!(
        (refused.kind, &*refused.payload),
        (RST_STREAM, &[0, 0, 0, 7][..])
    );
    assert!(server.node.counted().is_empty());

    wire.say(&message(1, &request("edge", &["ip=first"]))).await;
    assert_eq!(wire.last_of(1).await.kind, HEADERS);
    wire.say(&ask(515)).await;
    assert_eq!(wire.last_of(515).await.kind, HEADERS);
    let counted = ["again", "first"].map(|key| ("login".to_owned(), key.to_owned()));
    assert_eq!(server.node.counted(), counted);
}

/// Those that wait have said no more than their heads.
#[tokio::test]
async fn while_8_192_requests_wait_others_are_unavailable() {
    let server = Server::start(config(rules())).await;
    let heads: Vec<u8> = (0..256).flat_map(|place| head(2 * place + 1)).collect();
    let mut waiting = Vec::new();
    for _ in 0..8_192 / 256 {
        let mut wire = Wire::open(&server).await;
        wire.say(&heads).await;
        waiting.push(wire);
    }
    let mut health = HealthClient::new(server.channel().await);
    let refused = async {
        // Until the last of them have arrived.
        loop {
            let told = health.check(HealthCheckRequest::default()).await;
            if let Err(status) = told {
                return status;
            }
        }
    };
    let refused = tokio::time::timeout(WITHIN, refused)
        .await
        .expect("it is refused");
    let asked = server.ask(request("edge", &["ip=1"])).await.unwrap_err();
    for status in [refused, asked] {
        let said = "too many requests are waiting; nothing was counted";
        assert_eq!((status.code(), status.message()), (Code::Unavailable, said));
    }
    assert!(server.node.counted().is_empty());
    waiting.pop();
    let served = async { while server.ask(request("edge", &["ip=1"])).await.is_err() {} };
    let served = tokio::time::timeout(WITHIN, served).await;
    served.expect("who is gone makes room");
}

/// What a client hears that asks nothing, each with the second in which it does.
async fn heard(keepalive: Option<Duration>, answers: bool) -> Vec<(u64, &'static str)> {
    let server = Server::start(GrpcConfig {
        keepalive,
        ..config(rules())
    })
    .await;
    let began = Instant::now();
    let mut wire = Wire::open(&server).await;
    let mut heard = Vec::new();
    loop {
        let next = wire.hear().await;
        let second = began.elapsed().as_secs();
        match next {
            None => {
                heard.push((second, "end"));
                return heard;
            }
            Some(frame) if frame.kind == GOAWAY => heard.push((second, "GOAWAY")),
            Some(frame) if (frame.kind, frame.flags) == (PING, 0) => {
                heard.push((second, "PING"));
                if answers {
                    wire.say(
                        &Frame {
                            flags: ACK,
                            ..frame
                        }
                        .bytes(),
                    )
                    .await;
                }
            }
            Some(_) => {}
        }
    }
}

/// A goodbye is two `GOAWAY`, with a `PING` between them that tells when all is here that was on its way.
#[tokio::test(start_paused = true)]
async fn who_is_asked_and_does_not_say_that_he_lives_is_cut() {
    let goodbye = [(61, "GOAWAY"), (61, "PING"), (61, "GOAWAY"), (61, "end")];
    let unanswered = [(61, "GOAWAY"), (61, "PING"), (71, "end")];
    assert_eq!(heard(None, true).await, goodbye);
    assert_eq!(heard(None, false).await, unanswered);

    let keepalive = Some(Duration::from_secs(25));
    let asked = [(25, "PING"), (50, "PING")];
    assert_eq!(
        heard(keepalive, true).await,
        [&asked[..], &goodbye].concat()
    );
    let cut = [(25, "PING"), (45, "GOAWAY"), (45, "end")];
    assert_eq!(heard(keepalive, false).await, cut);
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
    let half = [PREFACE, SETTINGS, &half_a_message()].concat();
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
    use tonic::Status;
    use tonic::client::Grpc;
    use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
    use tonic::codegen::http::uri::PathAndQuery;

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
