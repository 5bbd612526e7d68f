//! Listeners that a node is handed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use client::{Algorithm, Remote, Rule};
use node::Node;

use super::{PATIENCE, until};

fn per_hour(units: u32) -> Rule {
    Rule::new(Algorithm::Gcra, units, Duration::from_secs(3_600)).unwrap()
}

/// The first bytes that whoever listens at `at` answers to `said`.
fn answer<const N: usize>(at: SocketAddr, said: &[u8]) -> [u8; N] {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(said).unwrap();
    let mut answer = [0; N];
    stream.read_exact(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_serves_on_the_listeners_that_it_is_handed() {
    let [http, redis, grpc, cluster] = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let at = [&http, &redis, &grpc, &cluster].map(|listener| listener.local_addr().unwrap());
    // The later one of a name is in force.
    let anna = Node::builder().name("anna").cookie("handed");
    let anna = anna
        .limit("login", per_hour(9))
        .limit("login", per_hour(3))
        .http_on(http);
    let anna = anna.redis_on(redis).grpc_on(grpc).cluster_on(cluster);
    let anna = anna.start().await.unwrap();
    let told = [anna.http(), anna.redis(), anna.grpc(), Some(anna.cluster())];
    assert_eq!(told, at.map(Some));

    let remote = Remote::new([format!("http://{}", at[0])]).unwrap();
    let hit = remote.limit("login").unwrap().key("u1").check().await;
    let hit = hit.unwrap().unwrap();
    assert_eq!((hit.limit, hit.remaining), (3, 2));
    let check = b"*3\r\n$10\r\nWEIR.CHECK\r\n$5\r\nlogin\r\n$2\r\nu1\r\n";
    let told = answer::<14>(at[1], check);
    assert_eq!(&told, b"*6\r\n:1\r\n:3\r\n:1");
    // HTTP/2 begins with its settings on both sides: a frame of the type 4.
    let settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let told = answer::<4>(at[2], settings);
    assert_eq!(told[3], 4);
    let bert = Node::builder()
        .name("bert")
        .cookie("handed")
        .limit("login", per_hour(3));
    let bert = bert.join(at[3].to_string()).start().await.unwrap();
    until("both", async || anna.members() == 2).await;
    for node in [bert, anna] {
        node.stop().await;
    }
}

/// Those who watch a node bring no token, and see nothing else of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_of_its_own_tells_how_the_node_is_and_nothing_else() {
    let [http, metrics] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let anna = Node::builder().name("anna").cookie("watched");
    let anna = anna.limit("login", per_hour(3)).api_token("s3cret");
    let anna = anna
        .http_on(http)
        .metrics_on(metrics)
        .start()
        .await
        .unwrap();
    let status = |at: SocketAddr, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: weir\r\n\r\n");
        let head = answer::<12>(at, request.as_bytes());
        String::from_utf8(head[9..].to_vec()).unwrap()
    };
    let (http, metrics) = (anna.http().unwrap(), anna.metrics_at().unwrap());
    for (path, there, here) in [
        ("/metrics", "200", "200"),
        ("/health", "200", "200"),
        ("/ready", "200", "200"),
        ("/v1/cluster", "401", "404"),
        ("/api/check?key=a", "401", "404"),
    ] {
        let told = [status(http, path), status(metrics, path)];
        assert_eq!(told, [there, here], "{path}");
    }
    anna.stop().await;
}
