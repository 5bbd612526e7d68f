//! What somebody without the cookie can do: nothing.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use transport::handshake::{HandshakeError, Refusal};
use transport::{Lane, TransportEvent};

use crate::node::{Node, bind, hello, pair, soon};

async fn refused_with(node: &mut Node) -> Refusal {
    node.event_where(|event| match event {
        TransportEvent::HelloRefused {
            reason: HandshakeError::RefusedBy(refusal),
            ..
        } => Some(*refusal),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn another_cookie_is_refused() {
    let mut a = Node::start("anna", 1).await;
    let mut stranger = Node::start_with("bert", 1, "another cookie").await;
    stranger.dial(&a);
    assert_eq!(refused_with(&mut stranger).await, Refusal::WrongCookie);
    assert!(a.no_event());
    // The other way round: the stranger is dialled.
    a.dial(&stranger);
    assert_eq!(refused_with(&mut a).await, Refusal::WrongCookie);
}

/// The substrate lets anyone who reaches the port make a node look disconnected by using its name.
#[tokio::test]
async fn another_cookie_with_the_name_of_a_live_node_changes_nothing() {
    let (mut a, mut b) = pair().await;
    for incarnation in [1, 2, u64::MAX] {
        let transport = bind("another cookie").await;
        let mut forged = hello(&transport, "bert", incarnation);
        if incarnation == 1 {
            forged = b.hello.clone();
        }
        let mut stranger = Node::start_on(transport, forged);
        stranger.dial(&a);
        assert_eq!(refused_with(&mut stranger).await, Refusal::WrongCookie);
        stranger.transport.shutdown().await;
    }
    assert!(a.no_event() && b.no_event());
    a.transport
        .send(b.replica(), Lane::Bulk, Bytes::from_static(b"still there"))
        .unwrap();
    assert_eq!(&*b.frame().await.1, b"still there");
}

#[tokio::test]
async fn rubbish_is_not_answered() {
    let (mut a, _b) = pair().await;
    let greetings: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: anna\r\n\r\n______________________",
        &[0; 4096],
        &[0xff; 4096],
        b"WEIR",
    ];
    for greeting in greetings {
        let mut stream = TcpStream::connect(a.transport.address()).await.unwrap();
        stream.write_all(greeting).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Closed, with a reset where we had not read everything.
        let _ = soon(stream.read_to_end(&mut answer)).await;
        assert!(
            answer.is_empty(),
            "{greeting:?} was answered with {answer:?}"
        );
    }
    assert!(a.no_event());
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let a = Node::start("anna", 1).await;
    let mut stream = TcpStream::connect(a.transport.address()).await.unwrap();
    let mut byte = [0];
    // The end of the stream, which only the deadline can have brought.
    assert_eq!(soon(stream.read(&mut byte)).await.unwrap(), 0);
}

#[tokio::test]
async fn silent_strangers_cannot_keep_nodes_out() {
    let mut a = Node::start("anna", 1).await;
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(TcpStream::connect(a.transport.address()).await.unwrap());
    }
    let mut b = Node::start("bert", 1).await;
    b.dial(&a);
    b.connected_to(&a).await;
    a.connected_to(&b).await;
    // The oldest have made room; the newest are still being listened to.
    let mut byte = [0];
    let oldest = tokio::time::timeout(Duration::from_secs(1), crowd[0].read(&mut byte)).await;
    assert!(matches!(oldest, Ok(Ok(0) | Err(_))), "{oldest:?}");
}
