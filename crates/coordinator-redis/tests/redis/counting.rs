//! What a Redis that works counts.

use std::time::{Duration, Instant};

use coordinator::{Coordinator as _, FailMode, Hit};
use coordinator_redis::{RedisCoordinator, Servers};
use quota::{Algorithm, Cost, Limit, Nanos, Verdict};

use crate::fixture::{Fallback, admitted, config_of, connected, daily, hit, policy};
use crate::server::{Server, free_port, wait_until};

#[tokio::test]
async fn every_algorithm_counts_hits_refunds_and_resets() {
    let server = Server::start();
    let redis = connected(&server).await;
    for algorithm in Algorithm::ALL {
        let policy = daily(algorithm, 5);
        let told = redis.hit(&policy, "k", Cost::new(4)).await.unwrap();
        assert_eq!(
            (told.decision.is_allowed(), told.decision.remaining),
            (true, 1)
        );
        assert!(!told.by_fail_mode);
        let told = redis.hit(&policy, "k", Cost::new(2)).await.unwrap();
        assert!(
            matches!(told.decision.verdict, Verdict::Deny { .. }),
            "{algorithm}"
        );
        let told = redis.hit(&policy, "k", Cost::new(6)).await.unwrap();
        assert_eq!(told.decision.verdict, Verdict::NeverConforms, "{algorithm}");
        let told = redis.hit(&policy, "k", Cost::PEEK).await.unwrap();
        assert_eq!(
            (told.decision.is_allowed(), told.decision.remaining),
            (true, 1)
        );
        let told = redis.refund(&policy, "k", Cost::new(2)).await.unwrap();
        assert_eq!(told.decision.remaining, 3, "{algorithm}");
        redis.reset(&policy, "k").await.unwrap();
        let told = redis.hit(&policy, "k", Cost::PEEK).await.unwrap();
        assert_eq!(told.decision.remaining, 5, "{algorithm}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_callers_admit_exactly_the_limit() {
    let server = Server::start();
    let redis = connected(&server).await;
    for algorithm in Algorithm::ALL {
        let policy = daily(algorithm, 1_000);
        let admitted = admitted(&redis, &policy, 64, 50).await;
        assert_eq!(admitted, 1_000, "{algorithm}");
    }
}

#[tokio::test]
async fn two_nodes_count_together() {
    let server = Server::start();
    let (a, b) = (connected(&server).await, connected(&server).await);
    let policy = daily(Algorithm::Gcra, 3);
    let mut left = Vec::new();
    for redis in [&a, &b, &a] {
        left.push(hit(redis, &policy, "k").await.unwrap().decision.remaining);
    }
    assert_eq!(left, [2, 1, 0]);
    assert!(!hit(&b, &policy, "k").await.unwrap().decision.is_allowed());
}

#[tokio::test]
async fn a_batch_is_answered_in_its_order_and_counts_each_counter_in_turn() {
    let server = Server::start();
    let redis = connected(&server).await;
    let policy = daily(Algorithm::SlidingLog, 300);
    let hits = (0..900).map(|i| Hit {
        policy: &policy,
        key: ["a", "b", "c"][i % 3],
        cost: Cost::ONE,
    });
    let hits: Vec<_> = hits.collect();
    let told = redis.hits(&hits).await;
    let left: Vec<_> = told
        .iter()
        .map(|told| told.unwrap().decision.remaining)
        .collect();
    let expected: Vec<_> = (0..900).map(|i| 299 - i / 3).collect();
    assert_eq!(left, expected);
}

#[tokio::test]
async fn no_key_can_be_read_in_redis_and_every_one_expires() {
    let server = Server::start();
    let redis = connected(&server).await;
    for algorithm in Algorithm::ALL {
        hit(&redis, &daily(algorithm, 5), "customer@example.org")
            .await
            .unwrap();
    }
    let keys = server.cli(&["KEYS", "weir:{*}"]);
    assert_eq!(keys.lines().count(), 5);
    assert!(!server.cli(&["KEYS", "*"]).contains("customer"));
    for key in keys.lines() {
        let left: i64 = server.cli(&["PTTL", key]).parse().unwrap();
        assert!(0 < left, "{key} stays for {left} ms");
    }
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, 5, Nanos::from_millis(1));
        hit(&redis, &policy, "short-lived").await.unwrap();
    }
    wait_until("what is full again is gone", || {
        (server.cli(&["KEYS", "weir:{*}"]).lines().count() == 5).then_some(())
    });
}

#[tokio::test]
async fn units_come_back_by_the_clock_of_redis() {
    let server = Server::start();
    let redis = connected(&server).await;
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, 2, Nanos::from_millis(200));
        redis.hit(&policy, "k", Cost::new(2)).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let told = hit(&redis, &policy, "k").await.unwrap();
            let Verdict::Deny { retry_after } = told.decision.verdict else {
                break;
            };
            // A sliding counter weighs a window for two.
            assert!(
                retry_after <= Nanos::from_millis(400),
                "{algorithm}: {retry_after}"
            );
            assert!(Instant::now() < deadline, "{algorithm}: nothing came back");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_limit_takes_the_units_over_whoever_is_first() {
    let server = Server::start();
    let redis = connected(&server).await;
    let before = daily(Algorithm::FixedWindow, 500);
    assert_eq!(admitted(&redis, &before, 8, 50).await, 400);
    let mut after = before.clone();
    after.limit = Limit::new(Algorithm::SlidingLog, 1_000, Nanos::from_secs(86_400)).unwrap();
    assert_eq!(admitted(&redis, &after, 64, 20).await, 600);
}

#[tokio::test]
async fn a_value_that_is_no_state_of_ours_ends_in_no_decision() {
    let server = Server::start();
    let redis = connected(&server).await;
    let policy = daily(Algorithm::Gcra, 5);
    hit(&redis, &policy, "k").await.unwrap();
    let key = server.cli(&["KEYS", "weir:{*}"]);
    server.cli(&["SET", &key, "nonsense"]);
    hit(&redis, &policy, "k").await.unwrap_err();
    server.cli(&["DEL", &key]);
    server.cli(&["LPUSH", &key, "nonsense"]);
    hit(&redis, &policy, "k").await.unwrap_err();
    let mut open = policy.clone();
    open.on_failure = FailMode::Allow;
    assert!(hit(&redis, &open, "k").await.unwrap().by_fail_mode);
}

#[tokio::test]
async fn a_password_and_a_database_of_the_url_are_used() {
    let port = free_port();
    let server = Server::start_with(&["--port", &port.to_string(), "--requirepass", "opensesame"]);
    let url = format!("redis://:opensesame@127.0.0.1:{port}/3");
    let redis = RedisCoordinator::connect(config_of(Servers::One(url)), Fallback::default())
        .await
        .unwrap();
    hit(&redis, &daily(Algorithm::Gcra, 5), "k").await.unwrap();
    let count = |database| server.cli(&["-a", "opensesame", "-n", database, "KEYS", "weir:{*}"]);
    assert_eq!(
        (count("0").lines().count(), count("3").lines().count()),
        (0, 1)
    );
}
