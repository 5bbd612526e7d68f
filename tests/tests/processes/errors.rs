//! Every row of the table of errors, told by a real node.

use e2e::{Cluster, Node, Response, eventually};

const CONFIG: &str = r#"
[[limit]]
name = "login"
algorithm = "gcra"
limit = 10
per = "1h"
"#;

struct Case {
    ask: (&'static str, &'static str),
    headers: &'static [(&'static str, &'static str)],
    body: Option<String>,
    status: u16,
    problem: &'static str,
    field: Option<&'static str>,
}

fn case(
    ask: (&'static str, &'static str),
    body: impl Into<Option<&'static str>>,
    status: u16,
    problem: &'static str,
) -> Case {
    Case {
        ask,
        headers: &[],
        body: body.into().map(str::to_owned),
        status,
        problem,
        field: None,
    }
}

impl Case {
    fn at(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    fn body(mut self, body: String) -> Self {
        self.body = Some(body);
        self
    }

    fn with(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.headers = headers;
        self
    }

    #[track_caller]
    fn check(&self, node: &Node) {
        let (method, path) = self.ask;
        let answer = node.ask(method, path, self.headers, self.body.as_deref());
        assert_problem(&answer, self.status, self.problem);
        if let Some(field) = self.field {
            assert_eq!(answer.json()["field"], field, "{method} {path}: {answer:?}");
        }
    }
}

#[track_caller]
fn assert_problem(answer: &Response, status: u16, problem: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{answer:?}"
    );
    let json = answer.json();
    assert_eq!(json["type"], format!("/problems/{problem}"), "{answer:?}");
    assert_eq!(json["status"], status, "{answer:?}");
    for text in ["title", "detail"] {
        assert!(
            json[text].as_str().is_some_and(|text| !text.is_empty()),
            "{answer:?}"
        );
    }
    if status == 503 {
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
}

const CHECK: (&str, &str) = ("POST", "/v1/check");
const BATCH: (&str, &str) = ("POST", "/v1/check/batch");
const PUT_LIMIT: &str = r#"{"algorithm":"gcra","limit":1,"per":"1m"}"#;

fn cases() -> Vec<Case> {
    let invalid = |body| case(CHECK, body, 400, "invalid-request");
    let long_key = format!(r#"{{"limit":"login","key":"{}"}}"#, "k".repeat(1_025));
    let many = vec![r#"{"limit":"login","key":"k"}"#; 1_001].join(",");
    vec![
        invalid("{"),
        invalid("[]"),
        invalid(r#"{"limit":"login","key":"k","costs":1}"#).at("costs"),
        invalid(r#"{"limit":"login","key":7}"#).at("key"),
        invalid(r#"{"limit":"login","key":"k","cost":-1}"#).at("cost"),
        invalid(r#"{"limit":"login","key":""}"#).at("key"),
        invalid(r#"{"limit":"login"}"#).at("key"),
        invalid("{}").body(long_key).at("key"),
        invalid(r#"{"rule":{"algorithm":"gcra","limit":0,"per":"1m"},"key":"k"}"#).at("rule.limit"),
        invalid(r#"{"rule":{"algorithm":"gcra","limit":1,"per":"0s"},"key":"k"}"#).at("rule.per"),
        case(CHECK, r#"{"limit":"nope","key":"k"}"#, 404, "unknown-limit"),
        case(("GET", "/nothing"), None, 404, "not-found"),
        case(("GET", "/api/check?key=nobody"), None, 404, "not-found"),
        case(("GET", "/v1/check"), None, 405, "method-not-allowed"),
        case(CHECK, "limit=login", 415, "unsupported-media-type")
            .with(&[("Content-Type", "application/x-www-form-urlencoded")]),
        case(
            ("PUT", "/v1/limits/login"),
            PUT_LIMIT,
            409,
            "defined-in-file",
        ),
        case(("DELETE", "/v1/limits/login"), None, 409, "defined-in-file"),
        case(CHECK, "", 413, "too-large").body(" ".repeat(64 * 1024 + 1)),
        case(BATCH, "", 413, "too-large").body(" ".repeat(4 * 1024 * 1024 + 1)),
        case(BATCH, "", 413, "too-large").body(format!(r#"{{"checks":[{many}]}}"#)),
        case(
            CHECK,
            r#"{"limit":"login","key":"k","cost":11}"#,
            422,
            "never-conforms",
        )
        .at("cost"),
    ]
}

#[test]
fn every_mistake_is_told_and_nothing_is_counted() {
    let cluster = Cluster::with_config(CONFIG).started(&["oskar"]);
    let node = &cluster.nodes[0];
    for case in cases() {
        case.check(node);
    }
    assert_eq!(node.counted("login", "k"), 0);
    assert_eq!(node.check("login", "k", 1).status, 200, "it still serves");
}

#[test]
fn a_token_is_wanted_where_a_node_was_given_one() {
    let mut cluster = Cluster::with_config(CONFIG);
    let token = ["--api-token", "tell-nobody"];
    let started = cluster.try_start("oskar", Cluster::COOKIE, &token);
    started.expect("a node starts");
    let node = &cluster.nodes[0];
    let hit = r#"{"limit":"login","key":"k"}"#;
    let wrong: &[_] = &[("Authorization", "Bearer tell-everybody")];
    let right: &[_] = &[("Authorization", "Bearer tell-nobody")];
    for ask in [
        CHECK,
        ("GET", "/v1/cluster"),
        ("GET", "/api/status"),
        ("POST", "/rate/increment?client_id=c"),
    ] {
        case(ask, hit, 401, "unauthorized").check(node);
        case(ask, hit, 403, "forbidden").with(wrong).check(node);
    }
    assert_eq!(
        node.ask("POST", "/v1/check", right, Some(hit)).json()["remaining"],
        9
    );
    assert_eq!(node.get("/health", &[]).status, 200);
    assert!(!node.log().contains("tell-"), "{}", node.log());
}

#[test]
fn without_a_majority_a_limit_fails_as_it_says() {
    let config = r#"
[cluster]
partition = "quorum"
[[limit]]
name = "closed"
algorithm = "gcra"
limit = 10
per = "1h"
[[limit]]
name = "open"
algorithm = "gcra"
limit = 10
per = "1h"
on_failure = "allow"
"#;
    let mut cluster = Cluster::with_config(config).started(&["oskar", "oskar2", "oskar3"]);
    assert_eq!(cluster.nodes[0].check("closed", "k", 1).status, 200);
    for name in ["oskar2", "oskar3"] {
        cluster.take(name).kill();
    }
    let node = &cluster.nodes[0];
    let refused = eventually("no majority, no decision", || {
        let answer = node.check("closed", "k", 1);
        (answer.status != 200)
            .then_some(answer)
            .ok_or_else(|| "allowed".to_owned())
    });
    assert_problem(&refused, 503, "no-decision");
    assert_eq!(node.check("open", "k", 1).status, 200);
}

/// Two nodes, neither of which decides without the other, and a key of the second.
fn pair() -> (Cluster, String) {
    let config = r#"
[cluster]
partition = "quorum"
[[limit]]
name = "closed"
algorithm = "gcra"
limit = 1000
per = "1h"
"#;
    let cluster = Cluster::with_config(config).started(&["oskar", "oskar2"]);
    let key = cluster.keys_of("oskar2", "closed", 1).remove(0);
    (cluster, key)
}

#[test]
fn a_hit_that_was_sent_and_not_answered_says_that_it_may_have_been_counted() {
    let (cluster, there) = pair();
    cluster.node("oskar2").pause();
    let refused = cluster.node("oskar").check("closed", &there, 1);
    cluster.node("oskar2").resume();
    assert_problem(&refused, 503, "no-decision");
    let detail = refused.json()["detail"].to_string();
    assert!(
        detail.contains("unknown whether this hit was counted"),
        "{detail}"
    );
}

/// Checks of one batch: as many as wait at once, and few enough that the answers of all batches have room.
const BATCH_CHECKS: usize = 256;

/// Batches that together have more hits waiting than a node keeps: of each 256, of all 32 768.
const BATCHES: usize = 32_768 / 256 + 8;

#[test]
fn hits_beyond_those_that_may_wait_are_shed() {
    let (cluster, there) = pair();
    let asked = cluster.node("oskar");
    cluster.node("oskar2").pause();
    let check = serde_json::json!({ "limit": "closed", "key": there });
    let body = serde_json::json!({ "checks": vec![check; BATCH_CHECKS] }).to_string();
    let mut clients: Vec<_> = (0..BATCHES).map(|_| asked.client()).collect();
    for client in &mut clients {
        let path = "/v1/check/batch";
        client
            .send("POST", path, &[], Some(&body))
            .expect("it is read");
    }
    let mut shed = 0;
    for client in &mut clients {
        let answer = client.receive().expect("an answer").json();
        let results = answer["results"].as_array().expect("results").clone();
        shed += results
            .iter()
            .filter(|result| result["error"]["type"] == "/problems/overloaded")
            .count();
        assert!(
            results
                .iter()
                .all(|result| result["error"]["status"] == 503),
            "{answer}"
        );
    }
    assert_ne!(shed, 0);
    cluster.node("oskar2").resume();
    cluster.settle();
    assert_eq!(asked.check("closed", "another", 1).status, 200);
}
