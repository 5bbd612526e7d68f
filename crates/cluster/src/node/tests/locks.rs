//! What waits for the lock of a shard acts at the time at which it gets it.

use std::sync::{Arc, mpsc};

use ::catalogue::Kind;
use shard::ShardId;

use super::*;
use crate::node::slots::{Outbox, World};

/// Seen: a message that had waited for the lock was handled at the time at which it had come in, and a lease that had run
/// out meanwhile was taken for one that runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_handled_at_the_time_at_which_its_shard_is_free() {
    let node = start("one", "locks", &[]).await;
    let shard = ShardId(7);
    let slots = &node.inner.slots;
    let (comes, has_come) = mpsc::channel();
    let (freed_at, handled_at) = std::thread::scope(|scope| {
        let waiter = slots.read(shard, |_| {
            let waiter = scope.spawn(move || {
                comes.send(()).unwrap();
                slots.with(shard, &mut Outbox::default(), |_, around| around.now.boot)
            });
            has_come.recv().unwrap();
            // For it to be at the lock. Were it not, the test would see nothing; it cannot see what is not there.
            std::thread::sleep(Duration::from_millis(20));
            (node.inner.clock.now().boot, waiter)
        });
        let (freed_at, waiter) = waiter.unwrap();
        (freed_at, waiter.join().unwrap().unwrap())
    });
    assert!(freed_at <= handled_at, "{freed_at:?} {handled_at:?}");
    node.stop().await;
}

/// As above, of the records: a clock that goes back is one that the catalogue forbids.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalogue_acts_at_the_time_at_which_it_is_free() {
    let node = start("one", "locked records", &[]).await;
    let (comes, has_come) = mpsc::channel();
    let (freed_at, handled_at) = std::thread::scope(|scope| {
        let (freed_at, waiter) = node.with_records(|_, _| {
            let waiter = scope.spawn(|| {
                comes.send(()).unwrap();
                node.with_records(|_, now| now.boot)
            });
            has_come.recv().unwrap();
            std::thread::sleep(Duration::from_millis(20));
            (node.inner.clock.now().boot, waiter)
        });
        (freed_at, waiter.join().unwrap())
    });
    assert!(freed_at <= handled_at, "{freed_at:?} {handled_at:?}");
    node.stop().await;
}

/// Once every hit of a limit that is not the file's took the one lock of the records, and waited for whoever listed them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_looked_up_beside_each_other() {
    let node = start("one", "read beside", &[]).await;
    let (finds, has_found) = mpsc::channel();
    let listing = node.inner.records.read();
    std::thread::scope(|scope| {
        let node = &node;
        scope.spawn(move || {
            let found = (
                node.record(Kind::Limit, "", "l"),
                node.record(Kind::KeyLimit, "", "u1"),
                node.records(Kind::KeyLimit, "", None, 9).len(),
            );
            finds.send(found).unwrap();
        });
        let found = has_found.recv_timeout(PATIENCE);
        drop(listing);
        assert_eq!(found, Ok((None, None, 0)));
    });
    node.stop().await;
}

/// Once each hit by an API key took the lock of the membership machine, where a file says `stale_after`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_long_nobody_was_heard_of_is_told_without_the_lock_of_membership() {
    let one = start("one", "heard", &[]).await;
    assert_eq!(one.silent(), None, "alone");
    let two = start("two", "heard", &[&one]).await;
    until("the other is heard of", || one.silent().is_some()).await;
    let (tells, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let one = &one;
        let told = one.with_membership(|_, _| {
            scope.spawn(move || tells.send(one.silent()).unwrap());
            told.recv_timeout(PATIENCE)
        });
        assert!(matches!(told, Some(Ok(Some(_)))), "{told:?}");
    });
    two.stop().await;
    until("the other has left", || one.silent().is_none()).await;
    one.stop().await;
}

/// Once the catalogue was told of a new view under the lock of the membership machine: heartbeats waited for whoever worked
/// with records.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn membership_does_not_wait_for_the_catalogue() {
    let node = start("one", "waits for none", &[]).await;
    let slots = &node.inner.slots;
    let is_published = || !slots.world.load().orders.is_empty();
    let (goes_on, went_on) = mpsc::channel();
    let busy = node.inner.records.read();
    std::thread::scope(|scope| {
        let node = &node;
        // A view without an order of shards is news to whoever publishes next.
        let world = slots.world.load();
        slots.world.store(Arc::new(World {
            view: world.view.clone(),
            leases: world.leases.clone(),
            orders: Arc::default(),
        }));
        scope.spawn(|| node.with_membership(|_, _| ()));
        scope.spawn(move || {
            while !is_published() {
                std::thread::yield_now();
            }
            node.with_membership(|_, _| ());
            goes_on.send(()).unwrap();
        });
        let went_on = went_on.recv_timeout(PATIENCE);
        drop(busy);
        assert_eq!(went_on, Ok(()));
    });
    node.stop().await;
}
