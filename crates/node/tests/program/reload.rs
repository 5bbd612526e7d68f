//! What a program's node is told anew while it runs.

use node::NotReloaded;

use super::{LIMITS, builder, pair, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_that_were_found_before_are_as_they_are_now() {
    let (anna, bert) = pair("reload").await;
    let login = anna.limit("login").unwrap();
    let left = async || login.key("u1").peek().await.unwrap().remaining;
    login.key("u1").cost(3).check().await.unwrap().unwrap();
    assert_eq!(left().await, 2);
    let ten = LIMITS.replace("limit = 5", "limit = 10");
    let changes = anna.replace_limits(&ten).await.unwrap();
    assert_eq!(changes, ["limit login: limit 5 → 10"]);
    assert_eq!(left().await, 7);
    // The other node has its own, and each says that they differ.
    let theirs = bert.limit("login").unwrap();
    assert_eq!(theirs.key("u1").peek().await.unwrap().remaining, 2);
    let in_login = |says| {
        format!(
            r#"weir_config_differs_in{{section="[[limit]]",name="login",nodes="anna, bert"}} {says}"#
        )
    };
    for node in [&anna, &bert] {
        until("it is told", async || {
            let metrics = node.metrics();
            metrics.contains("weir_config_differs 1") && metrics.contains(&in_login(1))
        })
        .await;
    }
    bert.replace_limits(&ten).await.unwrap();
    for node in [&anna, &bert] {
        until("it has ended", async || {
            let metrics = node.metrics();
            metrics.contains("weir_config_differs 0") && metrics.contains(&in_login(0))
        })
        .await;
    }

    let wrong = anna.replace_limits("[[limit]]\nname = 1").await;
    assert!(matches!(wrong, Err(NotReloaded::Wrong(lines)) if 1 < lines.len()));
    let restart = anna
        .replace_limits(&ten.replace("replicated", "fast"))
        .await;
    assert_eq!(
        restart,
        Err(NotReloaded::NeedsRestart(vec!["cluster.ack".to_owned()]))
    );
    assert_eq!(anna.reload().await, Err(NotReloaded::NoFile));
    assert_eq!(left().await, 7);
    // A strategy that the node did not start with.
    let local = ten.clone() + "strategy = \"local\"";
    anna.replace_limits(&local).await.unwrap();
    assert!(login.key("u2").check().await.unwrap().is_ok());
    bert.stop().await;
    anna.stop().await;
    assert_eq!(anna.replace_limits(&ten).await, Err(NotReloaded::Stopping));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_reads_the_file_again_is_asked_each_time() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    let limit = Arc::new(AtomicU32::new(5));
    let said = Arc::clone(&limit);
    let node = builder("anna", "again").read_again(move || {
        let now = format!("limit = {}", said.load(Ordering::Relaxed));
        let text = LIMITS.replace("limit = 5", &now);
        let source = node::config::Source {
            name: "f",
            text: &text,
        };
        Ok((node::config::Config::parse(source)?, Vec::new()))
    });
    let node = node.start().await.unwrap();
    assert_eq!(node.reload().await, Ok(Vec::new()));
    limit.store(8, Ordering::Relaxed);
    assert_eq!(
        node.reload().await,
        Ok(vec!["limit login: limit 5 → 8".to_owned()])
    );
    let login = node.limit("login").unwrap();
    assert_eq!(login.key("u1").peek().await.unwrap().limit, 8);
    limit.store(0, Ordering::Relaxed);
    assert!(matches!(node.reload().await, Err(NotReloaded::Wrong(_))));
    assert_eq!(login.key("u1").peek().await.unwrap().limit, 8);
    node.stop().await;
}
