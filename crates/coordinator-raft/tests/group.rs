//! Who votes: the group forms, follows the members, and goes on without those that are gone.

use std::time::Duration;

use bytes::Bytes;
use coordinator::{Coordinator as _, FailMode, Hit, Policy};
use coordinator_raft::StartError;
use quota::{Algorithm, Cost};
use simulator::raft::{Node, World, limit, policy};

fn hundred() -> Policy {
    policy(limit(Algorithm::FixedWindow, 100), FailMode::Deny)
}

/// A hit of one unit on each key.
fn hits<'a>(policy: &'a Policy, keys: &'a [String]) -> Vec<Hit<'a>> {
    let hit = |key| Hit {
        policy,
        key,
        cost: Cost::ONE,
    };
    keys.iter().map(|key| hit(key)).collect()
}

async fn remaining(node: &Node, key: &str) -> u32 {
    let peeked = node.hit(&hundred(), key, Cost::PEEK).await.unwrap();
    peeked.decision.remaining
}

async fn take(node: &Node, key: &str, units: u32) {
    let told = node.hit(&hundred(), key, Cost::new(units)).await.unwrap();
    assert!(told.decision.is_allowed() && !told.by_fail_mode);
}

#[tokio::test(start_paused = true)]
async fn of_seven_nodes_five_vote_and_two_learn_and_one_group_was_formed() {
    let world = World::of(&["a", "b", "c", "d", "e", "f", "g"]).await;
    let status = world.node("a").status();
    let voters = ["a", "b", "c", "d", "e"].map(|name| world.id(name));
    assert_eq!(status.voters, voters, "the lowest names vote");
    assert_eq!(status.learners, ["f", "g"].map(|name| world.id(name)));
    let founder = format!("1@{:08x}", world.id("a"));
    assert_eq!(
        status.group,
        Some(founder),
        "the lowest name formed it, once"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_voter_is_replaced_by_a_learner_that_has_caught_up() {
    let mut world = World::of(&["a", "b", "c", "d"]).await;
    let dead = world.id("b");
    world.kill("b").await;
    world.until("d votes", |world| world.agree_on(3)).await;
    let status = world.node("d").status();
    assert!(!status.voters.contains(&dead) && status.voters.contains(&world.id("d")));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_is_another_one_that_learns_and_then_votes() {
    let mut world = World::of(&["a", "b", "c"]).await;
    take(&world.node("a"), "k", 40).await;
    let before = world.id("c");
    world.kill("c").await;
    world.until("two vote", |world| world.agree_on(2)).await;
    world.start("c");
    assert_ne!(world.id("c"), before);
    world.until("c votes", |world| world.agree_on(3)).await;
    // The other two gone, what c has is all there is.
    assert_eq!(remaining(&world.node("c"), "k").await, 60);
    assert!(world.node("c").status().voters.contains(&world.id("c")));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_hands_over_and_no_hit_waits_for_an_election() {
    let mut world = World::of(&["a", "b", "c"]).await;
    let leader = world.leader().unwrap();
    take(&world.node(&leader), "k", 10).await;
    let left = world.id(&leader);
    world.leave(&leader).await;
    let leaders: Vec<_> = world.statuses().iter().map(|it| it.leader).collect();
    assert!(
        leaders[0].is_some_and(|id| id != left) && leaders[0] == leaders[1],
        "somebody else leads already: {leaders:?}"
    );
    let node = world.nodes()[0].clone();
    let told = tokio::time::timeout(Duration::from_millis(500), remaining(&node, "k")).await;
    assert_eq!(told, Ok(90));
    world.until("it is gone", |world| world.agree_on(2)).await;
}

#[tokio::test(start_paused = true)]
async fn one_node_is_a_group_and_two_have_one_voter() {
    let mut world = World::of(&["a"]).await;
    take(&world.node("a"), "k", 1).await;
    world.start("b");
    world.until("b learns", |world| world.agree_on(1)).await;
    assert_eq!(world.node("b").status().learners, [world.id("b")]);
    assert_eq!(remaining(&world.node("b"), "k").await, 99);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_started_apart_become_one_group_which_keeps_what_the_older_counted() {
    let mut world = World::new(0);
    for name in ["a", "b", "c", "d", "e"] {
        world.start(name);
    }
    // c is first to be alone; a and b, with lower names, form theirs a moment later.
    world.split(&[&["a", "b"], &["c", "d", "e"]]);
    world
        .until("each side has its group", |world| {
            world
                .names()
                .iter()
                .all(|name| world.node(name).status().leader.is_some())
        })
        .await;
    let groups = ["a", "c"].map(|name| world.node(name).status().group.unwrap());
    assert_ne!(groups[0], groups[1]);
    take(&world.node("a"), "k", 30).await;
    take(&world.node("c"), "k", 50).await;
    world.heal();
    world
        .until("all are of one group", |world| world.agree_on(5))
        .await;
    let left = remaining(&world.node("e"), "k").await;
    assert!(
        left == 70 || left == 50,
        "{left} left: of one group, and not mixed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_that_started_alone_does_not_take_over_a_group_that_has_counted() {
    let mut world = World::of(&["b", "c", "d"]).await;
    let group = world.node("b").status().group;
    take(&world.node("b"), "k", 30).await;
    world.start("a");
    world.split(&[&["a"], &["b", "c", "d"]]);
    world
        .until("a is alone", |world| world.node("a").status().leads)
        .await;
    world.heal();
    world
        .until("a has come over", |world| world.agree_on(3))
        .await;
    assert_eq!(world.node("a").status().group, group);
    assert_eq!(remaining(&world.node("a"), "k").await, 70);
}

#[tokio::test(start_paused = true)]
async fn a_group_whose_voters_started_again_goes_on_with_what_the_survivor_knows() {
    let mut world = World::of(&["a", "b", "c"]).await;
    take(&world.node("a"), "k", 40).await;
    world.until("all have it", |world| world.agree_on(3)).await;
    world.kill("a").await;
    world.kill("b").await;
    let told = world.node("c").hit(&hundred(), "k", Cost::ONE).await;
    assert!(told.is_err(), "a minority decides nothing: {told:?}");
    world.start("a");
    world.start("b");
    world
        .until("they are a group again", |world| world.agree_on(3))
        .await;
    let group = world.node("a").status().group.unwrap();
    assert_eq!(group, format!("2@{:08x}", world.id("c")));
    assert_eq!(remaining(&world.node("b"), "k").await, 60);
}

#[tokio::test(start_paused = true)]
async fn a_late_learner_gets_a_snapshot_in_parts_and_the_log_has_been_cut() {
    let mut world = World::new(0);
    world.timings.log_bytes = 200_000;
    for name in ["a", "b", "c"] {
        world.start(name);
    }
    world.until("all vote", |world| world.agree_on(3)).await;
    let node = world.node("a");
    let policy = policy(limit(Algorithm::SlidingLog, 100), FailMode::Deny);
    for round in 0..100 {
        let keys: Vec<_> = (0..500).map(|key| format!("{round}-{key}")).collect();
        for told in node.hits(&hits(&policy, &keys)).await {
            assert!(told.unwrap().decision.is_allowed());
        }
    }
    world
        .until("the log has been cut everywhere", |world| {
            world
                .statuses()
                .iter()
                .all(|it| it.snapshot_index != 0 && (it.log_entries as u64) < it.last_index)
        })
        .await;
    world.start("d");
    world.until("d has all", |world| world.agree_on(3)).await;
    let late = world.node("d").status();
    assert_eq!(late.keys, 50_000);
    assert_ne!(late.snapshot_index, 0, "it came as a snapshot");
    assert!(
        (500_000..1 << 20).contains(&world.largest_body()),
        "{}",
        world.largest_body()
    );
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_full_again_go_also_when_nobody_asks() {
    let world = World::of(&["a", "b", "c"]).await;
    let second = quota::Limit::new(Algorithm::Gcra, 10, quota::Nanos::from_secs(1)).unwrap();
    let policy = policy(second, FailMode::Deny);
    let node = world.node("b");
    for key in 0..100 {
        node.hit(&policy, &key.to_string(), Cost::ONE)
            .await
            .unwrap();
    }
    assert_eq!(node.status().keys, 100);
    world
        .until("they are gone everywhere", |world| {
            world.statuses().iter().all(|status| status.keys == 0)
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_whole_cluster_that_starts_again_goes_on_from_its_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(0);
    world.data = Some(dir.path().to_owned());
    for name in ["a", "b", "c"] {
        world.start(name);
    }
    world.until("all vote", |world| world.agree_on(3)).await;
    take(&world.node("b"), "k", 40).await;
    for name in ["a", "b"] {
        world.leave(name).await;
    }
    // The last one counts on; so its snapshot is the latest, though its name is not the first.
    world.until("c is alone", |world| world.agree_on(1)).await;
    take(&world.node("c"), "k", 5).await;
    world.leave("c").await;
    for name in ["a", "b", "c"] {
        world.start(name);
    }
    world
        .until("all vote again", |world| world.agree_on(3))
        .await;
    assert_eq!(remaining(&world.node("a"), "k").await, 55);
}

#[tokio::test(start_paused = true)]
async fn a_bad_snapshot_file_is_named_when_the_node_starts() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(0);
    world.data = Some(dir.path().to_owned());
    world.start("a");
    world.until("a leads", |world| world.agree_on(1)).await;
    take(&world.node("a"), "k", 40).await;
    world.leave("a").await;
    let path = dir.path().join("a/raft.snapshot");
    let good = std::fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    let mut newer = good.clone();
    newer[7] = 2;
    for (bytes, expected) in [
        (&flipped[..], "its checksum is wrong"),
        (&good[..good.len() - 1], "its checksum is wrong"),
        (&good[..10], "it is cut short"),
        (&newer[..], "it is of another version"),
        (b"hello", "it is no snapshot"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        match world.try_start("a") {
            Err(StartError::Snapshot { reason, .. }) => assert_eq!(reason, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_make_no_sense_are_refused_and_change_nothing() {
    let world = World::of(&["a", "b", "c"]).await;
    let before = world.statuses();
    let node = world.node("a");
    let refused = node.on_call(world.id("b"), Bytes::new()).await;
    let mut random = 1_u64;
    for len in 0..2_000 {
        let bytes: Vec<u8> = (0..len % 60)
            .map(|place| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                // A right version, and often a right head.
                match place {
                    0 => 1,
                    1 => 0,
                    2 => (random >> 33) as u8 % 8,
                    _ => (random >> 40) as u8,
                }
            })
            .collect();
        let _answer = node.on_call(world.id("b"), bytes.into()).await;
    }
    assert_eq!(
        node.on_call(world.id("b"), Bytes::from_static(b"GET / HTTP/1.1"))
            .await,
        refused
    );
    let terms: Vec<_> = world
        .statuses()
        .iter()
        .map(|it| (it.term, it.leader))
        .collect();
    let expected: Vec<_> = before.iter().map(|it| (it.term, it.leader)).collect();
    assert_eq!(terms, expected);
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_was_away_catches_up_from_the_log_in_messages_that_fit() {
    let mut world = World::of(&["a", "b", "c"]).await;
    let leader = world.leader().unwrap();
    let names = world.names();
    let [one, other] = names
        .iter()
        .filter(|name| **name != leader)
        .collect::<Vec<_>>()[..]
    else {
        panic!("three nodes");
    };
    world.split(&[&[&leader, one], &[other]]);
    for round in 0..40 {
        let keys: Vec<_> = (0..4_000).map(|key| format!("{round}-{key}")).collect();
        let told = world.node(&leader).hits(&hits(&hundred(), &keys)).await;
        assert!(told.iter().all(Result::is_ok));
    }
    world.heal();
    world
        .until("it has caught up", |world| world.agree_on(3))
        .await;
    let status = world.node(other).status();
    assert_eq!(
        (status.keys, status.snapshot_index),
        (160_000, 0),
        "it came as entries"
    );
    assert!(
        (200_000..1 << 20).contains(&world.largest_body()),
        "{}",
        world.largest_body()
    );
}
