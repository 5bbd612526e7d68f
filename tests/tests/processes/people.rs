//! People of a cluster: whoever has logged in at one node is known to all, and no longer once the answer says so.

use std::fs;
use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;
use std::time::UNIX_EPOCH;

use e2e::{Client, Cluster, Network, Node, Options, Response, address, eventually};
use serde_json::{Value, json};

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];
const URL: &str = "http://127.0.0.1:4000";
const PASSWORD: &str = "correct horse battery";

pub(crate) const CONFIG: &str = r#"
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
pub(crate) struct Session {
    pub(crate) cookie: String,
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

    pub(crate) fn begin(client: &mut Client, email: &str) -> Self {
        let body = json!({ "email": email, "password": PASSWORD });
        let answer = post(client, "/v1/auth/login", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        Self::of(&answer)
    }

    pub(crate) fn ask(
        &self,
        client: &mut Client,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Response {
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

/// What stands at the end of a link.
fn token_of(link: &Value) -> String {
    let url = link["url"].as_str().expect("a link");
    url.rsplit('/').next().expect("a token").to_owned()
}

pub(crate) fn sign_up(client: &mut Client, email: &str) -> Response {
    sign_up_with(client, email, PASSWORD)
}

fn sign_up_with(client: &mut Client, email: &str, password: &str) -> Response {
    let body = json!({ "email": email, "password": password, "tenant": "Acme" });
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
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    let right = post(&mut cluster.nodes[1].client(), "/v1/auth/login", &body);
    let told = (right.status, right.json()["type"].clone());
    assert_eq!(told, (429, json!("/problems/too-many-attempts")));
    assert!(right.header("retry-after").is_some(), "{right:?}");
}

/// With a session and no token nothing is changed: a page of somebody else has the one and not the other.
#[test]
fn a_session_without_its_token_changes_nothing() {
    let cluster = service();
    sign_up(&mut cluster.nodes[0].client(), "ada@example.com");
    let session = Session::begin(&mut cluster.nodes[1].client(), "ada@example.com");
    let limit = json!({ "algorithm": "sliding_log", "limit": 3, "per": "1h" });
    let client = &mut cluster.nodes[2].client();
    let without = Session {
        csrf: String::new(),
        cookie: session.cookie.clone(),
    };
    let refused = without.ask(client, "PUT", "/v1/limits/login", Some(limit.clone()));
    let told = (refused.status, refused.json()["type"].clone());
    assert_eq!(told, (403, json!("/problems/forged-request")));
    let made = session.ask(client, "PUT", "/v1/limits/login", Some(limit));
    assert_eq!(made.status, 201, "{made:?}");
}

#[test]
fn a_recovery_code_is_worth_one_new_password() {
    let cluster = service();
    let mut clients: Vec<Client> = cluster.nodes.iter().map(Node::client).collect();
    let code = sign_up(&mut clients[0], "ada@example.com").json()["recovery_code"].clone();
    let before = Session::begin(&mut clients[1], "ada@example.com");
    let new = "another long password";
    let recover = json!({ "email": "ada@example.com", "recovery_code": code, "password": new });
    let answer = post(&mut clients[1], "/v1/auth/recover", &recover);
    assert_eq!(answer.status, 200, "{answer:?}");
    let session = Session::of(&answer);
    for client in &mut clients {
        assert_eq!(before.status(client), 401);
        assert_eq!(session.status(client), 200);
    }
    let again = post(&mut clients[2], "/v1/auth/recover", &recover);
    let told = (again.status, again.json()["type"].clone());
    assert_eq!(told, (401, json!("/problems/wrong-credentials")));
    for (password, status) in [(PASSWORD, 401), (new, 200)] {
        let login = json!({ "email": "ada@example.com", "password": password });
        let answer = post(&mut clients[0], "/v1/auth/login", &login);
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

/// Everything that opens something is in the one answer that tells it, and nowhere else.
#[test]
fn no_secret_is_logged_or_written_to_a_disk() {
    let mut cluster = service();
    let mut clients: Vec<Client> = cluster.nodes.iter().map(Node::client).collect();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let signed_up = sign_up(&mut clients[0], "ada@example.com");
    let ada = Session::begin(&mut clients[1], "ada@example.com");
    let (_, cookie) = ada.cookie.split_once('=').expect("a cookie");
    let key = json!({ "name": "edge" });
    let key = ada.ask(&mut clients[2], "POST", "/v1/api-keys", Some(key));
    let link = |client: &mut Client, path: &str, body: Value| {
        let made = ada.ask(client, "POST", path, Some(body));
        assert_eq!(made.status, 201, "{made:?}");
        token_of(&made.json())
    };
    let invite = json!({ "role": "viewer", "email": "bob@example.com" });
    let used = link(&mut clients[0], "/v1/team/invites", invite.clone());
    let open = link(&mut clients[0], "/v1/team/invites", invite);
    let body = json!({ "email": "bob@example.com", "password": PASSWORD, "invite": used });
    let bob = post(&mut clients[1], "/v1/auth/sign-up", &body).json();
    // Of a seat that is taken, and of one that is not: what is refused is not logged either.
    for (token, status) in [(&used, 410), (&open, 409)] {
        let path = format!("/v1/invites/{token}");
        let refused = ada.ask(&mut clients[2], "POST", &path, Some(json!({})));
        assert_eq!(refused.status, status, "{refused:?}");
    }
    let path = format!("/v1/team/{}/reset-link", text(&bob["user"]["id"]));
    let forgotten = link(&mut clients[0], &path, json!({}));
    let new = "a staple of another kind";
    let reset = json!({ "token": forgotten, "password": new });
    let reset = post(&mut clients[1], "/v1/auth/reset", &reset).json();
    let secrets = [
        PASSWORD.to_owned(),
        new.to_owned(),
        cookie.to_owned(),
        ada.csrf.clone(),
        text(&key.json()["key"]),
        text(&signed_up.json()["recovery_code"]),
        text(&bob["recovery_code"]),
        text(&reset["recovery_code"]),
        used,
        open,
        forgotten,
    ];

    for node in &cluster.nodes {
        node.terminate();
    }
    let mut places = Vec::new();
    for mut node in std::mem::take(&mut cluster.nodes) {
        assert!(node.ended().success());
        places.push((format!("the log of {}", node.name), node.log().into_bytes()));
        for file in fs::read_dir(directory(&cluster, &node.name)).expect("a directory") {
            let path = file.expect("a file").path();
            if path.is_file() {
                let bytes = fs::read(&path).expect("a file of the node");
                places.push((path.display().to_string(), bytes));
            }
        }
    }
    let has = |bytes: &[u8], text: &str| {
        let mut windows = bytes.windows(text.len());
        windows.any(|window| window == text.as_bytes())
    };
    // They would be found: what is no secret is.
    let found = places
        .iter()
        .filter(|(_, bytes)| has(bytes, "bob@example.com"));
    assert!(1 < found.count());
    for (place, bytes) in &places {
        for secret in &secrets {
            assert!(!has(bytes, secret), "{secret} is in {place}");
        }
    }
}

/// The token by which a test is the operator of nodes that are no loopback hosts.
const API_TOKEN: &str = "a-token-of-the-tests";

/// Waits until each of these nodes says so of each of those names.
#[track_caller]
fn wait_until(nodes: &[&Node], status: &str, names: &[&str]) {
    for node in nodes {
        eventually(&format!("{names:?} are {status}"), || {
            let headers = [("Authorization", &*format!("Bearer {API_TOKEN}"))];
            let told = node.ask("GET", "/v1/cluster", &headers, None).json();
            let members = told["members"].as_array().cloned().unwrap_or_default();
            let is_so = |name: &&str| {
                let member = members.iter().find(|member| member["name"] == **name);
                member.is_some_and(|member| member["status"] == status)
            };
            let are_so = names.iter().all(is_so);
            are_so.then_some(()).ok_or_else(|| told.to_string())
        });
    }
}

/// What a login with this password is answered.
fn login(node: &Node, email: &str, password: &str) -> (u16, Value, Response) {
    let body = json!({ "email": email, "password": password });
    let answer = post(&mut node.client(), "/v1/auth/login", &body);
    (answer.status, answer.json(), answer)
}

/// Of two who registered one address on either side of a split the earlier has it, on whichever side that was: a later one could
/// otherwise take an account over. The other keeps his password and may do nothing but choose another address. Needs root and `ip`.
#[test]
fn an_address_that_two_sides_gave_away_is_whose_had_it_first() {
    const CUT_OFF: usize = 1;
    const LATER: &str = "a staple of another kind";
    let network = Network::new(NAMES.len());
    let mut cluster = Cluster::with_config(CONFIG);
    for (host, name) in NAMES.iter().enumerate() {
        let options = Options {
            args: ["--ephemeral", "--api-token", API_TOKEN]
                .map(str::to_owned)
                .to_vec(),
            host: Some((network.namespace(host), address(host))),
            ..Options::new(name, Cluster::COOKIE)
        };
        let node = cluster.starting(options).ready();
        let node = node.unwrap_or_else(|(status, log)| panic!("{name}: {status}:\n{log}"));
        cluster.nodes.push(node);
    }
    let [one, cut_off, other] = &cluster.nodes[..] else {
        panic!("three nodes");
    };
    wait_until(&[one, cut_off, other], "alive", &NAMES);
    network.cut_off(CUT_OFF);
    wait_until(&[one, other], "dead", &[NAMES[CUT_OFF]]);
    wait_until(&[cut_off], "dead", &[NAMES[0], NAMES[2]]);
    // The first to have it is once on the one side, and once on the other.
    let mut users = Vec::new();
    for (email, first, second) in [
        ("ada@example.com", one, cut_off),
        ("bob@example.com", cut_off, other),
    ] {
        let id = |answer: &Response| answer.json()["user"]["id"].clone();
        let earlier = id(&sign_up(&mut first.client(), email));
        // Who had it first is told by the second.
        let second_of = || UNIX_EPOCH.elapsed().expect("a clock past 1970").as_secs();
        let registered = second_of();
        eventually("a second is over", || match second_of() {
            now if registered < now => Ok(()),
            now => Err(now.to_string()),
        });
        let later = id(&sign_up_with(&mut second.client(), email, LATER));
        assert_ne!(earlier, later);
        users.push((email, earlier, later));
    }
    network.heal(CUT_OFF);
    wait_until(&[one, cut_off, other], "alive", &NAMES);
    for (email, earlier, later) in &users {
        for node in &cluster.nodes {
            // What one side knows has to reach the other.
            eventually("the address is whose had it first", || {
                let (status, told, _) = login(node, email, LATER);
                let is_told = status == 200 && told["email_conflict"] == true;
                is_told.then_some(()).ok_or_else(|| told.to_string())
            });
            let (status, told, _) = login(node, email, PASSWORD);
            assert_eq!((status, &told["user"]["id"]), (200, earlier), "{told}");
            assert_eq!(told.get("email_conflict"), None, "{told}");
            let (_, told, answer) = login(node, email, LATER);
            assert_eq!(&told["user"]["id"], later, "{told}");
            let session = Session::of(&answer);
            let mut client = node.client();
            let refused = session.ask(&mut client, "GET", "/v1/team", None);
            assert_eq!(
                (refused.status, &refused.json()["type"]),
                (409, &json!("/problems/email-conflict")),
                "{refused:?}"
            );
        }
    }
    // With another address all is well, everywhere.
    let (email, _, later) = &users[0];
    let (_, _, answer) = login(one, email, LATER);
    let body = json!({ "password": LATER, "email": "eve@example.com" });
    let chosen = Session::of(&answer).ask(&mut one.client(), "POST", "/v1/auth/email", Some(body));
    assert_eq!(chosen.status, 204, "{chosen:?}");
    for node in &cluster.nodes {
        let (status, told, answer) = login(node, "eve@example.com", LATER);
        assert_eq!((status, &told["user"]["id"]), (200, later), "{told}");
        assert_eq!(told.get("email_conflict"), None, "{told}");
        let team = Session::of(&answer).ask(&mut node.client(), "GET", "/v1/team", None);
        assert_eq!(team.status, 200, "{team:?}");
        assert_eq!(login(node, email, LATER).0, 401);
    }
}
