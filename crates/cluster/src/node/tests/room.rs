//! Nodes that have less room than there are keys.

use super::*;
use crate::node::SHARDS;

/// Four for each shard.
const ROOM: u64 = 4_096;

/// Seen: owner and replica each kept what the other evicted, and 400 users who had spent their limit were all let in again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spent_keys_outlive_a_flood_and_both_nodes_keep_the_same() {
    let one = start_with_room("one", "room", &[], ROOM).await;
    let two = start_with_room("two", "room", &[&one], ROOM).await;
    until("both see both", || {
        one.live_members() == 2 && two.live_members() == 2
    })
    .await;
    // One a shard: what is evicted is chosen among the keys of a shard.
    let mut shards = std::collections::BTreeSet::new();
    let users: Vec<String> = (0..100)
        .map(|user| format!("user {user}"))
        .filter(|user| shards.insert(one.inner.keys.hash("", "five", user).shard(SHARDS)))
        .collect();
    for user in &users {
        assert_eq!(admitted(&one, user, 6).await, 5);
    }
    let floods = (0..20_u64).map(|part| {
        let (one, two) = (one.clone(), two.clone());
        tokio::spawn(async move {
            let node = [&one, &two][usize::from(part % 2 == 1)];
            for number in 0..1_000 {
                let fresh = format!("fresh {part} {number}");
                assert_eq!(admitted(node, &fresh, 1).await, 1);
                // No faster than keepers evict on a busy machine: beyond what is lent to it, some sixteen keys a shard, a
                // replica evicts for itself, and does not keep the same any more.
                if number % 20 == 0 {
                    until("keys evicted", || {
                        let keys = one.status().keys.max(two.status().keys);
                        keys as u64 <= ROOM + 2 * u64::from(SHARDS)
                    })
                    .await;
                }
            }
        })
    });
    for flood in floods.collect::<Vec<_>>() {
        flood.await.unwrap();
    }
    until("both keep the same, and no more than they may", || {
        let (one, two) = (one.status().keys, two.status().keys);
        one == two && one as u64 <= ROOM
    })
    .await;
    for user in &users {
        assert_eq!(admitted(&two, user, 1).await, 0, "{user}");
    }
    one.stop().await;
    two.stop().await;
}
