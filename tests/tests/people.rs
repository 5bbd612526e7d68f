//! People of a cluster: whoever has logged in at one node is known to all, and no longer once the answer says so.

use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;

use e2e::{Client, Cluster, Node, Response};
use serde_json::{Value, json};

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];
const URL: &str = "http://127.0.0.1:4000";
const PASSWORD: &str = "correct horse battery";

const CONFIG: &str = r#"
[service]
public_url = "http://127.0.0.1:4000"
signup = "open"
"#;

fn directory(cluster: &Cluster, name: &str) -> PathBuf {
    cluster.home().join(format!("data-of-{name}"))
}

fn start(cluster: &mut Cluster, name: &str) {
    let directory = directory(cluster, name).display().to_string();
    let started = cluster.try_start(name, Cluster::COOKIE, &["--data-dir", &directory]);
    started.unwrap_or_else(|(status, log)| panic!("{name}: {status}:\n{log}"));
}

/// Three nodes of a service, with directories.
fn service() -> Cluster {
    let mut cluster = Cluster::with_config(CONFIG);
    for name in NAMES {
        start(&mut cluster, name);
    }
    cluster
}

/// Somebody who has logged in.
struct Session {
    cookie: String,
    csrf: String,
}

fn post(client: &mut Client, path: &str, body: &Value) -> Response {
    let answer = client.request("POST", path, &[], Some(&body.to_string()));
    answer.expect("an answer")
}

impl Session {
    fn of(answer: &Response) -> Self {
        let mut lines = answer
            .headers
            .iter()
            .filter(|(name, _)| name == "set-cookie");
        let line = lines.find(|(_, line)| line.starts_with("weir_session="));
        let (_, line) = line.expect("a session");
        let (cookie, _) = line.split_once(';').expect("attributes");
        let csrf = answer.json()["csrf"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        Self {
            cookie: cookie.to_owned(),
            csrf,
        }
    }

    fn begin(client: &mut Client, email: &str) -> Self {
        let body = json!({ "email": email, "password": PASSWORD });
        let answer = post(client, "/v1/auth/login", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        Self::of(&answer)
    }

    fn ask(&self, client: &mut Client, method: &str, path: &str, body: Option<Value>) -> Response {
        let headers = [
            ("Cookie", &*self.cookie),
            ("X-CSRF-Token", &*self.csrf),
            ("Origin", URL),
        ];
        let body = body.map(|body| body.to_string());
        let answer = client.request(method, path, &headers, body.as_deref());
        answer.expect("an answer")
    }

    fn status(&self, client: &mut Client) -> u16 {
        self.ask(client, "GET", "/v1/auth/session", None).status
    }
}

fn sign_up(client: &mut Client, email: &str) -> Response {
    let body = json!({ "email": email, "password": PASSWORD, "tenant": "Acme" });
    let answer = post(client, "/v1/auth/sign-up", &body);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer
}

#[test]
fn a_session_is_good_on_every_node_and_ended_on_every_node() {
    let cluster = service();
    let mut clients: Vec<Client> = cluster.nodes.iter().map(Node::client).collect();
    sign_up(&mut clients[0], "ada@example.com");
    let session = Session::begin(&mut clients[1], "ada@example.com");
    let other = Session::begin(&mut clients[2], "ada@example.com");
    for client in &mut clients {
        assert_eq!(session.status(client), 200);
    }
    let key = json!({ "name": "edge" });
    let key = session.ask(&mut clients[2], "POST", "/v1/api-keys", Some(key));
    assert_eq!(key.status, 201, "{key:?}");
    let logout = session.ask(&mut clients[2], "POST", "/v1/auth/logout", Some(json!({})));
    assert_eq!((logout.status, logout.header("weir-pending")), (204, None));
    for client in &mut clients {
        assert_eq!(session.status(client), 401);
        assert_eq!(other.status(client), 200);
    }
    let new = json!({ "current": PASSWORD, "new": "a staple of another kind" });
    let changed = other.ask(&mut clients[0], "POST", "/v1/auth/password", Some(new));
    assert_eq!(changed.status, 204, "{changed:?}");
    let renewed = Session::of(&changed);
    for client in &mut clients {
        assert_eq!(other.status(client), 401);
        assert_eq!(renewed.status(client), 200);
    }
}

#[test]
fn people_come_back_after_every_node_was_killed() {
    let mut cluster = service();
    sign_up(&mut cluster.nodes[0].client(), "ada@example.com");
    let session = Session::begin(&mut cluster.nodes[1].client(), "ada@example.com");
    let ended = Session::begin(&mut cluster.nodes[2].client(), "ada@example.com");
    let logout = ended.ask(
        &mut cluster.nodes[2].client(),
        "POST",
        "/v1/auth/logout",
        Some(json!({})),
    );
    assert_eq!(logout.status, 204);
    for node in &mut cluster.nodes {
        node.kill();
    }
    cluster.nodes.clear();
    for name in NAMES {
        start(&mut cluster, name);
    }
    for node in &cluster.nodes {
        assert_eq!(session.status(&mut node.client()), 200);
        assert_eq!(ended.status(&mut node.client()), 401);
    }
    Session::begin(&mut cluster.nodes[2].client(), "ada@example.com");
}

/// By way of three nodes, 64 at once.
#[test]
fn of_many_wrong_logins_five_are_looked_at() {
    let cluster = service();
    sign_up(&mut cluster.nodes[0].client(), "ada@example.com");
    let together = Barrier::new(64);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let attempts = (0..64).map(|number| {
            let (node, together) = (&cluster.nodes[number % 3], &together);
            scope.spawn(move || {
                let body = json!({ "email": "ada@example.com", "password": "another horse" });
                let mut client = node.client();
                together.wait();
                post(&mut client, "/v1/auth/login", &body).status
            })
        });
        let attempts: Vec<_> = attempts.collect();
        let joined = attempts.into_iter().map(|attempt| attempt.join());
        joined.map(|status| status.expect("no panic")).collect()
    });
    let of = |status: u16| statuses.iter().filter(|it| **it == status).count();
    assert_eq!((of(401), of(429)), (5, 59), "{statuses:?}");
}
