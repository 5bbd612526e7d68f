//! A program and nodes that fail in every way, played by listeners of this test.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
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
    /// Says that nobody knows whether it was counted.
    Doubts,
    /// Refuses what has a name, and admits the rest.
    TakesNoNames,
}

/// A played node, and how many requests it was sent.
struct Played {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    names: Arc<Mutex<Vec<String>>>,
}

impl Played {
    async fn start(plays: Plays) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let names = Arc::new(Mutex::default());
        let (counts, notes) = (Arc::clone(&asked), Arc::clone(&names));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (counts, notes) = (Arc::clone(&counts), Arc::clone(&notes));
                tokio::spawn(serve(stream, plays, counts, notes));
            }
        });
        Self {
            address,
            asked,
            names,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The names of what it was asked, empty for none.
    fn names(&self) -> Vec<String> {
        self.names.lock().unwrap().clone()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut stream: TcpStream,
    plays: Plays,
    asked: Arc<AtomicUsize>,
    names: Arc<Mutex<Vec<String>>>,
) {
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
        let name = name_of(&read);
        let is_named = !name.is_empty();
        names.lock().unwrap().push(name);
        read.clear();
        asked.fetch_add(1, Ordering::SeqCst);
        let (status, body) = match plays {
            Plays::TakesNoNames if is_named => (
                "400 Bad Request",
                r#"{"type":"/problems/invalid-request","title":"t","status":400,"detail":"no names","field":"Weir-Hit-Id"}"#,
            ),
            Plays::Doubts => (
                "503 Service Unavailable",
                r#"{"type":"/problems/no-decision","title":"t","status":503,"detail":"d","counted":"unknown"}"#,
            ),
            Plays::Admits | Plays::TakesNoNames => (
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

/// What the client calls its hit.
fn name_of(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let name = text.split("weir-hit-id: ").nth(1);
    let name = name.and_then(|rest| rest.lines().next());
    name.unwrap_or_default().to_owned()
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

/// It may have been counted. Whoever is asked next knows by its name that it was.
#[tokio::test]
async fn a_hit_whose_answer_is_lost_is_asked_again_by_its_name() {
    for plays in [Plays::Hangs, Plays::Doubts, Plays::IsSilent] {
        let (fails, well) = (
            Played::start(plays).await,
            Played::start(Plays::Admits).await,
        );
        let remote = Remote::new([fails.url(), well.url()]).unwrap();
        let limit = remote.limit("login").unwrap();
        limit.key("u1").check().await.unwrap().unwrap();
        assert_eq!((fails.asked(), well.asked()), (1, 1));
        let [lost, answered] = [fails, well].map(|node| node.names().remove(0));
        assert!(!lost.is_empty());
        assert_eq!(lost, answered);
        limit.key("u1").check().await.unwrap().unwrap();
        limit.key("u1").refund().await.unwrap();
    }
}

#[tokio::test]
async fn each_hit_and_refund_has_a_name_of_its_own_and_a_peek_has_none() {
    let node = Played::start(Plays::Admits).await;
    let remote = Remote::new([node.url()]).unwrap();
    let limit = remote.limit("login").unwrap();
    limit.key("u1").check().await.unwrap().unwrap();
    limit.key("u1").peek().await.unwrap();
    limit.key("u1").refund().await.unwrap();
    remote
        .clone()
        .limit("login")
        .unwrap()
        .key("u1")
        .check()
        .await
        .unwrap()
        .unwrap();
    let names = node.names();
    assert_eq!(names.iter().filter(|name| name.is_empty()).count(), 1);
    let named: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(named.len(), 4, "{names:?}");
}

/// Whatever the next one says: the one whose answer was lost may have counted it.
#[tokio::test]
async fn what_may_have_been_counted_stays_unknown_when_nobody_answers() {
    for then in [Plays::Drains, Plays::Hangs] {
        let (fails, next) = (Played::start(Plays::Hangs).await, Played::start(then).await);
        let remote = Remote::new([fails.url(), next.url()]).unwrap();
        let remote = remote.with_deadline(Duration::from_millis(200));
        let limit = remote.limit("login").unwrap();
        let error = limit.key("u1").check().await.unwrap_err();
        assert!(matches!(error, Error::NoDecision { .. }), "{error:?}");
        assert_eq!(error.counted(), Counted::Unknown);
        assert!(0 < next.asked());
    }
}

/// Asked again without a name it might count twice.
#[tokio::test]
async fn a_limit_that_takes_no_names_is_asked_without_and_never_again() {
    let nameless = Played::start(Plays::TakesNoNames).await;
    let remote = Remote::new([nameless.url()]).unwrap();
    let limit = remote.limit("local").unwrap();
    for _ in 0..3 {
        limit.key("u1").check().await.unwrap().unwrap();
    }
    let named = nameless
        .names()
        .iter()
        .filter(|name| !name.is_empty())
        .count();
    assert_eq!((named, nameless.asked()), (1, 4), "told once");

    let hangs = Played::start(Plays::Hangs).await;
    let remote = Remote::new([nameless.url(), hangs.url()]).unwrap();
    let limit = remote.limit("local").unwrap();
    limit.key("u1").check().await.unwrap().unwrap();
    let error = limit.key("u1").check().await.unwrap_err();
    assert_eq!((error.counted(), hangs.asked()), (Counted::Unknown, 1));
}

/// One node counts by a strategy that remembers names, as its file says, and the other does not.
#[tokio::test]
async fn what_may_have_been_counted_is_not_asked_without_its_name() {
    let (hangs, nameless) = (
        Played::start(Plays::Hangs).await,
        Played::start(Plays::TakesNoNames).await,
    );
    let remote = Remote::new([hangs.url(), nameless.url()]).unwrap();
    let hit = remote.limit("local").unwrap().key("u1").check().await;
    assert_eq!(hit.unwrap_err().counted(), Counted::Unknown);
    assert_eq!((hangs.asked(), nameless.asked()), (1, 1));
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
