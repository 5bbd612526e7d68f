//! What a node leaves of its Redis.

use client::Counted;
use node::Node;

use super::redis_server::Server;
use super::until;

/// A probe each second once went on for as long as somebody held the node, or a limit of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_stopped_asks_its_redis_no_more() {
    let server = Server::start();
    let limits = format!(
        r#"
            [redis]
            url = "{}"

            [[limit]]
            name = "login"
            algorithm = "gcra"
            limit = 5
            per = "1h"
            strategy = "redis"
        "#,
        server.url()
    );
    let node = Node::builder().name("anna").cookie("redis");
    let node = node.limits(&limits).unwrap().start().await.unwrap();
    let limit = node.limit("login").unwrap();
    assert!(limit.key("u1").check().await.unwrap().is_ok());
    assert!(1 < server.connections());

    node.stop().await;
    until("only the one that asks", async || server.connections() == 1).await;
    let asked = limit.key("u1").check().await;
    assert_eq!(asked.unwrap_err().counted(), Counted::No);
    drop((node, limit));
}
