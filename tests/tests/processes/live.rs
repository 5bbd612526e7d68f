//! What limits decide, told while they do: of all nodes, through the death of one and the stop of another.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use e2e::{Cluster, Node, eventually};
use serde_json::{Value, json};

const CONFIG: &str = r#"
[cluster]
ack = "replicated"

[service]
public_url = "http://127.0.0.1:4000"
"#;

/// A stream of events, read line by line.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn begin(node: &Node, key: &str) -> Self {
        let mut connection = TcpStream::connect(node.http).expect("a connection");
        let within = Duration::from_secs(20);
        connection
            .set_read_timeout(Some(within))
            .expect("a timeout");
        let request =
            format!("GET /v1/live HTTP/1.1\r\nHost: weir\r\nAuthorization: Bearer {key}\r\n\r\n");
        connection.write_all(request.as_bytes()).expect("writing");
        Self(BufReader::new(connection))
    }

    /// The next event and its data. `None`: the stream has ended.
    fn next(&mut self) -> Option<(String, Value)> {
        let mut event = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).expect("an event in time") == 0 {
                return None;
            }
            if let Some(name) = line.strip_prefix("event: ") {
                event = name.trim_end().to_owned();
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some((event, serde_json::from_str(data).expect("JSON")));
            }
        }
    }

    /// Reads samples until one is so, and adds up what they have told of hits until then.
    fn until(&mut self, what: &str, is: impl Fn(&Value, (u64, u64)) -> bool) -> (u64, u64) {
        let (mut allowed, mut denied) = (0, 0);
        let mut last = Value::Null;
        for _ in 0..30 {
            let (event, sample) = self
                .next()
                .unwrap_or_else(|| panic!("{what}: ended: {last}"));
            if event != "sample" {
                continue;
            }
            allowed += sample["allowed"].as_u64().expect("allowed");
            denied += sample["denied"].as_u64().expect("denied");
            if is(&sample, (allowed, denied)) {
                return (allowed, denied);
            }
            last = sample;
        }
        panic!("{what}: {allowed} and {denied}, at last {last}");
    }
}

#[test]
fn a_stream_tells_what_all_nodes_decide_until_its_own_stops() {
    let mut cluster = Cluster::service(CONFIG, &["oskar", "oskar2", "oskar3"], &[]);
    cluster.until_well();
    let (_, key) = cluster.tenant("Acme", &["check", "limits.write", "usage.read"]);
    let ask = |node: &Node, method: &str, path: &str, body: Option<Value>| {
        node.ask_by(&key, method, path, body)
    };
    let limit =
        json!({ "algorithm": "fixed_window", "anchor": "first_hit", "limit": 6, "per": "1h" });
    let set = ask(&cluster.nodes[0], "PUT", "/v1/limits/login", Some(limit));
    assert_eq!(set.status, 201, "{set:?}");
    let hit = |node: &Node| {
        let body = json!({ "limit": "login", "key": "ada" });
        let answer = ask(node, "POST", "/v1/check", Some(body));
        assert!([200, 429].contains(&answer.status), "{answer:?}");
    };

    let mut stream = Stream::begin(&cluster.nodes[1], &key);
    stream.until("all three tell", |sample, _| {
        (&sample["from"], &sample["of"]) == (&json!(3), &json!(3))
    });
    for node in cluster.nodes.iter().cycle().take(9) {
        hit(node);
    }
    stream.until("each hit once", |sample, told| {
        told == (6, 3) && sample["today"]["requests"] == 6
    });

    let mut dead = cluster.take("oskar3");
    dead.kill();
    stream.until("who is missing is told", |sample, _| {
        sample["missing"] == json!(["oskar3"]) && sample["from"] == 2
    });
    hit(&cluster.nodes[0]);
    let (allowed, denied) = stream.until("hits elsewhere are told still", |_, told| told.1 == 1);
    assert_eq!((allowed, denied), (0, 1), "what was told is not told again");

    // The picture has what the nodes that live have decided: of nine hits three came to the dead one.
    let sum = |json: &Value, column: &str| -> u64 {
        let column = json[column].as_array().expect("a column");
        column.iter().filter_map(Value::as_u64).sum()
    };
    let picture = ask(
        &cluster.nodes[0],
        "GET",
        "/v1/series?limit=login&window=1h",
        None,
    )
    .json();
    assert_eq!(
        sum(&picture, "allowed") + sum(&picture, "denied"),
        7,
        "{picture}"
    );
    assert_eq!(picture["missing"], json!(["oskar3"]));
    let usage = ask(&cluster.nodes[0], "GET", "/v1/usage", None).json();
    assert_eq!(usage["today"]["requests"], 6, "counts outlive a node");

    let mut stops = cluster.take("oskar2");
    stops.terminate();
    let events = std::iter::from_fn(|| stream.next());
    let last = events.last().map(|(event, _)| event);
    assert_eq!(last.as_deref(), Some("bye"), "and the stream has ended");
    assert!(stops.ended().success());
    eventually("the other one takes the stream over", || {
        let mut stream = Stream::begin(&cluster.nodes[0], &key);
        match stream.next() {
            Some((event, _)) if event == "sample" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}
