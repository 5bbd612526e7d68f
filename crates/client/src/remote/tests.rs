use std::net::TcpListener;

use super::*;
use crate::Counted;

#[test]
fn only_addresses_of_nodes_are_taken() {
    for url in ["http://a:4000", "http://127.0.0.1:1/", "http://[::1]:4000"] {
        assert!(Remote::new([url]).is_ok(), "{url}");
    }
    for url in [
        "",
        "a:4000",
        "https://a",
        "http://a/v1",
        "http://u@a",
        "http://a b",
        "http://a?x",
    ] {
        let refused = Remote::new([url]);
        assert!(matches!(refused, Err(RemoteError::Url { .. })), "{url}");
    }
    let nobody = Remote::new::<&str>([]);
    assert!(matches!(nobody, Err(RemoteError::NoNode)));
}

/// Listeners whose connections stand, and are never answered.
fn silent<const N: usize>() -> ([TcpListener; N], Remote) {
    let nodes = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let urls = nodes.each_ref().map(|node| {
        let address = node.local_addr().unwrap();
        format!("http://{address}")
    });
    (nodes, Remote::new(urls).unwrap())
}

/// The second was once asked with no time left to answer, and passed over for having failed.
#[tokio::test]
async fn who_has_no_time_to_answer_is_not_asked() {
    let (nodes, remote) = silent::<2>();
    let remote = remote.with_deadline(Duration::from_millis(200));
    let limit = remote.limit("login").unwrap();
    let peek = limit.key("u1").peek().await;
    assert_eq!(peek.unwrap_err().counted(), Counted::No);
    assert_eq!(remote.nodes.ejected(), [true, false]);
    nodes[1].set_nonblocking(true).unwrap();
    assert!(nodes[1].accept().is_err(), "nobody has connected");

    let none = remote.clone().with_deadline(Duration::ZERO);
    let hit = none.limit("login").unwrap().key("u1").check().await;
    assert_eq!(hit.unwrap_err().counted(), Counted::No);
    assert!(!remote.nodes.ejected()[1]);
}

/// Whoever set a token or a deadline on a clone once began with nodes of which nothing was known.
#[tokio::test]
async fn clones_know_who_has_failed_whatever_they_are_told() {
    let (_nodes, remote) = silent::<1>();
    let impatient = remote.clone().with_deadline(Duration::from_millis(50));
    let hit = impatient.limit("login").unwrap().key("u1").check().await;
    assert_eq!(hit.unwrap_err().counted(), Counted::Unknown);
    let remote = remote.with_api_token("s3cret").unwrap();
    assert_eq!(remote.nodes.ejected(), [true]);
}
