//! Tenants of a cluster share nothing, whichever node they ask; a plan's requests pass exactly; what is revoked is refused on
//! every node once that was answered.

use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use e2e::{Client, Cluster, Node, Response, eventually, weir};
use serde_json::{Value, json};

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];

const CONFIG: &str = r#"
[cluster]
ack = "replicated"

[service]
public_url = "http://127.0.0.1:4000"

[[plan]]
name = "free"
requests_per_day = 500
per_second = 100_000
limits = 2
key_limits = 2
api_keys = 3
team = 1

[[limit]]
name = "login"
algorithm = "sliding_log"
limit = 3
per = "1h"
"#;

/// Three nodes of a service.
fn service() -> Cluster {
    Cluster::service(CONFIG, &NAMES, &["--redis", "127.0.0.1:0"])
}

/// One request with an API key.
fn ask(client: &mut Client, key: &str, method: &str, path: &str, body: Option<Value>) -> Response {
    let bearer = format!("Bearer {key}");
    let body = body.map(|body| body.to_string());
    let headers = [("Authorization", &*bearer)];
    let answer = client.request(method, path, &headers, body.as_deref());
    answer.expect("an answer")
}

fn check(client: &mut Client, key: &str, limit: &str, name: &str) -> Response {
    let body = json!({ "limit": limit, "key": name });
    ask(client, key, "POST", "/v1/check", Some(body))
}

fn a_limit(units: u32) -> Value {
    json!({ "algorithm": "fixed_window", "anchor": "first_hit", "limit": units, "per": "1h" })
}

/// A limit that the tenant did not have.
#[track_caller]
fn set_limit(client: &mut Client, key: &str, name: &str, units: u32) {
    let path = format!("/v1/limits/{name}");
    let set = ask(client, key, "PUT", &path, Some(a_limit(units)));
    assert_eq!(set.status, 201, "{set:?}");
}

#[track_caller]
fn problem(answer: &Response, status: u16, name: &str) -> Value {
    assert_eq!(answer.status, status, "{answer:?}");
    let json = answer.json();
    assert_eq!(json["type"], format!("/problems/{name}"), "{json}");
    json
}

/// As the seed has them, with an API key.
#[test]
fn both_requests_of_the_seed_are_served_in_a_tenant_by_every_node() {
    let cluster = service();
    let (_, ours) = cluster.tenant("Acme", &["check", "limits.write"]);
    let (_, theirs) = cluster.tenant("Other", &["check", "limits.write"]);
    let mut clients: Vec<Client> = cluster.nodes.iter().map(Node::client).collect();
    let limit =
        json!({"key": "user123", "limit": 3, "interval": "1m", "algorithm": "token_bucket"});
    let made = ask(&mut clients[0], &ours, "POST", "/api/limits", Some(limit));
    assert_eq!(made.status, 201, "{made:?}");
    for (remaining, client) in [2, 1, 0].into_iter().zip(&mut clients) {
        let answer = ask(client, &ours, "GET", "/api/check?key=user123", None);
        assert_eq!(
            (answer.status, &answer.json()["remaining"]),
            (200, &json!(remaining))
        );
    }
    let denied = ask(
        &mut clients[1],
        &ours,
        "GET",
        "/api/check?key=user123",
        None,
    );
    assert_eq!(
        (denied.status, &denied.json()["allowed"]),
        (429, &json!(false)),
        "a decision, no problem"
    );
    let elsewhere = ask(
        &mut clients[1],
        &theirs,
        "GET",
        "/api/check?key=user123",
        None,
    );
    problem(&elsewhere, 404, "not-found");
}

/// 500 of 800 that 64 clients ask for by way of three nodes at once, of which one is killed on the way.
#[test]
fn exactly_the_requests_of_a_plan_pass_also_when_a_node_is_killed() {
    let mut cluster = service();
    let (id, key) = cluster.tenant("Acme", &["check", "limits.write", "usage.read"]);
    let mut client = cluster.nodes[0].client();
    set_limit(&mut client, &key, "wide", 100_000);

    let mut told = hammer(&cluster, &key, 400);
    let admitted = |told: &[u16]| told.iter().filter(|&&status| status == 200).count();
    assert_eq!(admitted(&told), 400, "{told:?}");

    let mut killed = cluster.take(NAMES[2]);
    killed.kill();
    told.extend(hammer(&cluster, &key, 400));
    assert_eq!(admitted(&told), 500);
    assert!(
        told.iter().all(|status| [200, 429].contains(status)),
        "{told:?}"
    );

    let refused = check(&mut cluster.nodes[1].client(), &key, "wide", "ada");
    let refused = problem(&refused, 429, "quota-exceeded");
    assert_eq!(
        (&refused["limit"], &refused["used"]),
        (&json!(500), &json!(500))
    );
    // What the day refused is no unit of the limit either, and what page, API and cap say is one number.
    let peek = json!({ "limit": "wide", "key": "ada", "cost": 0 });
    let peek = ask(&mut client, &key, "POST", "/v1/check", Some(peek)).json();
    assert_eq!(peek["remaining"], 100_000 - 500);
    let usage = ask(&mut client, &key, "GET", "/v1/usage", None).json();
    assert_eq!(usage["today"]["requests"], 500);
    let usage = cluster.operator(&cluster.nodes[1], &["usage", "--tenant", &id, "--csv"]);
    assert!(usage.ends_with(",500,0,false\n"), "{usage}");
}

