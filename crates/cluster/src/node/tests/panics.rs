//! A panic in a task or a machine of a node is contained, and forgets nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;

use quota::BootNanos;
use shard::{Role, ShardId};

use super::{Cluster, admitted, start, until};
use crate::node::keeper::KEEPER;
use crate::node::slots::{Outbox, SHARDS};

/// Until when `node` may decide without hearing from `other` again.
fn leased_until(node: &Cluster, other: &Cluster) -> BootNanos {
    let world = node.inner.slots.world.load();
    world.leases.from_holder(other.inner.me).until
}

fn members(node: &Cluster) -> usize {
    node.inner.slots.world.load().view.members().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_that_lives_as_long_as_the_node_goes_on_after_a_panic() {
    let cookie = "every task";
    let anna = start("anna", cookie, &[]).await;
    let bert = start("bert", cookie, &[&anna]).await;
    until("both", || members(&anna) == 2 && members(&bert) == 2).await;

    for task in [
        "connections",
        "heartbeats",
        "clock",
        "flush",
        KEEPER,
        "control-receive",
        "control-dial",
    ] {
        anna.inner.supervisor.panic(task).await;
    }

    // Keepers: each comes to the end of a tick.
    let beats = || {
        let keepers = anna.inner.pulse.keepers.iter();
        keepers.map(|beat| beat.load(Relaxed)).collect::<Vec<_>>()
    };
    let before = beats();
    until("a tick of each keeper", || {
        before
            .iter()
            .zip(beats())
            .all(|(before, now)| *before < now)
    })
    .await;
    // Heartbeats: what bert granted is renewed.
    let before = leased_until(&anna, &bert);
    until("a renewed lease", || before < leased_until(&anna, &bert)).await;
    // Clock: each round takes back what it does not find.
    anna.with_membership(|membership, _| membership.on_aside(true));
    until("a clock compared", || {
        let world = anna.inner.slots.world.load();
        world.view.members().iter().all(|seen| !seen.aside)
    })
    .await;
    // Flush: an answer waits for the write to be with a replica, whoever owns the key.
    for key in 0..16 {
        assert_eq!(admitted(&anna, &format!("key {key}"), 1).await, 1);
    }
    // Connections: a third one is met.
    let cleo = start("cleo", cookie, &[&bert]).await;
    until("the third", || members(&anna) == 3).await;
    for node in [cleo, bert, anna] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_the_membership_machine_leaves_a_node_that_goes_on_and_has_forgotten_nothing() {
    let cookie = "membership";
    let anna = start("anna", cookie, &[]).await;
    let bert = start("bert", cookie, &[&anna]).await;
    until("both", || members(&anna) == 2 && members(&bert) == 2).await;
    let keys: Vec<String> = (0..16).map(|key| format!("key {key}")).collect();
    for key in &keys {
        assert_eq!(admitted(&bert, key, 5).await, 5);
    }

    let panic = AssertUnwindSafe(|| anna.with_membership(|_, _| panic!("on purpose")));
    catch_unwind(panic).unwrap_err();

    let before = leased_until(&anna, &bert);
    until("a renewed lease", || before < leased_until(&anna, &bert)).await;
    until("both again", || members(&anna) == 2 && members(&bert) == 2).await;
    for key in &keys {
        assert_eq!(admitted(&anna, key, 1).await, 0, "{key} is spent");
    }
    for node in [bert, anna] {
        node.stop().await;
    }
}

/// The shards that have something counted, for which `node` has this role.
fn with_role(node: &Cluster, role: Role) -> Vec<ShardId> {
    let has_role = |shard: &shard::Shard| shard.role() == role && !shard.cells().is_empty();
    let shards = (0..SHARDS).map(ShardId);
    shards
        .filter(|&id| node.inner.slots.read(id, has_role) == Some(true))
        .collect()
}

/// Panics under the lock of each of these shards.
fn poison(node: &Cluster, shards: &[ShardId]) {
    for &id in shards {
        let slots = &node.inner.slots;
        let panic = AssertUnwindSafe(|| {
            slots.with(id, &mut Outbox::default(), |_, _| panic!("on purpose"))
        });
        catch_unwind(panic).unwrap_err();
    }
}

fn keys_of(node: &Cluster) -> usize {
    node.status().keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_in_which_something_panics_comes_back_from_the_other_node() {
    let cookie = "shards";
    let anna = start("anna", cookie, &[]).await;
    let bert = start("bert", cookie, &[&anna]).await;
    until("both", || members(&anna) == 2 && members(&bert) == 2).await;
    let keys: Vec<String> = (0..32).map(|key| format!("key {key}")).collect();
    for key in &keys {
        assert_eq!(admitted(&bert, key, 5).await, 5);
    }
    let all = || keys_of(&anna) == keys.len() && keys_of(&bert) == keys.len();
    until("a copy of each", all).await;

    let roles = || [Role::Idle, Role::Open].map(|role| with_role(&anna, role));
    let both_decide = || roles().iter().all(|shards| 2 < shards.len());
    until("both decide for some", both_decide).await;

    // What anna only holds, and nobody writes meanwhile: bert, who goes then, is asked for it.
    let [copies, owned] = roles();
    poison(&anna, &copies);
    until("the copies again", all).await;
    // What anna decides: it claims it anew, with what bert has.
    poison(&anna, &owned);
    until("the counts again", all).await;
    bert.stop().await;
    until("alone", || members(&anna) == 1).await;
    for key in &keys {
        assert_eq!(admitted(&anna, key, 1).await, 0, "{key} is spent");
    }
    anna.stop().await;
}

/// It answered `/health` with ok for ever, without a heartbeat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_machine_cannot_be_mended_is_not_well() {
    let anna = start("anna", "not well", &[]).await;
    assert!(anna.is_well());
    *anna.inner.membership.lock().unwrap() = None;
    until("not well", || !anna.is_well()).await;
    anna.stop().await;
}
