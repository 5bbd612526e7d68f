//! A panic in a task or a machine of a node is contained, and forgets nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use quota::BootNanos;

use super::{Cluster, admitted, start, until};

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
        "control-receive",
        "control-dial",
    ] {
        anna.inner.supervisor.panic(task).await;
    }

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
