//! A program and nodes that fail in every way, played by listeners of this test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::{Counted, Error, Remote};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a played node does with each request.
#[derive(Clone, Copy)]
enum Plays {
    /// Admits it.
    Admits,
    /// Says that it is stopping.
    Drains,
    /// Closes the connection instead of an answer.
    Hangs,
    /// Never answers.
    IsSilent,
}

/// A played node, and how many requests it was sent.
struct Played {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Played {
    async fn start(plays: Plays) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, plays, Arc::clone(&counts)));
            }
        });
        Self { address, asked }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, plays: Plays, asked: Arc<AtomicUsize>) {
    let mut read = Vec::new();
    loop {
        let mut part = [0; 1_024];
        let length = stream.read(&mut part).await.unwrap_or(0);
        if length == 0 {
            return;
        }
        read.extend_from_slice(&part[..length]);
        if !is_whole(&read) {
            continue;
        }
        read.clear();
        asked.fetch_add(1, Ordering::SeqCst);
        let (status, body) = match plays {
            Plays::Admits => (
                "200 OK",
                r#"{"allowed":true,"limit":5,"remaining":4,"retry_after_ms":null,"reset_after_ms":10}"#,
            ),
            Plays::Drains => (
                "503 Service Unavailable",
                r#"{"type":"/problems/draining","title":"t","status":503,"detail":"and the hit was not counted"}"#,
            ),
            Plays::Hangs => return,
            Plays::IsSilent => std::future::pending().await,
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// Whether a head and the body that it promises have come.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
    length.unwrap_or(0) <= body.len()
}

/// An address at which nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn nodes_take_turns_on_connections_that_stay_open() {
    let (one, two) = (
        Played::start(Plays::Admits).await,
        Played::start(Plays::Admits).await,
    );
    let remote = Remote::new([one.url(), two.url()]).unwrap();
    for _ in 0..10 {
        let pass = remote.limit("login").unwrap().key("u1").check().await;
        assert_eq!(pass.unwrap().unwrap().remaining, 4);
    }
    assert_eq!((one.asked(), two.asked()), (5, 5));
}

#[tokio::test]
async fn what_was_surely_not_counted_is_asked_of_another_node() {
    let (drains, well) = (
        Played::start(Plays::Drains).await,
        Played::start(Plays::Admits).await,
    );
    let remote = Remote::new([nobody().await, drains.url(), well.url()]).unwrap();
    for hit in 1..=30 {
        remote
            .allow(("user", "u1"), Duration::from_secs(60))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(well.asked(), hit);
    }
}

#[tokio::test]
async fn a_node_that_failed_is_passed_over_for_a_while() {
    let (hangs, well) = (
        Played::start(Plays::Hangs).await,
        Played::start(Plays::Admits).await,
    );
    let remote = Remote::new([hangs.url(), well.url()]).unwrap();
    let limit = remote.limit("login").unwrap();
    for _ in 0..20 {
        limit.key("u1").peek().await.unwrap();
    }
    // Once, and perhaps again if this machine took more than 250 ms for 20 questions.
    assert!(hangs.asked() < 5, "{}", hangs.asked());
    assert_eq!(well.asked(), 20);
}

/// A hit whose answer is lost may have been counted: asking another node might count it twice.
#[tokio::test]
async fn a_hit_whose_answer_is_lost_is_not_asked_again() {
    for plays in [Plays::Hangs, Plays::IsSilent] {
        let (fails, well) = (
            Played::start(plays).await,
            Played::start(Plays::Admits).await,
        );
        let remote = Remote::new([fails.url(), well.url()]).unwrap();
        let remote = remote.with_deadline(Duration::from_millis(200));
        let limit = remote.limit("login").unwrap();
        let error = limit.key("u1").check().await.unwrap_err();
        assert!(matches!(error, Error::NoDecision { .. }), "{error:?}");
        assert_eq!(error.counted(), Counted::Unknown);
        assert_eq!((fails.asked(), well.asked()), (1, 0));
    }
}

#[tokio::test]
async fn without_a_node_the_deadline_ends_it_and_nothing_was_counted() {
    let remote = Remote::new([nobody().await]).unwrap();
    let remote = remote.with_deadline(Duration::from_millis(100));
    let error = remote
        .limit("login")
        .unwrap()
        .key("u1")
        .check()
        .await
        .unwrap_err();
    assert_eq!(error.counted(), Counted::No);
    assert!(error.retry_after().is_some());
}
