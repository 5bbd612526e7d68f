//! Nodes in a program: this one.

mod asks;
mod leaves_nothing;
mod listeners;
mod redis;
#[path = "../../../coordinator-redis/tests/redis/server.rs"]
mod redis_server;
mod reload;

use std::time::Duration;

use client::{Algorithm, Counted, Error, Key, Limits as _, Operation, Remote, Rule, Strategy};
use node::{Builder, Node};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

const MINUTE: Duration = Duration::from_secs(60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const LIMITS: &str = r#"
    [cluster]
    ack = "replicated"

    [[limit]]
    name = "login"
    algorithm = "gcra"
    limit = 5
    per = "1h"
"#;

fn builder(name: &str, cookie: &str) -> Builder {
    let builder = Node::builder().name(name).cookie(cookie);
    builder.limits(LIMITS).unwrap()
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("not seen: {what}"));
}

/// Two nodes of one cluster.
async fn pair(cookie: &str) -> (Node, Node) {
    let anna = builder("anna", cookie).start().await.unwrap();
    let bert = builder("bert", cookie).join(anna.cluster().to_string());
    let bert = bert.start().await.unwrap();
    until("both", async || anna.members() == 2 && bert.members() == 2).await;
    (anna, bert)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_asks_a_limit_of_the_file_and_any_node_counts_it() {
    let (anna, bert) = pair("file").await;
    let [annas, berts] = [&anna, &bert].map(|node| node.limit("login").unwrap());
    let pass = annas.key("u1").cost(3).check().await.unwrap().unwrap();
    assert_eq!((pass.limit, pass.remaining), (5, 2));
    assert_eq!(berts.key("u1").peek().await.unwrap().remaining, 2);
    let limited = berts.key("u1").cost(3).check().await.unwrap().unwrap_err();
    assert!(
        Duration::from_secs(600) < limited.retry_after,
        "{limited:?}"
    );
    assert_eq!(berts.key("u1").cost(2).refund().await.unwrap().remaining, 4);
    annas.key("u1").reset().await.unwrap();
    assert_eq!(berts.key("u1").peek().await.unwrap().remaining, 5);

    let never = annas.key("u1").cost(6).check().await.unwrap_err();
    assert_eq!(never, Error::NeverConforms { cost: 6 });
    assert!(matches!(
        annas.key("").check().await,
        Err(Error::Invalid { .. })
    ));
    assert!(matches!(
        anna.limit("none"),
        Err(Error::UnknownLimit { .. })
    ));
    for node in [anna, bert] {
        node.stop().await;
        let stopped = node.limit("login").unwrap().key("u1").check().await;
        assert_eq!(stopped.unwrap_err().counted(), Counted::No);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn allow_and_check_rate_are_rules_that_all_nodes_share() {
    let (anna, bert) = pair("rules").await;
    let key = ("user", "user123");
    assert!(anna.allow(key, MINUTE).await.unwrap().is_ok());
    let limited = bert.allow(key, MINUTE).await.unwrap().unwrap_err();
    assert!(limited.retry_after <= MINUTE && Duration::from_secs(20) < limited.retry_after);
    // Another period is another rule, and the text of the key is what others see.
    assert!(bert.allow(key, 2 * MINUTE).await.unwrap().is_ok());
    assert!(bert.allow("user:user123", MINUTE).await.unwrap().is_err());

    // A window of a year: it ends in no run of this test but one.
    let scale = YEAR;
    for left in [7, 4, 1] {
        let pass = anna.check_rate("login:ada", scale, 10, 3).await.unwrap();
        assert_eq!(pass.unwrap().remaining, left);
    }
    assert!(
        bert.check_rate("login:ada", scale, 10, 3)
            .await
            .unwrap()
            .is_err()
    );
    let refused = bert.check_rate("login:ada", Duration::ZERO, 10, 3).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    let local = bert.check_rate_by(Strategy::Local, "x", scale, 10, 3).await;
    assert!(matches!(local, Err(Error::Unsupported { .. })), "{local:?}");
    for node in [anna, bert] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_together_is_answered_in_order_each_for_itself() {
    let (anna, bert) = pair("together").await;
    let login = bert.limit("login").unwrap();
    let [ada, bob] = ["ada", "bob"].map(|key| Key::new(key).unwrap());
    let ask = async |questions: &[(&Key<'_>, Operation)]| {
        let questions: Vec<_> = questions
            .iter()
            .map(|&(key, operation)| (login.found(), key, operation))
            .collect();
        bert.ask_all(&questions).await
    };
    let hits = [
        (&ada, Operation::Hit(3)),
        (&bob, Operation::Hit(6)),
        (&ada, Operation::Hit(3)),
        (&bob, Operation::Hit(1)),
        (&ada, Operation::Hit(0)),
    ];
    let answers = ask(&hits).await;
    let stands = answers.iter().map(|answer| match answer {
        Ok(answer) => Ok((answer.allowed, answer.remaining)),
        Err(error) => Err(error.clone()),
    });
    let never = Error::NeverConforms { cost: 6 };
    let expected = [
        Ok((true, 2)),
        Err(never),
        Ok((false, 2)),
        Ok((true, 4)),
        Ok((true, 2)),
    ];
    assert_eq!(stands.collect::<Vec<_>>(), expected);

    // A refund among them.
    let answers = ask(&[(&ada, Operation::Refund(3)), (&bob, Operation::Hit(1))]).await;
    let left = answers
        .iter()
        .map(|answer| answer.as_ref().unwrap().remaining);
    assert_eq!(left.collect::<Vec<_>>(), [5, 3]);

    for node in [&anna, &bert] {
        node.stop().await;
    }
    let answers = ask(&hits).await;
    let counted = answers
        .into_iter()
        .map(|answer| answer.unwrap_err().counted());
    assert_eq!(counted.collect::<Vec<_>>(), [Counted::No; 5]);
}

/// One by text, one by value, which takes the place of that of the same name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_may_be_a_value() {
    let rule = |units| Rule::new(Algorithm::Gcra, units, MINUTE).unwrap();
    let anna = builder("anna", "values").limit("import", rule(7));
    let anna = anna.limit("login", rule(2)).start().await.unwrap();
    for (name, units) in [("import", 7), ("login", 2)] {
        let pass = anna.limit(name).unwrap().key("x").check().await.unwrap();
        assert_eq!(pass.unwrap().remaining, units - 1);
    }
    anna.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_may_be_counted_by_every_node_for_itself() {
    let anna = builder("anna", "local").strategy(Strategy::Local);
    let anna = anna.start().await.unwrap();
    let rule = Rule::new(Algorithm::Gcra, 2, MINUTE).unwrap();
    let limit = anna.limit_of(rule.by(Strategy::Local)).unwrap();
    for is_allowed in [true, true, false] {
        assert_eq!(limit.key("x").check().await.unwrap().is_ok(), is_allowed);
    }
    // Another strategy keeps counts of its own.
    let owners = anna.limit_of(rule).unwrap();
    assert!(owners.key("x").check().await.unwrap().is_ok());
    // And what Hammer calls a rate, in a window of a year: it ends in no run of this test but one.
    for is_allowed in [true, false] {
        let told = anna.check_rate_by(Strategy::Local, "y", YEAR, 3, 2).await;
        assert_eq!(told.unwrap().is_ok(), is_allowed);
    }
    anna.stop().await;
}

#[tokio::test]
async fn what_a_node_is_told_is_checked() {
    let start = |builder: Builder| async { builder.start().await.err().unwrap().to_string() };
    assert!(start(builder("a b", "c")).await.contains("a b"));
    assert!(start(builder("a", " ")).await.contains("cookie"));
    let rule = Rule::new(Algorithm::Gcra, 2, MINUTE).unwrap();
    let misnamed = builder("a", "c").limit("a b", rule);
    assert!(start(misnamed).await.contains("no limit can be called"));
    assert!(
        start(builder("a", "c").join("nowhere"))
            .await
            .contains("nowhere")
    );
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = builder("a", "c").cluster(held.local_addr().unwrap());
    assert!(start(taken).await.contains("in use"));
    let problems = Node::builder().limits("[[limit]]\nname = 1\n").unwrap_err();
    assert!(
        problems.lines()[0].starts_with("limits:2: limit[0].name"),
        "{problems}"
    );
    assert!(Node::builder().limits("[node]\nname = \"a\"\n").is_err());
}

/// What is asked over HTTP and what is asked in the program are one count: of limits, of rules, of keys in parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_program_meets_the_same_counts() {
    let anna = builder("anna", "remote").http("127.0.0.1:0".parse().unwrap());
    let anna = anna.api_token("s3cret").start().await.unwrap();
    let remote = Remote::new([format!("http://{}", anna.http().unwrap())]).unwrap();
    let stranger = remote.clone().allow("x", MINUTE).await;
    assert!(
        matches!(stranger, Err(Error::Unauthorized { .. })),
        "{stranger:?}"
    );
    let remote = remote.with_api_token("s3cret").unwrap();

    let key = ("user", "a:b");
    assert!(remote.allow(key, MINUTE).await.unwrap().is_ok());
    assert!(anna.allow(key, MINUTE).await.unwrap().is_err());
    let scale = YEAR;
    assert!(anna.check_rate("ada", scale, 3, 2).await.unwrap().is_ok());
    assert!(
        remote
            .check_rate("ada", scale, 3, 2)
            .await
            .unwrap()
            .is_err()
    );

    let (here, there) = (anna.limit("login").unwrap(), remote.limit("login").unwrap());
    assert!(there.key("u/1?").cost(3).check().await.unwrap().is_ok());
    let (seen, told) = (
        here.key("u/1?").peek().await.unwrap(),
        there.key("u/1?").peek().await.unwrap(),
    );
    assert_eq!((seen.remaining, told.remaining), (2, 2));
    assert_eq!((seen.per, seen.limit), (told.per, told.limit));
    assert_eq!(there.key("u/1?").refund().await.unwrap().remaining, 3);
    there.key("u/1?").reset().await.unwrap();
    assert_eq!(here.key("u/1?").peek().await.unwrap().remaining, 5);
    let refused = [
        here.key("x").cost(6).check().await,
        there.key("x").cost(6).check().await,
    ];
    assert_eq!(refused[0], refused[1]);
    assert!(matches!(
        there.key("").check().await,
        Err(Error::Invalid { .. })
    ));
    let unknown = remote.limit("none").unwrap().key("x").check().await;
    assert_eq!(
        unknown,
        Err(Error::UnknownLimit {
            name: "none".to_owned()
        })
    );
    anna.stop().await;
}

/// A node whose seeds are silent would look for them for ever under a quorum.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_still_joining_can_be_stopped() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let quorum = Node::builder().name("a").cookie("c");
    let quorum = quorum
        .limits("[cluster]\npartition = \"quorum\"\n")
        .unwrap();
    let node = quorum
        .join(silent.local_addr().unwrap().to_string())
        .open()
        .unwrap();
    let joined = tokio::spawn({
        let node = node.clone();
        async move { node.joined().await }
    });
    tokio::task::yield_now().await;
    tokio::time::timeout(PATIENCE, node.stop()).await.unwrap();
    assert!(joined.await.unwrap().is_err());
}

/// What two nodes in one process count is told apart, and nothing of it goes to the recorder of the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_has_metrics_of_its_own() {
    let strays = node::Metrics::prometheus();
    // The only test of this process that looks at it.
    metrics::set_global_recorder(strays.recorder()).unwrap();
    let (anna, bert) = pair("metrics").await;
    for _ in 0..3 {
        let hit = anna.limit("login").unwrap();
        hit.key("u1").check().await.unwrap().unwrap();
    }
    let counted = |node: &Node| {
        let text = node.metrics();
        let allowed = text.lines().find(|line| {
            let is_it = ["weir_decisions_total", "program", "\"allow\"", "\"owner\""];
            is_it.iter().all(|word| line.contains(word))
        });
        let number = allowed.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        number.unwrap_or_default()
    };
    assert_eq!((counted(&anna), counted(&bert)), (3, 0));
    assert!(
        anna.metrics().contains("weir_members 2"),
        "{}",
        anna.metrics()
    );
    for node in [anna, bert] {
        node.stop().await;
    }
    let strays = strays.text();
    let strays: Vec<_> = strays
        .lines()
        .filter(|line| line.starts_with("weir_"))
        .collect();
    assert!(strays.is_empty(), "{strays:#?}");
}