/// The statuses of so many checks of 64 clients, spread over the nodes. A hit whose owner was killed is asked again.
fn hammer(cluster: &Cluster, key: &str, checks: usize) -> Vec<u16> {
    let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.http).collect();
    thread::scope(|scope| {
        let clients = (0..64).map(|number| {
            let address = addresses[number % addresses.len()];
            let share = checks / 64 + usize::from(number < checks % 64);
            scope.spawn(move || {
                let mut client = Client::connect(address).expect("connecting");
                let mut told = Vec::new();
                while told.len() < share {
                    match check(&mut client, key, "wide", "ada").status {
                        // Nobody could decide it, and it was not counted.
                        503 => {}
                        status => told.push(status),
                    }
                }
                told
            })
        });
        let clients: Vec<_> = clients.collect();
        let told = clients
            .into_iter()
            .flat_map(|client| client.join().expect("a client"));
        told.collect()
    })
}

#[test]
fn a_revoked_api_key_is_refused_by_every_node_once_that_is_answered() {
    let cluster = service();
    let (_, key) = cluster.tenant("Acme", &["check", "keys.read", "keys.write"]);
    let keys = ask(
        &mut cluster.nodes[0].client(),
        &key,
        "GET",
        "/v1/api-keys",
        None,
    )
    .json();
    let first = keys["items"][0]["id"].as_str().expect("an id").to_owned();
    for round in 0..20 {
        let made = json!({ "name": format!("k{round}"), "scopes": ["check"] });
        let made = ask(
            &mut cluster.nodes[round % 3].client(),
            &key,
            "POST",
            "/v1/api-keys",
            Some(made),
        );
        assert_eq!(made.status, 201, "{made:?}");
        let made = made.json();
        let (secret, made) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
        for node in &cluster.nodes {
            problem(
                &check(&mut node.client(), secret, "none", "u"),
                404,
                "unknown-limit",
            );
        }
        let node = &cluster.nodes[(round + 1) % 3];
        let revoked = ask(
            &mut node.client(),
            &key,
            "DELETE",
            &format!("/v1/api-keys/{made}"),
            None,
        );
        assert_eq!(
            (revoked.status, &revoked.json()["pending"]),
            (200, &json!([]))
        );
        for node in &cluster.nodes {
            let told = problem(
                &check(&mut node.client(), secret, "none", "u"),
                401,
                "unauthorized",
            );
            let detail = told["detail"].as_str().unwrap();
            assert!(detail.starts_with("this API key was revoked at "), "{told}");
        }
    }
    cluster.operator(&cluster.nodes[2], &["key", "revoke", &first]);
    problem(
        &ask(
            &mut cluster.nodes[1].client(),
            &key,
            "GET",
            "/v1/api-keys",
            None,
        ),
        401,
        "unauthorized",
    );
}

/// The count of a tenant's limit is one, whatever protocol a hit comes by.
#[test]
fn an_api_key_is_taken_by_the_redis_protocol() {
    let cluster = service();
    let (_, key) = cluster.tenant("Acme", &["check", "limits.write"]);
    let mut client = cluster.nodes[0].client();
    set_limit(&mut client, &key, "login", 2);
    assert_eq!(check(&mut client, &key, "login", "ada").status, 200);
    let address = cluster.nodes[1].redis.expect("it serves Redis");
    let url = |password: &str| format!("redis://:{password}@{address}");
    let connect = |password: &str| redis::Client::open(url(password)).unwrap().get_connection();
    assert!(connect("weir_key_none").is_err());
    let mut redis = connect(&key).expect("a connection");
    let hit = |redis: &mut redis::Connection| -> Vec<i64> {
        let mut command = redis::cmd("WEIR.CHECK");
        command
            .arg("login")
            .arg("ada")
            .query(redis)
            .expect("an answer")
    };
    assert_eq!(hit(&mut redis)[..3], [1, 2, 0]);
    assert_eq!(hit(&mut redis)[..3], [0, 2, 0]);
    let reset = redis::cmd("WEIR.RESET")
        .arg("login")
        .arg("ada")
        .query::<String>(&mut redis);
    assert_eq!(reset.unwrap_err().code(), Some("NOPERM"));
}

