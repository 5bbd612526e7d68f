//! The built-in example, as its table promises it, on clusters of two and three.

use std::time::{Duration, Instant};

use e2e::{Cluster, Response};
use serde_json::json;

const TWO: [&str; 2] = ["oskar", "oskar2"];
const THREE: [&str; 3] = ["oskar", "oskar2", "oskar3"];

/// Asks the nodes of a cluster in turn, so that what one counted shows at another.
struct InTurn {
    cluster: Cluster,
    turn: usize,
}

impl InTurn {
    fn start(names: &[&str]) -> Self {
        let cluster = Cluster::new().started(names);
        Self { cluster, turn: 0 }
    }

    #[track_caller]
    fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let node = &self.cluster.nodes[self.turn % self.cluster.nodes.len()];
        self.turn += 1;
        node.ask(method, path, headers, None)
    }

    #[track_caller]
    fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.ask("GET", path, headers)
    }
}

#[track_caller]
fn seconds(answer: &Response, header: &str) -> u64 {
    let seconds = answer.header(header).and_then(|value| value.parse().ok());
    seconds.unwrap_or_else(|| panic!("{header} in {answer:?}"))
}

#[track_caller]
fn home_greets_a_user_once_a_minute(names: &[&str]) {
    let mut nodes = InTurn::start(names);
    let first = nodes.get("/user_home", &[("X-User-Id", "ann")]);
    assert_eq!(first.status, 200, "{first:?}");
    assert!(first.body.contains("ann"), "{first:?}");
    assert_eq!(first.header("x-ratelimit-remaining"), Some("0"));
    assert_eq!(first.header("retry-after"), None);

    for name in names {
        // A header's name matches in any case.
        let again = nodes.get("/user_home", &[("x-user-ID", "ann")]);
        assert_eq!(again.status, 429, "{name}: {again:?}");
        assert_eq!(again.body, "Too Many Requests");
        assert_eq!(
            again.header("ratelimit-policy"),
            Some(r#""user_home";q=1;w=60"#)
        );
        assert_eq!(again.header("x-ratelimit-limit"), Some("1"));
        assert_eq!(again.header("x-ratelimit-remaining"), Some("0"));
        let wait = seconds(&again, "retry-after");
        assert!((1..=60).contains(&wait), "{again:?}");
        assert_eq!(seconds(&again, "x-ratelimit-reset"), wait);
        let expected = format!(r#""user_home";r=0;t={wait}"#);
        assert_eq!(again.header("ratelimit"), Some(expected.as_str()));
    }

    let by_query = nodes.get("/user_home?name=%3Cb%3Ebob", &[]);
    assert_eq!(by_query.status, 200, "{by_query:?}");
    assert!(by_query.body.contains("&lt;b&gt;bob"), "{by_query:?}");
    assert_eq!(nodes.get("/user_home?name=%3Cb%3Ebob", &[]).status, 429);

    let nobody = nodes.get("/user_home", &[]);
    assert_eq!(
        (nobody.status, nobody.body.as_str()),
        (401, "User ID Required")
    );
}

#[test]
fn two_nodes_greet_a_user_once_a_minute() {
    home_greets_a_user_once_a_minute(&TWO);
}

#[test]
fn three_nodes_greet_a_user_once_a_minute() {
    home_greets_a_user_once_a_minute(&THREE);
}

#[track_caller]
fn page_is_served_to_a_browser_once(names: &[&str]) {
    let mut nodes = InTurn::start(names);
    let start = Instant::now();
    let first = nodes.get("/", &[("User-Agent", "one")]);
    assert_eq!(first.status, 200, "{first:?}");
    assert!(
        first
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/html"))
    );
    let set = first.header("set-cookie").expect("a cookie").to_owned();
    assert!(set.starts_with("weir_browser="), "{set}");
    assert!(
        set.contains("HttpOnly") && set.contains("SameSite=Lax"),
        "{set}"
    );
    let cookie = set.split(';').next().expect("a first part");
    let forged = format!("{}x", &cookie[..cookie.len() - 1]);

    let known = nodes.get("/", &[("User-Agent", "two"), ("Cookie", cookie)]);
    let reload = nodes.get("/", &[("User-Agent", "one")]);
    let forged = nodes.get("/", &[("User-Agent", "one"), ("Cookie", &forged)]);
    // What a machine that stood still for the whole window cannot refute.
    if start.elapsed() < Duration::from_secs(10) {
        assert_eq!(
            (known.status, known.header("set-cookie")),
            (429, None),
            "{known:?}"
        );
        assert_eq!(reload.status, 429, "{reload:?}");
        assert_eq!(forged.status, 429, "{forged:?}");
        assert!(forged.header("set-cookie").is_some(), "{forged:?}");
    }
    assert_eq!(nodes.get("/", &[("User-Agent", "three")]).status, 200);
}

#[test]
fn two_nodes_serve_a_browser_once() {
    page_is_served_to_a_browser_once(&TWO);
}

#[test]
fn three_nodes_serve_a_browser_once() {
    page_is_served_to_a_browser_once(&THREE);
}

#[track_caller]
fn data_is_served_ten_times_and_status_tells(names: &[&str]) {
    let mut nodes = InTurn::start(names);
    let start = Instant::now();
    // One unit comes back every six seconds, on a slow machine while this runs.
    let back = || usize::try_from(start.elapsed().as_secs() / 6).expect("few");
    let mut admitted = 0;
    for _ in 0..10 + back() {
        let answer = nodes.get("/api/data", &[("X-User-ID", "ann")]);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_ne!(answer.json(), json!(null), "{answer:?}");
        admitted += 1;
        let status = nodes.get("/api/status", &[("X-User-ID", "ann")]);
        let left = status.json()["remaining"].as_u64().expect("a number");
        let expected = 10 - admitted;
        assert!((expected..=expected + back()).contains(&usize::try_from(left).expect("few")));
        assert_eq!(status.json()["limit"], 10);
    }
    while nodes.get("/api/data", &[("X-User-ID", "ann")]).status == 200 {
        admitted += 1;
    }
    assert!(admitted <= 10 + back(), "{admitted}");
    assert_eq!(nodes.get("/api/data", &[("X-User-ID", "bob")]).status, 200);
    // Without the header the peer's address is who is counted.
    assert_eq!(
        nodes.get("/api/data", &[]).header("x-ratelimit-remaining"),
        Some("9")
    );
}

#[test]
fn two_nodes_serve_data_ten_times() {
    data_is_served_ten_times_and_status_tells(&TWO);
}

#[test]
fn three_nodes_serve_data_ten_times() {
    data_is_served_ten_times_and_status_tells(&THREE);
}

#[track_caller]
fn rate_counts_ten_a_minute(names: &[&str]) {
    let mut nodes = InTurn::start(names);
    for used in 1..=10 {
        let counted = nodes.ask("POST", "/rate/increment?client_id=c", &[]);
        assert_eq!(
            (counted.status, counted.json()),
            (200, json!({"result": true}))
        );
        let peek = nodes.get("/rate/check?client_id=c", &[]);
        let expected = json!({"remaining_quota": 10 - used, "result": used < 10});
        assert_eq!((peek.status, peek.json()), (200, expected));
    }
    for _ in names {
        let counted = nodes.ask("POST", "/rate/increment?client_id=c", &[]);
        assert_eq!(
            (counted.status, counted.json()),
            (200, json!({"result": false}))
        );
    }
}

#[test]
fn two_nodes_count_ten_a_minute() {
    rate_counts_ten_a_minute(&TWO);
}

#[test]
fn three_nodes_count_ten_a_minute() {
    rate_counts_ten_a_minute(&THREE);
}
