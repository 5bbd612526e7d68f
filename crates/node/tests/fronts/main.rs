//! One table of cases, asked in every way in which a node can be asked.

mod ways;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use client::Remote;
use node::{Builder, Node};
use tokio::runtime::Runtime;

use self::ways::{Grpc, Http, Layer, Program, Redis, Way, get};

/// How long what must happen may take, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nothing comes back while a test runs. The Redis of `closed` and `open` is not there.
const LIMITS: &str = r#"
    [cluster]
    ack = "replicated"

    [redis]
    url = "redis://127.0.0.1:1"
    start_without_redis = true

    [[limit]]
    name = "three"
    algorithm = "gcra"
    limit = 3
    per = "7d"

    [[limit]]
    name = "closed"
    algorithm = "gcra"
    limit = 3
    per = "7d"
    strategy = "redis"

    [[limit]]
    name = "open"
    algorithm = "gcra"
    limit = 3
    per = "7d"
    strategy = "redis"
    on_failure = "allow"

    [[rule]]
    domain = "three"
    match = [{ key = "key" }]
    limit = "three"

    [[rule]]
    domain = "closed"
    match = [{ key = "key" }]
    limit = "closed"

    [[rule]]
    domain = "open"
    match = [{ key = "key" }]
    limit = "open"
"#;

/// What is asked of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ask {
    Hit(u32),
    Peek,
    Refund(u32),
}

/// What is told, in whatever words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// It passes, or was done, and so much is left.
    Left(u32),
    /// The fail mode lets it pass.
    Open,
    Denied,
    NeverConforms,
    UnknownLimit,
    /// There is no decision, and it was not counted.
    NoDecision,
}

use Ask::{Hit, Peek, Refund};
use Told::{Denied, Left, NeverConforms, NoDecision, Open, UnknownLimit};

/// What happens, on which limit, and what is told of each step. Each case has a key of its own, and each way.
type Case = (&'static str, &'static str, &'static [(Ask, Told)]);

const CASES: &[Case] = &[
    ("admit", "three", &[(Hit(1), Left(2)), (Hit(2), Left(0))]),
    (
        "deny",
        "three",
        &[(Hit(2), Left(1)), (Hit(2), Denied), (Hit(1), Left(0))],
    ),
    (
        "spent",
        "three",
        &[(Hit(3), Left(0)), (Hit(1), Denied), (Hit(1), Denied)],
    ),
    (
        "peek",
        "three",
        &[(Peek, Left(3)), (Hit(1), Left(2)), (Peek, Left(2))],
    ),
    (
        "refund",
        "three",
        &[(Hit(3), Left(0)), (Refund(2), Left(2)), (Hit(2), Left(0))],
    ),
    (
        "refund in vain",
        "three",
        &[(Refund(1), Left(3)), (Hit(3), Left(0))],
    ),
    (
        "never",
        "three",
        &[(Hit(4), NeverConforms), (Hit(3), Left(0))],
    ),
    ("unknown", "none", &[(Hit(1), UnknownLimit)]),
    (
        "fails closed",
        "closed",
        &[(Hit(1), NoDecision), (Hit(3), NoDecision)],
    ),
    ("fails open", "open", &[(Hit(1), Open), (Hit(3), Open)]),
];

/// Every way to ask `node`.
fn ways(runtime: &Runtime, node: &Node) -> Vec<Box<dyn Way>> {
    let handle = runtime.handle();
    let http = node.http().unwrap();
    let remote = Remote::new([format!("http://{http}")]).unwrap();
    vec![
        Box::new(Http(http)),
        Box::new(Redis(node.redis().unwrap())),
        Box::new(Grpc::connect(handle, node.grpc().unwrap())),
        Box::new(Program::new("node", handle, node.clone())),
        Box::new(Program::new("remote", handle, remote.clone())),
        Box::new(Layer::new("layer on a node", handle, node.clone())),
        Box::new(Layer::new("layer on remote", handle, remote)),
    ]
}

/// Plays a case, up to what cannot be asked that way.
#[track_caller]
fn check(way: &dyn Way, (case, limit, key): (&str, &str, &str), steps: &[(Ask, Told)]) {
    for &(ask, expected) in steps {
        let Some(told) = way.ask(limit, key, ask) else {
            return;
        };
        let same = told == way.words(expected);
        assert!(
            same,
            "{case}, by {}: {ask:?} was told {told:?}, not {expected:?}",
            way.name()
        );
    }
}

fn builder(name: &str) -> Builder {
    let builder = Node::builder().name(name).cookie("fronts");
    builder.limits(LIMITS).unwrap()
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not seen: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A node that is asked in every way.
fn anna(runtime: &Runtime) -> Node {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let anna = builder("anna").http(any).redis(any).grpc(any);
    runtime.block_on(anna.start()).unwrap()
}

#[test]
fn every_way_tells_the_same_of_the_same() {
    let runtime = runtime();
    let anna = anna(&runtime);
    for way in ways(&runtime, &anna) {
        for &(case, limit, steps) in CASES {
            let key = format!("{} {case}", way.name());
            check(&*way, (case, limit, &key), steps);
        }
    }
    // In whatever way it is asked, it is one count.
    for (used, way) in (1..).zip(ways(&runtime, &anna).iter().take(3)) {
        check(
            &**way,
            ("one count", "three", "shared"),
            &[(Hit(1), Left(3 - used))],
        );
    }
    for way in ways(&runtime, &anna) {
        check(&*way, ("one count", "three", "shared"), &[(Hit(1), Denied)]);
    }
    runtime.block_on(anna.stop());
}

/// The node that counts ends with its runtime, without a word to anybody: as with its process.
#[test]
fn what_was_counted_outlives_the_owner_in_every_way() {
    let (runtime, carls) = (runtime(), runtime());
    let anna = anna(&runtime);
    let carl = builder("carl").join(anna.cluster().to_string());
    let carl = carls.block_on(carl.start()).unwrap();
    let http = anna.http().unwrap();
    until(
        "each owns some of the shards, and holds a copy of the others",
        || {
            let cluster = get(http, "/v1/cluster");
            let members = cluster["members"].as_array().unwrap();
            let own = members.iter().filter(|it| it["shards"].as_u64() != Some(0));
            own.count() == 2 && cluster["unsettled_shards"] == 0
        },
    );
    let owner = |key: &str| {
        let path = format!("/v1/owner?limit=three&key={key}");
        get(http, &path)["owner"].as_str().map(str::to_owned)
    };
    let carls_key = |way: &dyn Way| {
        let name = way.name().replace(' ', "-");
        let mut keys = (0..).map(|number| format!("{name}-{number}"));
        keys.find(|key| owner(key).as_deref() == Some("carl"))
            .unwrap()
    };
    let asked: Vec<_> = ways(&runtime, &anna)
        .into_iter()
        .map(|way| (carls_key(&*way), way))
        .collect();
    for (key, way) in &asked {
        check(&**way, ("before", "three", key), &[(Hit(1), Left(2))]);
    }
    carls.shutdown_background();
    until("anna owns what carl did", || {
        asked
            .iter()
            .all(|(key, _)| owner(key).as_deref() == Some("anna"))
    });
    for (key, way) in &asked {
        let steps = [(Hit(1), Left(1)), (Hit(1), Left(0)), (Hit(1), Denied)];
        check(&**way, ("after", "three", key), &steps);
    }
    runtime.block_on(anna.stop());
    drop(carl);
}
