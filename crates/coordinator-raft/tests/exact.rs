//! Counts are exact, whoever is asked and whatever happens to the leader.

use std::time::Duration;

use coordinator::{Coordinator as _, FailMode, NoDecision, Policy};
use quota::{Algorithm, Cost};
use simulator::raft::{FAIR, Node, Weather, World, limit, policy};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What a crowd of callers was told.
#[derive(Default, Debug, PartialEq, Eq)]
struct Told {
    admitted: u32,
    denied: u32,
    unknown: u32,
    uncounted: u32,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.admitted += other.admitted;
        self.denied += other.denied;
        self.unknown += other.unknown;
        self.uncounted += other.uncounted;
    }
}

async fn ask(node: &Node, policy: &Policy, key: &str, times: u32) -> Told {
    let mut told = Told::default();
    for _ in 0..times {
        match node.hit(policy, key, Cost::ONE).await {
            Ok(answer) if answer.decision.is_allowed() => told.admitted += 1,
            Ok(_) => told.denied += 1,
            Err(NoDecision::Unknown { .. }) => told.unknown += 1,
            Err(_) => told.uncounted += 1,
        }
    }
    told
}

/// `callers` ask `times` each, spread over `nodes`.
fn crowd(nodes: &[Node], policy: &Policy, key: &str, callers: usize, times: u32) -> JoinSet<Told> {
    (0..callers)
        .map(|caller| {
            let (node, policy, key) = (
                nodes[caller % nodes.len()].clone(),
                policy.clone(),
                key.to_owned(),
            );
            async move { ask(&node, &policy, &key, times).await }
        })
        .collect()
}

async fn all(crowd: JoinSet<Told>) -> Told {
    let mut told = Told::default();
    for one in crowd.join_all().await {
        told.add(one);
    }
    told
}

async fn remaining(node: &Node, policy: &Policy, key: &str) -> u32 {
    let peeked = node.hit(policy, key, Cost::PEEK).await.unwrap();
    assert!(!peeked.by_fail_mode);
    peeked.decision.remaining
}

#[tokio::test(start_paused = true)]
async fn sixty_four_callers_on_three_nodes_are_admitted_exactly_the_limit() {
    let world = World::of(&["a", "b", "c"]).await;
    for algorithm in Algorithm::ALL {
        let policy = policy(limit(algorithm, 300), FailMode::Deny);
        let told = all(crowd(&world.nodes(), &policy, algorithm.name(), 64, 10)).await;
        let expected = Told {
            admitted: 300,
            denied: 340,
            ..Told::default()
        };
        assert_eq!(told, expected, "{algorithm}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_leader_forgets_nothing_and_nothing_is_counted_twice() {
    let mut world = World::of(&["a", "b", "c"]).await;
    let leader = world.leader().unwrap();
    let policy = policy(limit(Algorithm::FixedWindow, 5_000), FailMode::Deny);
    world.weather(Weather {
        lost_percent: 0,
        repeated_percent: 0,
        delay_max: Duration::from_millis(4),
    });
    let survivors: Vec<_> = world
        .names()
        .iter()
        .filter(|name| **name != leader)
        .map(|name| world.node(name))
        .collect();
    let crowd = crowd(&survivors, &policy, "k", 64, 60);
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.kill(&leader).await;
    let told = all(crowd).await;

    assert_eq!(told.denied, 0, "{told:?}");
    assert_eq!(
        told.admitted,
        64 * 60,
        "an election takes less than a hit may: {told:?}"
    );
    assert_eq!(
        remaining(&survivors[0], &policy, "k").await,
        5_000 - told.admitted
    );
}

#[tokio::test(start_paused = true)]
async fn a_hit_counts_once_however_often_it_has_to_be_asked() {
    let world = World::of(&["a", "b", "c"]).await;
    world.weather(Weather {
        lost_percent: 15,
        repeated_percent: 15,
        delay_max: Duration::from_millis(10),
    });
    let policy = policy(limit(Algorithm::Gcra, 2_000), FailMode::Deny);
    let told = all(crowd(&world.nodes(), &policy, "k", 16, 20)).await;
    world.weather(FAIR);
    assert_eq!(told.denied, 0, "{told:?}");
    let used = 2_000 - remaining(&world.nodes()[0], &policy, "k").await;
    assert!(
        told.admitted <= used && used <= told.admitted + told.unknown,
        "{used} counted, {told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_minority_answers_by_the_fail_mode_in_time_and_the_majority_decides() {
    let mut world = World::of(&["a", "b", "c"]).await;
    let leader = world.leader().unwrap();
    let others: Vec<_> = world
        .names()
        .into_iter()
        .filter(|name| *name != leader)
        .collect();
    world.split(&[&[&leader], &[&others[0], &others[1]]]);
    let limit = limit(Algorithm::FixedWindow, 10);
    let (deny, allow) = (
        policy(limit, FailMode::Deny),
        policy(limit, FailMode::Allow),
    );

    let alone = world.node(&leader);
    let began = Instant::now();
    let told = alone.hit(&deny, "k", Cost::ONE).await;
    assert!(
        matches!(told, Err(NoDecision::Unknown { .. })),
        "it was in the log of a leader that had not noticed yet: {told:?}"
    );
    assert_eq!(began.elapsed().as_secs(), 3);
    let told = alone.hit(&allow, "k", Cost::ONE).await.unwrap();
    assert!(told.by_fail_mode && told.decision.is_allowed());
    let told = alone.hit(&deny, "k", Cost::ONE).await;
    assert!(
        matches!(told, Err(NoDecision::Unavailable { .. })),
        "a leader that has noticed takes nothing: {told:?}"
    );

    let told = world
        .node(&others[0])
        .hit(&deny, "k", Cost::ONE)
        .await
        .unwrap();
    assert!(!told.by_fail_mode && told.decision.is_allowed());

    world.heal();
    world
        .until("the one is back", |world| world.agree_on(3))
        .await;
    let left = remaining(&alone, &deny, "k").await;
    assert_eq!(left, 9, "only what the majority decided counts");
}

#[tokio::test(start_paused = true)]
async fn refunds_and_resets_count_once_and_batches_keep_their_order() {
    let world = World::of(&["a", "b", "c"]).await;
    let policy = policy(limit(Algorithm::SlidingLog, 5), FailMode::Deny);
    for node in world.nodes() {
        let hit = coordinator::Hit {
            policy: &policy,
            key: "k",
            cost: Cost::new(2),
        };
        let told = node.hits(&[hit; 3]).await;
        let allowed: Vec<_> = told
            .iter()
            .map(|it| it.unwrap().decision.is_allowed())
            .collect();
        assert_eq!(allowed, [true, true, false]);
        let refunded = node.refund(&policy, "k", Cost::ONE).await.unwrap();
        assert_eq!(refunded.decision.remaining, 2);
        node.reset(&policy, "k").await.unwrap();
        assert_eq!(remaining(&node, &policy, "k").await, 5);
    }
}
