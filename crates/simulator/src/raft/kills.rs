//! One node after another is killed and started again, in every order and with every gap: the group decides again.

use std::time::Duration;

use coordinator::{Coordinator as _, FailMode};
use quota::{Algorithm, Cost};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::RaftBug;
use super::clients::{limit, policy};
use super::network::Node;
use super::world::{World, voters_of};
use crate::oracle::{SimTime, Violation};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Most kills of one run.
const KILLS_MAX: u32 = 4;
/// The most milliseconds for which a node is gone, and from one start to the next kill.
const GAP_MAX: u64 = 2_500;
/// How long the nodes may take to become a group.
const FORMS: Duration = Duration::from_secs(15);
/// How long after the last start every node must have a decision: 3 s until the voters that are lost are given up, the
/// census and the new group, and what is left of a hit's own patience.
const DECIDES: Duration = Duration::from_secs(10);
/// Units taken before anything happens, of a hundred.
const TAKEN: u32 = 40;

/// Plays one seed, and tells what was broken.
///
/// In half of the runs whoever kills waits until every node says that it is ready, as an orderly rollout does. Then a
/// majority always keeps what was counted.
pub(super) async fn kill_one_after_the_other(seed: u64, bug: Option<RaftBug>) -> Vec<Violation> {
    let began = Instant::now();
    let mut rng = SmallRng::seed_from_u64(seed);
    let names = &NAMES[..rng.random_range(3..=NAMES.len())];
    let is_patient = rng.random_bool(0.5);
    let mut world = World::new(seed);
    world.keeps_the_dead = bug == Some(RaftBug::KeepsTheDead);
    for name in names {
        world.start(name);
    }
    let voters = voters_of(names.len());
    let forms = |world: &World| world.agree_on(voters);
    let mut story = format!("{} nodes, patient: {is_patient}", names.len());
    let broken = async {
        if !world.comes_true(FORMS, forms).await {
            return Err(format!("no group: {:?}", world.statuses()));
        }
        take(&world.node("a")).await?;
        for _ in 0..rng.random_range(2..=KILLS_MAX) {
            if is_patient && !world.comes_true(DECIDES, all_are_ready).await {
                return Err(format!("not ready: {:?}", world.statuses()));
            }
            let leader = world.leader().filter(|_| rng.random_bool(0.5));
            let victim = leader.unwrap_or_else(|| {
                let victim = names.choose(&mut rng).expect("nodes");
                (*victim).to_owned()
            });
            let (gone, gap) = (rng.random_range(0..GAP_MAX), rng.random_range(0..GAP_MAX));
            story = format!("{story}; {victim} gone for {gone} ms, {gap} ms later");
            world.kill(&victim).await;
            tokio::time::sleep(Duration::from_millis(gone)).await;
            world.start(&victim);
            if !is_patient {
                tokio::time::sleep(Duration::from_millis(gap)).await;
            }
        }
        for name in names {
            let left = remaining(&world.node(name)).await;
            let left =
                left.ok_or_else(|| format!("{name} decides nothing: {:?}", world.statuses()))?;
            if is_patient && left != 100 - TAKEN {
                return Err(format!("{name} says that {left} are left"));
            }
        }
        Ok(())
    };
    let broken: Result<(), String> = broken.await;
    let at = began.elapsed().as_nanos() as SimTime;
    let violation = broken.err().map(|broken| Violation {
        promise: "R6",
        at,
        story: format!("{story}: {broken}"),
    });
    violation.into_iter().collect()
}

/// As an operator's tools see it, which go on when they do.
fn all_are_ready(world: &World) -> bool {
    let mut statuses = world.statuses().into_iter();
    statuses.all(|status| status.decides && status.settled)
}

async fn take(node: &Node) -> Result<(), String> {
    let policy = policy(limit(Algorithm::FixedWindow, 100), FailMode::Deny);
    let told = node.hit(&policy, "k", Cost::new(TAKEN)).await;
    match told {
        Ok(answer) if answer.decision.is_allowed() => Ok(()),
        other => Err(format!("the first hit: {other:?}")),
    }
}

/// What is left, if `node` can tell in time.
async fn remaining(node: &Node) -> Option<u32> {
    let policy = policy(limit(Algorithm::FixedWindow, 100), FailMode::Deny);
    let deadline = Instant::now() + DECIDES;
    while Instant::now() < deadline {
        if let Ok(answer) = node.hit(&policy, "k", Cost::PEEK).await {
            return Some(answer.decision.remaining);
        }
    }
    None
}
