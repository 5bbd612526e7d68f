//! Proxies that ask Weir before each request, by the files in `demo/`, as they stand there. Need `nginx` and, below the
//! folder that cargo builds in, `caddy` and `traefik`.
//!
//! The files name ports: each test has a network of its own.

use std::process::Command;

use e2e::{App, Network, Node, Options, Proxy, demo, eventually, python_program};
use tempfile::TempDir;

/// A node as `demo/proxies.toml` has it, an application, and a proxy between them.
struct Site {
    proxy: Proxy,
    app: App,
    node: Node,
    // Last: what stands above ends in it.
    _home: TempDir,
    _network: Network,
}

fn site(command: Command, address: &str) -> Site {
    let network = Network::new(0);
    let home = TempDir::with_prefix("weir-e2e-proxy-").expect("a temporary folder");
    let mut options = Options::new("oskar", "wojtyra");
    options.http_port = 4000;
    let config = demo().join("proxies.toml");
    options.args = vec!["--config".into(), config.display().to_string()];
    let node = Node::start(home.path(), &options).expect("a node starts");
    let app = App::start("127.0.0.1:9000");
    let proxy = Proxy::start(command, address);
    // Traefik listens before it has read its routes.
    eventually("the proxy passes requests on", || {
        match proxy.get("/early", &[("X-User-Id", "early")]) {
            reply if reply.status == 404 => Err(reply.body),
            _ => Ok(()),
        }
    });
    Site {
        app,
        proxy,
        node,
        _home: home,
        _network: network,
    }
}

/// What holds with every proxy. `refused`: what a client is told without a decision.
fn check(mut site: Site, refused: u16) {
    let Site {
        proxy, app, node, ..
    } = &mut site;
    let ada = [("X-User-Id", "ada")];
    for _ in 0..5 {
        let reply = proxy.get("/a?b=c", &ada);
        assert_eq!((reply.status, &*reply.body), (200, "app"), "{reply:?}");
    }
    let denied = proxy.get("/a?b=c", &ada);
    assert_eq!(denied.status, 429, "{denied:?}");
    let passed = app.seen();
    assert_eq!(
        passed.iter().filter(|target| **target == "/a?b=c").count(),
        5
    );
    let retry_after = denied.header("retry-after").map(str::parse::<u64>);
    assert!(
        matches!(retry_after, Some(Ok(1..=720))),
        "one of five an hour is back within 12 min: {denied:?}"
    );
    let policy = denied.header("ratelimit-policy");
    assert_eq!(policy, Some(r#""proxied";q=5;w=3600"#));
    let rate = denied.header("ratelimit").unwrap_or_default();
    assert!(rate.starts_with(r#""proxied";r=0;t="#), "{denied:?}");
    // One count with the API.
    assert_eq!(node.counted("proxied", "ada"), 5);

    // By the client's own query, and by nothing that a client says of its target or its address.
    let lies = [
        ("X-Forwarded-Uri", "/?user=zoe"),
        ("X-Forwarded-For", "198.51.100.7"),
    ];
    assert_eq!(proxy.get("/?user=bo", &lies).status, 200);
    assert_eq!(proxy.get("/", &lies).status, 200);
    let _refused_or_not = proxy.get("/?user=bo", &[("X-Original-URI", "/?user=zoe")]);
    assert!(1 <= node.counted("proxied", "bo"));
    assert_eq!(node.counted("proxied", "zoe"), 0);
    assert_eq!(node.counted("proxied", "peer:198.51.100.7"), 0);
    assert_eq!(node.counted("proxied", "peer:127.0.0.1"), 1);

    // A question that makes no sense passes nobody.
    let before = app.seen().len();
    let long = "k".repeat(1_025);
    let senseless = proxy.get("/", &[("X-User-Id", &*long)]);
    assert!(400 <= senseless.status, "{senseless:?}");
    node.kill();
    let closed = proxy.get("/", &[("X-User-Id", "cy")]);
    assert_eq!(closed.status, refused, "{closed:?}");
    assert_eq!(app.seen().len(), before);
}

#[test]
fn nginx_asks_before_each_request() {
    let mut nginx = Command::new("nginx");
    nginx
        .arg("-p")
        .arg(demo().join("nginx"))
        .args(["-c", "nginx.conf"]);
    check(site(nginx, "127.0.0.1:8081"), 503);
}

#[test]
fn caddy_asks_before_each_request() {
    let mut caddy = Command::new(python_program("caddy"));
    caddy.args(["run", "--adapter", "caddyfile", "--config"]);
    caddy.arg(demo().join("caddy").join("Caddyfile"));
    check(site(caddy, "127.0.0.1:8082"), 502);
}

#[test]
fn traefik_asks_before_each_request() {
    let mut traefik = Command::new(python_program("traefik"));
    traefik.arg("--configFile=traefik.yaml");
    traefik.current_dir(demo().join("traefik"));
    check(site(traefik, "127.0.0.1:8083"), 500);
}
