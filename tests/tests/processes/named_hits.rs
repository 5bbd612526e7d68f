//! A program asks by `Remote`, which names its hits: whatever answer is lost, each counts once.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use client::{Counted, Remote};
use e2e::{Client, Cluster};
use tokio::runtime::{Builder, Runtime};

/// Answers wait for a replica, so that what was counted is counted whoever dies; nothing comes back while a test runs.
const CONFIG: &str = r#"
[cluster]
ack = "replicated"

[[limit]]
name = "owned"
algorithm = "gcra"
limit = 100000
per = "365d"

[[limit]]
name = "told"
strategy = "local"
algorithm = "fixed_window"
anchor = "first_hit"
limit = 100000
per = "1h"
"#;

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// An address at which every request is handed to `node` and answered by it, and no answer comes back.
fn loses_answers(node: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            thread::spawn(move || hand_on(client, node));
        }
    });
    address
}

fn hand_on(mut client: TcpStream, node: SocketAddr) {
    let mut request = [0; 4_096];
    let mut length = 0;
    // A request of this test ends with its body.
    while !request[..length].ends_with(b"}") {
        match client.read(&mut request[length..]) {
            Ok(more) if 0 < more => length += more,
            _ => return,
        }
    }
    let mut node = TcpStream::connect(node).expect("the node listens");
    node.write_all(&request[..length])
        .expect("it takes a request");
    let mut answer = [0; 4_096];
    let read = node.read(&mut answer).expect("it answers");
    assert!(
        answer[..read].starts_with(b"HTTP/1.1 200"),
        "it has counted it"
    );
}

#[test]
fn a_hit_whose_answer_is_lost_is_asked_of_another_node_and_counts_once() {
    const REMOTES: u64 = 15;
    let cluster = Cluster::with_config(CONFIG).started(&NAMES);
    let lost = loses_answers(cluster.nodes[0].http);
    let urls = [lost, cluster.nodes[1].http].map(|node| format!("http://{node}"));
    runtime().block_on(async {
        for number in 0..REMOTES {
            // Each begins with the first, and passes over it once it has lost an answer. The keys are of all owners.
            let new = || Remote::new(&urls).unwrap().limit("owned").unwrap();
            let key = format!("u{number}");
            let limit = new();
            for _ in 0..3 {
                let pass = limit.key(&*key).cost(3).check().await.unwrap();
                assert!(pass.is_ok(), "{number}");
            }
            new().key(&*key).refund().await.unwrap();
        }
    });
    for number in 0..REMOTES {
        let counted = cluster.nodes[2].counted("owned", &format!("u{number}"));
        assert_eq!(
            counted, 8,
            "three hits of 3 and a refund of 1, of u{number}"
        );
    }
}

/// The program asks the node that is killed, too: what it had counted and not answered is asked of the others.
#[test]
fn an_owner_is_killed_under_load_and_every_hit_counts_once() {
    let mut cluster = Cluster::with_config(CONFIG).started(&NAMES);
    let keys = cluster.keys_of("oskar2", "owned", 4);
    let nodes = cluster
        .nodes
        .iter()
        .map(|node| format!("http://{}", node.http));
    let remote = Remote::new(nodes.collect::<Vec<_>>()).unwrap();
    let mut owner = cluster.take("oskar2");
    let runtime = runtime();
    let clients: Vec<_> = keys.iter().flat_map(|key| vec![key.clone(); 4]).collect();
    let clients = clients.into_iter().map(|key| {
        let limit = remote.limit("owned").unwrap();
        runtime.spawn(async move {
            let mut admitted = 0;
            for _ in 0..400 {
                let pass = limit.key(&*key).check().await;
                assert!(matches!(pass, Ok(Ok(_))), "{pass:?}");
                admitted += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            admitted
        })
    });
    let clients: Vec<_> = clients.collect();
    // Until some hundred hits have been counted: the clients are in the middle of it.
    let mut watch = Client::connect(cluster.nodes[0].http).expect("it listens");
    e2e::eventually("the clients are in the middle of it", || {
        let peek = watch
            .check("owned", &keys[0], 0)
            .map_err(|error| error.to_string())?;
        let left = peek.json()["remaining"].as_u64().unwrap_or(u64::MAX);
        if left < 100_000 - 200 {
            return Ok(());
        }
        Err(format!("{left} left"))
    });
    owner.kill();
    let admitted: u64 = runtime.block_on(async {
        let mut admitted = 0;
        for client in clients {
            admitted += client.await.expect("every hit is answered");
        }
        admitted
    });
    let counted = |key: &String| cluster.nodes[0].counted("owned", key);
    assert_eq!(keys.iter().map(counted).sum::<u64>(), admitted);
}

#[test]
fn a_hit_on_a_limit_that_remembers_no_names_is_not_asked_again() {
    let cluster = Cluster::with_config(CONFIG).started(&NAMES[..2]);
    let nodes = [cluster.nodes[0].http, loses_answers(cluster.nodes[0].http)];
    runtime().block_on(async {
        let remote = Remote::new(nodes.map(|node| format!("http://{node}"))).unwrap();
        let limit = remote.limit("told").unwrap();
        // The first is told so, and asked without a name.
        assert!(limit.key("u1").check().await.unwrap().is_ok());
        let lost = limit.key("u1").check().await.unwrap_err();
        assert_eq!(lost.counted(), Counted::Unknown, "{lost}");
    });
    assert_eq!(cluster.nodes[0].counted("told", "u1"), 2);
}
