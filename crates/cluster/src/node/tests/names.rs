//! Hits that their clients named, asked again.

use coordinator::{Answer, Hit, Once};
use request::{Said, Subject};
use shard::{HitId, Operation, ShardId};

use super::*;
use crate::node::keys;
use crate::node::slots::SHARDS;
use crate::wire::{ForwardedHit, Frame};

async fn once(node: &Cluster, is_refund: bool, key: &str, id: &str) -> Answer {
    let policy = five();
    let hit = Hit {
        policy: &policy,
        key,
        cost: Cost::ONE,
    };
    let asked = match is_refund {
        true => Once::Refund(hit),
        false => Once::Hit(hit),
    };
    node.once(asked, id).await.unwrap()
}

async fn hit(node: &Cluster, key: &str, id: &str) -> u32 {
    let answer = once(node, false, key, id).await;
    assert_eq!(answer.decision.verdict, Verdict::Allow);
    answer.decision.remaining
}

/// Two nodes that each own shards.
async fn two(cookie: &str) -> [Cluster; 2] {
    let one = start("one", cookie, &[]).await;
    let two = start("two", cookie, &[&one]).await;
    for node in [&one, &two] {
        let owned = |of: &Cluster| {
            let owner = |shard| node.inner.slots.owner(ShardId(shard));
            let shards = 0..SHARDS;
            shards
                .filter(|&shard| owner(shard) == Some(of.inner.me))
                .count()
        };
        until("both own shards", || 0 < owned(&one) && 0 < owned(&two)).await;
    }
    [one, two]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hit_is_counted_once_whichever_nodes_are_asked() {
    let [one, two] = two("named hits").await;
    // Enough keys that each node owns some.
    for key in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(hit(&one, key, "first").await, 4, "{key}");
        assert_eq!(hit(&two, key, "first").await, 4, "{key}");
        assert_eq!(hit(&one, key, "first").await, 4, "{key}");
        assert_eq!(hit(&two, key, "second").await, 3, "{key}");

        let refund = |node| once(node, true, key, "first");
        assert_eq!(refund(&two).await.decision.remaining, 4, "{key}");
        assert_eq!(refund(&one).await.decision.remaining, 4, "{key}");
    }
    for node in [one, two] {
        node.stop().await;
    }
}

/// What is remembered is what was admitted: a hit that was denied may be asked again later, and pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hit_that_was_admitted_is_admitted_again_when_its_key_is_spent() {
    let node = start("one", "named and spent", &[]).await;
    for id in ["1", "2", "3", "4", "5"] {
        hit(&node, "a", id).await;
    }
    let denied = once(&node, false, "a", "6").await;
    assert!(matches!(denied.decision.verdict, Verdict::Deny { .. }));
    assert_eq!(hit(&node, "a", "5").await, 0);
    once(&node, true, "a", "7").await;
    assert_eq!(hit(&node, "a", "6").await, 0);
    node.stop().await;
}

/// A member that owns nothing of it passes it on under the name that its client gave it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_passes_a_named_hit_on() {
    let [one, two] = two("named and passed on").await;
    let policy = five();
    let mut passed_on = 0;
    for key in ["a", "b", "c", "d", "e", "f"] {
        let hash = keys::hash(&one.inner.keys, &policy, key);
        let subject = Subject {
            shard: ShardId(hash.shard(SHARDS)),
            key: hash,
            limit: policy.limit,
            operation: Operation::Hit(Cost::ONE),
            on_failure: FailMode::Deny,
        };
        let id = keys::hit_id(&one.inner.keys, &subject, "lost");
        assert!(id.is_of_client());
        let sequence = one.inner.forwarder.next_sequence();
        let asked = ForwardedHit {
            sequence,
            shard: subject.shard,
            key: hash,
            limit: policy.limit,
            operation: subject.operation,
        };
        // As if this node did not reach the owner, which it may be itself: that is told, and nothing is counted.
        let relay = Frame::RelayNamed { id, hit: asked };
        let to = two.inner.me;
        let asking = one
            .inner
            .forwarder
            .ask_alone(to, sequence, &relay, PATIENCE);
        match asking.await.unwrap() {
            Said::Decided(decision) => {
                passed_on += 1;
                assert_eq!(decision.remaining, 4);
            }
            Said::Elsewhere(owner) => assert_eq!(owner, Some(one.inner.me)),
            said => panic!("{said:?}"),
        }
        assert_eq!(hit(&one, key, "lost").await, 4, "counted once");
    }
    assert!(0 < passed_on, "every key is owned by the node that asks");
    for node in [one, two] {
        node.stop().await;
    }
}

#[test]
fn the_name_of_a_hit_is_a_name_on_its_key_alone() {
    let keys = quota::KeyHasher::new([7; 16]);
    let policy = five();
    let id = |key, operation, name| -> HitId {
        let hash = keys::hash(&keys, &policy, key);
        let subject = Subject {
            shard: ShardId(0),
            key: hash,
            limit: policy.limit,
            operation,
            on_failure: FailMode::Deny,
        };
        keys::hit_id(&keys, &subject, name)
    };
    let (one, two) = (Operation::Hit(Cost::ONE), Operation::Hit(Cost::new(2)));
    let ids = [
        id("a", one, "1"),
        id("b", one, "1"),
        id("a", two, "1"),
        id("a", Operation::Refund(Cost::ONE), "1"),
        id("a", one, "2"),
    ];
    assert_eq!(ids[0], id("a", one, "1"));
    for (place, it) in ids.iter().enumerate() {
        assert!(!ids[..place].contains(it), "{place}");
    }
}
