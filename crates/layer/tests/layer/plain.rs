//! The layer before a service of hyper, without a framework.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use client::Limits as _;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use layer::{Header, Peer, RateLimitLayer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer as _, ServiceExt as _};

use super::played::Played;

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("Hello")))
}

/// All that is answered on a connection of its own.
async fn ask(address: SocketAddr, user: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /home HTTP/1.1\r\nhost: a\r\n{user}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Nothing but hyper tells where a request comes from: the program puts the address beside it.
#[tokio::test]
async fn a_server_of_hyper_needs_no_framework() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let played = Played::default();
    let layer = RateLimitLayer::new(played.limit("1").unwrap())
        .by(Header("x-user-id"))
        .by(Peer::direct());
    let limited = layer.layer(tower::service_fn(hello));
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let service = limited.clone().map_request(move |mut request: Request<_>| {
                request.extensions_mut().insert(peer);
                request
            });
            let service = TowerToHyperService::new(service);
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    for user in ["x-user-id: ada\r\n", ""] {
        let passed = ask(address, user).await;
        assert!(passed.starts_with("HTTP/1.1 200 OK\r\n"), "{passed}");
        assert!(
            passed.contains("\r\nratelimit: \"1\";r=0;t=2\r\n"),
            "{passed}"
        );
        assert!(passed.ends_with("\r\n\r\nHello"), "{passed}");
        let denied = ask(address, user).await;
        assert!(
            denied.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
            "{denied}"
        );
        assert!(denied.contains("\r\nretry-after: 42\r\n"), "{denied}");
        assert!(denied.ends_with("\r\n\r\nToo Many Requests"), "{denied}");
    }
    for key in ["ada", "peer:127.0.0.1"] {
        assert_eq!(played.used("1", key), 1, "{key}");
    }
}
