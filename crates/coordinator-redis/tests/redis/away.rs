//! A Redis that goes away, forgets or refuses while hits come in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use coordinator::{Coordinator as _, FailMode, NoDecision, Policy};
use coordinator_redis::{BreakerState, RedisCoordinator, Servers};
use quota::{Algorithm, Cost};

use crate::fixture::{
    FALLBACK_REMAINING, Fallback, Redis, config, config_of, connected, daily, hit,
    wait_until_breaker_is,
};
use crate::server::{Address, Server, wait_until};

/// Callers that hit until they are told to stop, and what they were told.
struct Load {
    stop: Arc<AtomicBool>,
    decided: Arc<AtomicUsize>,
    undecided: Arc<AtomicUsize>,
    callers: tokio::task::JoinSet<()>,
}

impl Load {
    fn start(redis: &Redis, policy: &Policy) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            decided: Arc::default(),
            undecided: Arc::default(),
            callers: tokio::task::JoinSet::new(),
        };
        for caller in 0..16 {
            let (redis, policy) = (redis.clone(), policy.clone());
            let (stop, decided, undecided) = (
                load.stop.clone(),
                load.decided.clone(),
                load.undecided.clone(),
            );
            load.callers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    match hit(&redis, &policy, &format!("key {caller}")).await {
                        Ok(_) => decided.fetch_add(1, Ordering::Relaxed),
                        Err(_) => {
                            tokio::task::yield_now().await;
                            undecided.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            });
        }
        load
    }

    fn undecided(&self) -> usize {
        self.undecided.load(Ordering::Relaxed)
    }

    async fn wait_for_decisions(&self, more: usize) {
        let (decided, from) = (self.decided.clone(), self.decided.load(Ordering::Relaxed));
        let waiting = tokio::task::spawn_blocking(move || {
            wait_until("hits are decided", || {
                (from + more <= decided.load(Ordering::Relaxed)).then_some(())
            });
        });
        waiting.await.unwrap();
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_scripts_and_counters_cost_no_decision() {
    let server = Server::start();
    let redis = connected(&server).await;
    let load = Load::start(&redis, &daily(Algorithm::SlidingLog, 10_000));
    for command in ["SCRIPT", "FLUSHALL", "SCRIPT", "FLUSHALL"] {
        load.wait_for_decisions(500).await;
        match command {
            "SCRIPT" => server.cli(&["SCRIPT", "FLUSH"]),
            _ => server.cli(&["FLUSHALL"]),
        };
    }
    load.wait_for_decisions(500).await;
    assert_eq!(load.undecided(), 0);
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_opens_the_breaker_and_a_restarted_one_closes_it() {
    let mut server = Server::start();
    let redis = connected(&server).await;
    let load = Load::start(&redis, &daily(Algorithm::Gcra, 1_000_000));
    for _ in 0..3 {
        load.wait_for_decisions(500).await;
        server.kill();
        wait_until_breaker_is_not_closed(&redis).await;
        assert_ne!(load.undecided(), 0);
        server.start_again();
        wait_until_breaker_is(&redis, BreakerState::Closed).await;
    }
    load.wait_for_decisions(500).await;
    load.stop().await;
}

async fn wait_until_breaker_is_not_closed(redis: &Redis) {
    let redis = redis.clone();
    let waiting = tokio::task::spawn_blocking(move || {
        wait_until("the breaker opens", || {
            (redis.health().breaker != BreakerState::Closed).then_some(())
        });
    });
    waiting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_redis_is_given_up_at_the_deadline_and_asked_again_when_it_goes_on() {
    let server = Server::start();
    let fallback = Fallback::default();
    let config = config(&server)
        .with_timeout(Duration::from_millis(300))
        .unwrap();
    let redis = RedisCoordinator::connect(config, fallback.clone())
        .await
        .unwrap();
    let policy = daily(Algorithm::Gcra, 1_000);
    // A first answer, for a machine that is slow with them.
    wait_for_a_decision(&redis, &policy).await;

    server.pause();
    // Far above the deadline, far below what a test waits.
    let answer = tokio::time::timeout(Duration::from_secs(20), hit(&redis, &policy, "k")).await;
    let error = answer.expect("the deadline holds").unwrap_err();
    assert!(matches!(error, NoDecision::Unknown { .. }), "{error}");
    wait_until_breaker_is_not_closed(&redis).await;
    let error = hit(&redis, &policy, "k").await.unwrap_err();
    assert!(matches!(error, NoDecision::Unavailable { .. }), "{error}");
    let mut by_owner = policy.clone();
    by_owner.on_failure = FailMode::Owner;
    let told = hit(&redis, &by_owner, "k").await.unwrap();
    assert_eq!(told.decision.remaining, FALLBACK_REMAINING);

    server.resume();
    wait_until_breaker_is(&redis, BreakerState::Closed).await;
    wait_for_a_decision(&redis, &policy).await;
}

async fn wait_for_a_decision(redis: &Redis, policy: &Policy) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while hit(redis, policy, "k").await.is_err() {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_hit_that_redis_refuses_for_want_of_memory_is_not_counted() {
    let server = Server::start();
    let redis = connected(&server).await;
    let policy = daily(Algorithm::Gcra, 1_000);
    hit(&redis, &policy, "k").await.unwrap();
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = hit(&redis, &policy, "k").await.unwrap_err();
    assert!(error.is_uncounted(), "{error}");
    for _ in 0..10 {
        let _ = hit(&redis, &policy, "k").await;
    }
    assert_ne!(redis.health().breaker, BreakerState::Closed);
    assert!(redis.health().last_failure.unwrap().contains("OOM"));

    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    wait_until_breaker_is(&redis, BreakerState::Closed).await;
    assert_eq!(
        hit(&redis, &policy, "k").await.unwrap().decision.remaining,
        998
    );
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_opens_the_breaker() {
    let server = Server::start();
    let redis = connected(&server).await;
    let policy = daily(Algorithm::FixedWindow, 1_000);
    // To a master that is not there: it keeps what it has, and takes no writes.
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    for _ in 0..10 {
        let _ = hit(&redis, &policy, "k").await;
    }
    assert_ne!(redis.health().breaker, BreakerState::Closed);
    server.cli(&["REPLICAOF", "NO", "ONE"]);
    wait_until_breaker_is(&redis, BreakerState::Closed).await;
    hit(&redis, &policy, "k").await.unwrap();
}

/// Behind one address: denied hits and peeks write nothing, so that the demoted server went on answering them, and each
/// such answer made the refusals before it forgotten. Its connection was kept for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_master_is_left_for_the_new_one_though_it_still_answers_what_writes_nothing() {
    let (old, new) = (Server::start(), Server::start());
    let address = Address::of(&old).await;
    let config = config_of(Servers::One(address.url()));
    let redis = RedisCoordinator::connect(config, Fallback::default()).await;
    let (redis, one) = (redis.unwrap(), daily(Algorithm::Gcra, 1));
    hit(&redis, &one, "spent").await.unwrap();

    old.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    address.lead_to(&new);
    let many = daily(Algorithm::FixedWindow, 1_000);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        for _ in 0..3 {
            let _ = hit(&redis, &one, "spent").await;
        }
        if hit(&redis, &many, "k").await.is_ok() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "still refused");
    }
    assert_ne!(new.cli(&["KEYS", "*{*"]).trim(), "", "the new one counts");
}

#[tokio::test]
async fn a_master_that_takes_no_writes_opens_the_breaker_though_it_answers_what_writes_nothing() {
    let server = Server::start();
    let redis = connected(&server).await;
    let (one, many) = (
        daily(Algorithm::Gcra, 1),
        daily(Algorithm::FixedWindow, 1_000),
    );
    hit(&redis, &one, "spent").await.unwrap();
    server.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    for _ in 0..10 {
        let denied = hit(&redis, &one, "spent").await;
        assert!(denied.is_ok() || redis.health().breaker != BreakerState::Closed);
        let error = hit(&redis, &many, "k").await.unwrap_err();
        assert!(error.is_uncounted(), "{error}");
    }
    assert_ne!(redis.health().breaker, BreakerState::Closed);
    assert!(redis.health().last_failure.unwrap().contains("NOREPLICAS"));
    server.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    wait_until_breaker_is(&redis, BreakerState::Closed).await;
    assert_eq!(
        hit(&redis, &many, "k").await.unwrap().decision.remaining,
        999
    );
}

#[tokio::test]
async fn a_counter_that_somebody_overwrote_fails_alone_until_it_is_reset() {
    let server = Server::start();
    let redis = connected(&server).await;
    let policy = daily(Algorithm::Gcra, 5);
    hit(&redis, &policy, "k").await.unwrap();
    let keys = server.cli(&["KEYS", "*{*"]);
    let key = keys.trim();
    server.cli(&["DEL", key]);
    server.cli(&["LPUSH", key, "something else"]);
    for _ in 0..20 {
        let error = hit(&redis, &policy, "k").await.unwrap_err();
        assert!(error.is_uncounted(), "{error}");
    }
    assert_eq!(redis.health().breaker, BreakerState::Closed);
    hit(&redis, &policy, "another").await.unwrap();
    redis.reset(&policy, "k").await.unwrap();
    assert_eq!(
        hit(&redis, &policy, "k").await.unwrap().decision.remaining,
        4
    );
}

#[tokio::test]
async fn an_idle_coordinator_finds_out_by_itself() {
    let mut server = Server::start();
    let redis = connected(&server).await;
    server.kill();
    wait_until_breaker_is_not_closed(&redis).await;
    server.start_again();
    wait_until_breaker_is(&redis, BreakerState::Closed).await;
    let policy = daily(Algorithm::Gcra, 5);
    assert_eq!(
        hit(&redis, &policy, "k").await.unwrap().decision.remaining,
        4
    );
}

#[tokio::test]
async fn refunds_and_resets_go_to_whoever_counts() {
    let mut server = Server::start();
    let fallback = Fallback::default();
    let connected = RedisCoordinator::connect(config(&server), fallback.clone()).await;
    let redis = connected.unwrap();
    let mut policy = daily(Algorithm::Gcra, 5);
    policy.on_failure = FailMode::Owner;
    redis.refund(&policy, "k", Cost::ONE).await.unwrap();
    assert_eq!(fallback.asked(), 0);
    server.kill();
    wait_until_breaker_is_not_closed(&redis).await;
    redis.refund(&policy, "k", Cost::ONE).await.unwrap();
    redis.reset(&policy, "k").await.unwrap();
    assert_eq!(fallback.asked(), 2);
    policy.on_failure = FailMode::Allow;
    redis.refund(&policy, "k", Cost::ONE).await.unwrap_err();
    redis.reset(&policy, "k").await.unwrap_err();
}

/// Its keeper and its connection once went on for as long as somebody held a clone.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_stopped_lets_go_of_redis_for_all_its_clones() {
    let server = Server::start();
    let redis = connected(&server).await;
    let kept = redis.clone();
    let daily = daily(Algorithm::Gcra, 5);
    assert!(hit(&kept, &daily, "a").await.is_ok());
    assert!(1 < server.connections());
    redis.stop().await;
    redis.stop().await;
    wait_until("only the one that asks is left", || {
        (server.connections() == 1).then_some(())
    });
    let asked = hit(&kept, &daily, "a").await;
    assert!(asked.is_err_and(|error| error.is_uncounted()));
}
