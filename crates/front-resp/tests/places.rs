//! When the process may open nothing more. By itself, since what the process may open is one sum for all tests in it.

use std::iter::repeat_with;
use std::sync::Arc;
use std::time::Duration;

use connections::{Place, Places};
use fake_node::FakeNode;
use front_resp::{RespConfig, serve};
use limiter::{Front, Limiter, NAMESPACE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn who_comes_while_all_are_busy_is_told_so_and_the_connection_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let node = Arc::new(FakeNode::new());
    let limiter = Limiter::new(node, NAMESPACE.into(), [], Front::Resp);
    let front = serve(
        listener,
        limiter,
        RespConfig::default(),
        std::future::pending(),
    );
    tokio::spawn(front);
    // As if other fronts had them all: nobody here could make room.
    let places = Places::of_process();
    let others: Vec<Place> = repeat_with(|| places.take())
        .map_while(|place| place)
        .collect();
    let told = async || {
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut told = String::new();
        let whole = tokio::time::timeout(PATIENCE, client.read_to_string(&mut told));
        whole.await.expect("it ends in time").unwrap();
        told
    };
    for _ in 0..3 {
        assert_eq!(told().await, "-ERR max number of clients reached\r\n");
    }
    drop(others);
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"PING\r\n").await.unwrap();
    let mut pong = [0; 7];
    let read = tokio::time::timeout(PATIENCE, client.read_exact(&mut pong)).await;
    read.expect("it is answered in time").unwrap();
    assert_eq!(&pong, b"+PONG\r\n");
}