#[test]
fn a_tenant_that_is_suspended_is_told_so_and_comes_back() {
    let cluster = service();
    let (id, key) = cluster.tenant("Acme", &["check"]);
    let told = |node: &Node| check(&mut node.client(), &key, "none", "u");
    cluster.operator(&cluster.nodes[0], &["tenant", "suspend", &id]);
    for node in &cluster.nodes {
        problem(&told(node), 403, "tenant-suspended");
    }
    cluster.operator(&cluster.nodes[1], &["tenant", "resume", &id]);
    for node in &cluster.nodes {
        problem(&told(node), 404, "unknown-limit");
    }
    cluster.operator(&cluster.nodes[2], &["tenant", "close", &id]);
    for node in &cluster.nodes {
        problem(&told(node), 401, "unauthorized");
    }
    cluster.operator(&cluster.nodes[0], &["tenant", "restore", &id]);
    for node in &cluster.nodes {
        problem(&told(node), 404, "unknown-limit");
    }
}

/// Everything of the API wants a credential but what says that it does not; and what is another tenant's is not there.
#[test]
fn without_the_right_credential_nothing_is_told() {
    let cluster = service();
    let node = &cluster.nodes[0];
    let (_, ours) = cluster.tenant("Acme", &["check"]);
    let (other, theirs) = cluster.tenant("Other", &["keys.read"]);
    for path in [
        "/v1/limits",
        "/v1/api-keys",
        "/v1/tenants",
        "/v1/tenant",
        "/v1/usage",
        "/v1/cluster",
        "/metrics",
        "/api/limits",
    ] {
        let answer = problem(&node.get(path, &[]), 401, "unauthorized");
        assert_eq!(answer["accepted"], "Bearer and an API key");
    }
    for path in ["/health", "/ready", "/v1/plans", "/docs", "/openapi.json"] {
        assert_eq!(node.get(path, &[]).status, 200, "{path}");
    }
    let two = [("Authorization", "Bearer a"), ("Authorization", "Bearer b")];
    let basic = [("Authorization", "Basic dXNlcjpwYXNz")];
    let elsewhere = [("X-API-Key", &*ours)];
    for headers in [&two[..], &basic, &elsewhere] {
        let answer = problem(&node.get("/v1/tenant", headers), 401, "unauthorized");
        assert_eq!(answer["accepted"], "Bearer and an API key");
    }
    let mut client = node.client();
    let forbidden = ask(&mut client, &ours, "PUT", "/v1/limits/a", Some(a_limit(1)));
    assert_eq!(
        problem(&forbidden, 403, "forbidden")["scope"],
        "limits.write"
    );
    let forbidden = ask(&mut client, &ours, "GET", "/v1/tenants", None);
    assert_eq!(problem(&forbidden, 403, "forbidden")["role"], "operator");
    let bearer = format!("Bearer {theirs}");
    let within = [("Authorization", &*bearer), ("Weir-Tenant", &*other)];
    assert_eq!(node.get("/v1/tenant", &within).status, 200, "it is its own");
    let bearer = format!("Bearer {ours}");
    let within = [("Authorization", &*bearer), ("Weir-Tenant", &*other)];
    problem(&node.get("/v1/tenant", &within), 403, "forbidden");
    let keys = ask(&mut client, &theirs, "GET", "/v1/api-keys", None).json();
    let id = keys["items"][0]["id"].as_str().expect("an id");
    let (_, reads) = cluster.tenant("Third", &["keys.read"]);
    let [there, nowhere] = [id, "key_000000000000"].map(|id| {
        let answer = ask(
            &mut client,
            &reads,
            "GET",
            &format!("/v1/api-keys/{id}"),
            None,
        );
        problem(&answer, 404, "not-found")
    });
    assert_eq!(there, nowhere, "as if it had never been");
}

