//! Redis servers that cannot be used: found at start, each told as what it is.

use coordinator::FailMode;
use coordinator_redis::{BreakerState, ConnectError, RedisConfig, RedisCoordinator, Servers};
use quota::Algorithm;

use crate::fixture::{
    FALLBACK_REMAINING, Fallback, config, config_of, daily, hit, wait_until_breaker_is,
};
use crate::server::{Server, free_port, wait_until};

async fn refusal(config: RedisConfig) -> ConnectError {
    let connected = RedisCoordinator::connect(config, Fallback::default()).await;
    connected.expect_err("that Redis cannot be used")
}

fn one(url: &str) -> RedisConfig {
    config_of(Servers::One(url.into()))
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let error = refusal(one(&format!("redis://127.0.0.1:{}", free_port()))).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    let error = refusal(one("redis://no-such-host.invalid")).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    let nodes = vec![format!("redis://127.0.0.1:{}", free_port())];
    let error = refusal(config_of(Servers::Cluster(nodes))).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn something_that_is_no_redis_is_refused() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let web_server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.writable().await.unwrap();
            let _ = stream.try_write(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let error = refusal(one(&url)).await;
    assert!(error.to_string().contains("redis at") || error.to_string().contains("cannot reach"));
    web_server.abort();
}

#[tokio::test]
async fn a_wrong_password_is_unauthorized() {
    let port = free_port();
    let _server = Server::start_with(&["--port", &port.to_string(), "--requirepass", "opensesame"]);
    for userinfo in ["", ":wrong@", "nobody:opensesame@"] {
        let error = refusal(one(&format!("redis://{userinfo}127.0.0.1:{port}"))).await;
        assert!(
            matches!(error, ConnectError::Unauthorized { .. }),
            "{userinfo}: {error}"
        );
        assert!(!error.to_string().contains("wrong@"), "{error}");
    }
}

#[tokio::test]
async fn a_user_who_may_not_run_scripts_is_unauthorized() {
    let port = free_port();
    let server = Server::start_with(&["--port", &port.to_string()]);
    server.cli(&[
        "ACL",
        "SETUSER",
        "weir",
        "on",
        ">pw",
        "~*",
        "+@all",
        "-@scripting",
    ]);
    let error = refusal(one(&format!("redis://weir:pw@127.0.0.1:{port}"))).await;
    assert!(
        matches!(error, ConnectError::Unauthorized { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_read_only_replica_is_told_as_one() {
    let port = free_port();
    let _master = Server::start_with(&["--port", &port.to_string()]);
    let replica = Server::start_with(&["--replicaof", &format!("127.0.0.1 {port}")]);
    // Until it has synchronised with its master it may still be loading.
    wait_until("the replica is up", || {
        replica
            .cli(&["INFO", "replication"])
            .contains("master_link_status:up")
            .then_some(())
    });
    let error = refusal(config(&replica)).await;
    assert!(matches!(error, ConnectError::ReadOnly { .. }), "{error}");
}

#[tokio::test]
async fn a_redis_without_memory_is_told_as_one() {
    let server = Server::start_with(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    let error = refusal(config(&server)).await;
    assert!(matches!(error, ConnectError::OutOfMemory { .. }), "{error}");
}

#[tokio::test]
async fn starting_without_redis_answers_by_fail_mode_until_it_is_there() {
    let mut server = Server::start();
    server.kill();
    let fallback = Fallback::default();
    let config = config(&server).with_start_without_redis(true);
    let redis = RedisCoordinator::connect(config, fallback.clone())
        .await
        .unwrap();
    assert_ne!(redis.health().breaker, BreakerState::Closed);
    assert!(redis.health().last_failure.is_some());

    let mut policy = daily(Algorithm::Gcra, 5);
    assert!(hit(&redis, &policy, "k").await.unwrap_err().is_uncounted());
    policy.on_failure = FailMode::Allow;
    assert!(hit(&redis, &policy, "k").await.unwrap().by_fail_mode);
    policy.on_failure = FailMode::Owner;
    let told = hit(&redis, &policy, "k").await.unwrap();
    assert_eq!(
        (told.decision.remaining, fallback.asked()),
        (FALLBACK_REMAINING, 1)
    );

    server.start_again();
    wait_until_breaker_is(&redis, BreakerState::Closed).await;
    let told = hit(&redis, &policy, "k").await.unwrap();
    assert_eq!((told.decision.remaining, fallback.asked()), (4, 1));
}
