//! The server on real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::{Front, front};
use crate::token::guarded;

struct Server {
    address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn start() -> Server {
    start_with(front()).await
}

async fn start_with(front: Front) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, stopped) = oneshot::channel();
    let stopped = async move { stopped.await.unwrap_or_default() };
    let task = tokio::spawn(front_http::serve(listener, front.router, stopped));
    Server {
        address,
        shutdown,
        task,
    }
}

const CHECK: &str = "POST /v1/check HTTP/1.1\r\nhost: a\r\ncontent-length: 27\r\n\r\n{\"limit\":\"login\",\"key\":\"a\"}";

/// Reads until `end` has been seen.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4_096];
    while !text.contains(end) {
        let count = stream.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0, "the connection ended after {text:?}");
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    text
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    // A reset after the answer is as good an end as any.
    let _ = stream.read_to_string(&mut text).await;
    text
}

#[tokio::test]
async fn one_connection_takes_many_requests() {
    let server = start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for remaining in [9, 8] {
        stream.write_all(CHECK.as_bytes()).await.unwrap();
        read_until(&mut stream, &format!("\"remaining\":{remaining},")).await;
    }
    // Two at once.
    stream.write_all(CHECK.repeat(2).as_bytes()).await.unwrap();
    read_until(&mut stream, "\"remaining\":6,").await;
}

#[tokio::test]
async fn a_body_may_come_in_pieces() {
    let server = start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for piece in CHECK.as_bytes().chunks(20) {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    read_until(&mut stream, "\"remaining\":9,").await;
}

/// Its body comes later than what it is refused for.
#[tokio::test]
async fn who_is_refused_for_a_head_may_ask_again_on_the_same_connection() {
    let server = start_with(guarded()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let (head, body) = CHECK.split_at(CHECK.len() - 27);
    let no_json = head.replace(
        "host: a",
        "host: a\r\nauthorization: Bearer s3cret\r\ncontent-type: a/b",
    );
    for (head, status) in [(head, " 401 "), (&no_json, " 415 ")] {
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.write_all(body.as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "}").await;
        assert!(answer.contains(status), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    let known = CHECK.replace("host: a", "host: a\r\nauthorization: Bearer s3cret");
    stream.write_all(known.as_bytes()).await.unwrap();
    read_until(&mut stream, "\"remaining\":9,").await;
}

/// What nobody would read is refused before it is looked at who sends it; and where it is not read to its end, the answer says
/// that this is the last one.
#[tokio::test]
async fn who_sends_too_much_hears_that_before_who_he_is_matters() {
    let server = start_with(guarded()).await;
    for (length, closes) in [(70_000, false), (17 * 1024 * 1024, true)] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head =
            format!("POST /v1/check HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        if !closes {
            stream.write_all(&vec![b' '; length]).await.unwrap();
        }
        let answer = read_until(&mut stream, "}").await;
        assert!(answer.contains(" 413 "), "{answer}");
        assert_eq!(answer.contains("connection: close"), closes, "{answer}");
    }
}

/// Of a body that is refused, is too large or is late, and does not come.
#[tokio::test]
async fn whose_body_does_not_come_hears_that_the_connection_ends() {
    let server = start().await;
    let ask = async |headers: &str| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!("POST /v1/check HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        read_all(&mut stream).await
    };
    let (no_json, large, late) = tokio::join!(
        ask("content-length: 27\r\ncontent-type: a/b"),
        ask("content-length: 70000"),
        ask("content-length: 27"),
    );
    for (answer, status) in [(no_json, " 415 "), (large, " 413 "), (late, " 400 ")] {
        assert!(answer.contains(status), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn the_address_of_the_peer_is_counted() {
    let server = start().await;
    for remaining in [9, 8] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream
            .write_all(b"GET /api/data HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        read_until(&mut stream, &format!("\"remaining\":{remaining},")).await;
    }
}

#[tokio::test]
async fn who_says_no_more_is_still_answered() {
    let server = start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(CHECK.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(read_all(&mut stream).await.contains("\"remaining\":9,"));
}

#[tokio::test]
async fn who_sends_too_much_hears_why() {
    let server = start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let size = 1_000_000;
    let head = format!("POST /v1/check HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; size]).await.unwrap();
    read_until(&mut stream, "/problems/too-large").await;
}

#[tokio::test]
async fn nonsense_ends_a_connection_and_nothing_else() {
    let server = start().await;
    for nonsense in [
        "\r\n\r\nhello\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01",
        "GET /\0 HTTP/1.1\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(nonsense.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let text = read_all(&mut stream).await;
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 400"),
            "{text}"
        );
    }
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(CHECK.as_bytes()).await.unwrap();
    read_until(&mut stream, "\"remaining\":9,").await;
}

#[tokio::test]
async fn a_drain_answers_who_has_asked_and_lets_nobody_else_in() {
    let server = start().await;
    let mut asking = TcpStream::connect(server.address).await.unwrap();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    // The head is here, the body is not: this request is in flight.
    let (head, body) = CHECK.split_at(CHECK.len() - 5);
    asking.write_all(head.as_bytes()).await.unwrap();
    idle.write_all(CHECK.as_bytes()).await.unwrap();
    read_until(&mut idle, "\"remaining\":9,").await;

    server.shutdown.send(()).unwrap();
    // Still within what is kept open for requests on their way.
    idle.write_all(CHECK.as_bytes()).await.unwrap();
    let last = read_all(&mut idle).await;
    assert!(
        last.contains("\"remaining\":8,") && last.contains("connection: close"),
        "{last}"
    );

    asking.write_all(body.as_bytes()).await.unwrap();
    let answer = read_all(&mut asking).await;
    assert!(
        answer.contains("\"remaining\":7,") && answer.contains("connection: close"),
        "{answer}"
    );
    server.task.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_drain_does_not_wait_for_the_idle() {
    let server = start().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(CHECK.as_bytes()).await.unwrap();
    read_until(&mut idle, "\"remaining\":9,").await;
    server.shutdown.send(()).unwrap();
    server.task.await.unwrap();
    assert_eq!(read_all(&mut idle).await, "");
}

/// A hundred thousand requests for a page, in one write and never read, were 2.6 GB of pages.
#[tokio::test]
async fn answers_are_made_as_the_client_reads_them() {
    let server = start().await;
    let mut greedy = TcpStream::connect(server.address).await.unwrap();
    let pages = "GET /docs HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1_000);
    greedy.write_all(pages.as_bytes()).await.unwrap();
    greedy.write_all(CHECK.as_bytes()).await.unwrap();
    // Others are served meanwhile, and what stands behind the pages is not counted.
    let mut other = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..500 {
        other
            .write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        read_until(&mut other, "\"ok\"").await;
    }
    other.write_all(CHECK.as_bytes()).await.unwrap();
    read_until(&mut other, "\"remaining\":9,").await;
    greedy.shutdown().await.unwrap();
    let all = read_all(&mut greedy).await;
    assert!(all.ends_with("\"retry_after_ms\":null,\"reset_after_ms\":12000}"));
}

/// Four hundred bodies that did not end were 1.7 GB.
#[tokio::test]
async fn bodies_share_what_they_may_take() {
    let server = start().await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..20 {
        clients.spawn(async move {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            let size = 4 * 1024 * 1024;
            let head = format!(
                "POST /v1/check/batch HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&vec![b' '; size - 1]).await.unwrap();
            read_until(&mut stream, "}").await
        });
    }
    let first = clients.join_next().await.unwrap().unwrap();
    assert!(first.contains("/problems/overloaded"), "{first}");
    assert!(first.contains("nothing was counted"), "{first}");
}