/// What all nodes are told outlives them.
#[test]
fn tenants_and_api_keys_outlive_all_nodes() {
    let mut cluster = Cluster::with_config(CONFIG);
    let start = |cluster: &mut Cluster| {
        for name in &NAMES[..2] {
            let directory = cluster.home().join(name).display().to_string();
            let started = cluster.try_start(name, Cluster::COOKIE, &["--data-dir", &directory]);
            started.unwrap_or_else(|(status, log)| panic!("{name}: {status}:\n{log}"));
        }
    };
    start(&mut cluster);
    let (id, key) = cluster.tenant("Acme", &["check", "limits.write", "usage.read"]);
    let mut client = cluster.nodes[0].client();
    set_limit(&mut client, &key, "daily", 10);
    assert_eq!(check(&mut client, &key, "daily", "ada").status, 200);
    let list = ["key", "list", "--tenant", &id, "--json"];
    let last_used = |cluster: &Cluster| {
        let keys = cluster.operator(&cluster.nodes[1], &list);
        let keys: Value = serde_json::from_str(&keys).expect("JSON");
        keys["items"][0]["last_used_at"].clone()
    };
    for node in &cluster.nodes {
        node.terminate();
    }
    for mut node in std::mem::take(&mut cluster.nodes) {
        assert!(node.ended().success());
    }
    start(&mut cluster);
    let minute = last_used(&cluster);
    let minute = minute.as_str().expect("and by a node that stops");
    assert!(minute.ends_with(":00Z"), "{minute}");
    let mut client = cluster.nodes[1].client();
    let answer = eventually("the key is decided", || {
        let answer = check(&mut client, &key, "daily", "ada");
        match answer.status {
            503 => Err(format!("{answer:?}")),
            _ => Ok(answer),
        }
    });
    assert_eq!(
        (answer.status, &answer.json()["remaining"]),
        (200, &json!(8)),
        "{answer:?}"
    );
    let usage = ask(&mut client, &key, "GET", "/v1/usage", None).json();
    assert_eq!(usage["today"]["requests"], 2, "of a day that began before");
}

/// What one cluster exports, another takes in that has none of its disks: the backup of a service.
#[test]
fn an_export_brings_tenants_api_keys_and_limits_back() {
    let cluster = service();
    let (_, key) = cluster.tenant("Acme", &["check", "limits.write"]);
    let (other, revoked) = cluster.tenant("Other", &["check"]);
    let mut client = cluster.nodes[0].client();
    set_limit(&mut client, &key, "daily", 10);
    let file = cluster.home().join("weir.jsonl");
    let path = file.display().to_string();
    let exported = cluster.operator(&cluster.nodes[1], &["service", "export", &path]);
    let lines = std::fs::read_to_string(&file).expect("the file");
    let records = lines.lines().count();
    assert_eq!(exported, format!("{records} records\n"));
    let kinds = lines.lines().map(|line| {
        let record: Value = serde_json::from_str(line).expect("JSON");
        assert!(record["record"].is_string(), "{record}");
        record["kind"].as_str().expect("a kind").to_owned()
    });
    // Beside what is told of who made them.
    let kinds = kinds.filter(|kind| kind != "audit");
    assert_eq!(kinds.count(), 5);
    assert!(!lines.contains(&key), "an API key is kept as its hash");
    let mode = std::fs::metadata(&file).expect("the file").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);

    // One that is revoked since the export stays so, whoever takes it in again.
    let of_other = format!("key_{}", &revoked[9..21]);
    cluster.operator(
        &cluster.nodes[0],
        &["key", "revoke", &of_other, "--tenant", &other],
    );
    let imported = cluster.operator(&cluster.nodes[2], &["service", "import", &path]);
    assert_eq!(imported, format!("{records} records, 0 of them new\n"));
    for node in &cluster.nodes {
        let answer = check(&mut node.client(), &revoked, "daily", "ada");
        problem(&answer, 401, "unauthorized");
    }

    let new = service();
    let imported = new.operator(&new.nodes[0], &["service", "import", &path]);
    assert_eq!(
        imported,
        format!("{records} records, {records} of them new\n")
    );
    for (node, remaining) in new.nodes.iter().zip([9, 8, 7]) {
        let answer = check(&mut node.client(), &key, "daily", "ada");
        let told = (answer.status, &answer.json()["remaining"]);
        assert_eq!(told, (200, &json!(remaining)), "{answer:?}");
    }

    // Nothing is overwritten, and nothing is taken in of what is no export.
    let refused = |arguments: &[&str]| {
        let url = format!("http://{}", new.nodes[0].http);
        let output = weir(new.home())
            .args(arguments)
            .args(["--cookie", Cluster::COOKIE, "--url", &url])
            .output()
            .expect("running weir");
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    };
    assert!(refused(&["service", "export", &path]).contains("is not overwritten"));
    std::fs::write(&file, "{\"record\":\"AAAA\"}\n").expect("writing");
    assert!(refused(&["service", "import", &path]).contains("record 0 cannot be read"));
    std::fs::write(&file, "tenants\n").expect("writing");
    assert!(refused(&["service", "import", &path]).contains("line 1: no record of an export"));
    // Of one that fails half-way stderr tells what became of the records before.
    let exported = lines.lines().cycle().take(500).chain(["tenants"]);
    let half_bad: String = exported.map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, half_bad).expect("writing");
    let told = refused(&["service", "import", &path]);
    assert!(told.starts_with("500 records, 0 of them new\n"), "{told}");
    assert!(told.contains("line 501: no record of an export"), "{told}");
}
