//! Nodes that are killed and started again, one after the other.

use std::time::Duration;

use coordinator::{Coordinator as _, FailMode};
use quota::{Algorithm, Cost};
use simulator::raft::{Node, World, limit, policy};

/// What is left of a hundred, if `node` decides within its patience.
async fn remaining(node: &Node) -> Option<u32> {
    let policy = policy(limit(Algorithm::FixedWindow, 100), FailMode::Deny);
    let peeked = node.hit(&policy, "k", Cost::PEEK).await;
    peeked.ok().map(|answer| answer.decision.remaining)
}

async fn with_six_taken() -> World {
    let world = World::of(&["a", "b", "c"]).await;
    let policy = policy(limit(Algorithm::FixedWindow, 100), FailMode::Deny);
    let told = world.node("a").hit(&policy, "k", Cost::new(6)).await;
    assert!(told.unwrap().decision.is_allowed());
    world
}

/// The voters still named the first one's earlier incarnation when the second one fell. The first one had never met it, so it
/// did not believe that a majority was gone; the survivor did, and left it to the first one, whose log was as long and whose
/// name is lower, to form the group anew. Each waited for the other, for good, and all said that they were ready.
#[tokio::test(start_paused = true)]
async fn whichever_falls_after_which_and_whenever_the_rest_goes_on_with_what_was_counted() {
    for first in ["a", "b", "c"] {
        for second in ["a", "b", "c"].into_iter().filter(|name| *name != first) {
            for gap in (0..1_200).step_by(400) {
                let mut world = with_six_taken().await;
                world.kill(first).await;
                world.start(first);
                tokio::time::sleep(Duration::from_millis(gap)).await;
                world.kill(second).await;
                world.start(second);
                let case = format!("{first}, {gap} ms later {second}");
                world
                    .until(&case, |world| {
                        world.agree_on(3) && world.statuses().iter().all(|it| it.decides)
                    })
                    .await;
                assert_eq!(remaining(&world.node("c")).await, Some(94), "{case}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_until_all_are_ready_never_takes_the_majority() {
    let mut world = with_six_taken().await;
    let group = world.node("a").status().group;
    for name in ["a", "b", "c", "a"] {
        world.kill(name).await;
        world.start(name);
        assert!(!world.node(name).status().settled, "it has no vote yet");
        world
            .until("all are ready", |world| {
                world.statuses().iter().all(|it| it.settled && it.decides)
            })
            .await;
        assert!(world.node(name).status().voters.contains(&world.id(name)));
    }
    assert_eq!(world.node("b").status().group, group);
    assert_eq!(remaining(&world.node("b")).await, Some(94));
}

#[tokio::test(start_paused = true)]
async fn a_node_says_that_its_group_does_not_decide() {
    let mut world = with_six_taken().await;
    world.kill("a").await;
    world.kill("b").await;
    world
        .until("c knows", |world| !world.node("c").status().decides)
        .await;
    world.start("a");
    world.start("b");
    world
        .until("all do", |world| {
            world.statuses().iter().all(|it| it.decides)
        })
        .await;
}
