//! A batch has one deadline, however many turns its hits take.

use coordinator::{Hit, NoDecision};

use super::*;

/// Three times as many as are on their way at once.
const HITS: usize = 3_072;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_its_turn_after_the_deadline_of_its_batch_is_not_asked_any_more() {
    let node = start("one", "batches", &[]).await;
    let policy = five();
    let keys: Vec<String> = (0..HITS).map(|number| format!("key {number}")).collect();
    let hit = |key| Hit {
        policy: &policy,
        key,
        cost: Cost::ONE,
    };
    let hits: Vec<Hit<'_>> = keys.iter().map(|key| hit(key)).collect();
    let passed = node.inner.clock.now().boot;
    for told in node.hits_until(&hits, passed).await {
        assert!(
            matches!(told, Err(NoDecision::Unavailable { .. })),
            "{told:?}"
        );
    }
    for told in node.hits(&hits).await {
        assert_eq!(told.unwrap().decision.remaining, 4, "counted once");
    }
    node.stop().await;
}
