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

/// What a tenant has used of its day was forgotten by a flood of other keys, and its cap began anew. Also where the owner of the day
/// has gone, and who takes over has only copied it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_count_of_a_day_outlives_a_flood() {
    let one = start_with_room("one", "days", &[], 64).await;
    let two = start_with_room("two", "days", &[&one], 64).await;
    until("both see both", || {
        one.live_members() == 2 && two.live_members() == 2
    })
    .await;
    let day = Policy {
        namespace: ::catalogue::SERVICE.into(),
        name: "@requests".into(),
        limit: Limit::new(Algorithm::FixedWindow, 1_000, Nanos::from_secs(86_400)).unwrap(),
        ..five()
    };
    let hit = async |node: &Cluster, policy: &Policy, key: &str, cost| {
        let answer = node.hit(policy, key, Cost::new(cost)).await.unwrap();
        answer.decision.remaining
    };
    // More of them than there is room for.
    let tenants: Vec<String> = (0..100).map(|number| format!("tenant {number}")).collect();
    for tenant in &tenants {
        assert_eq!(hit(&one, &day, tenant, 1).await, 999);
    }
    // Each is as spent as can be, where a day is hardly.
    for number in 0..2_000 {
        let _left = hit(&one, &five(), &format!("flood {number}"), 5).await;
    }
    until("the flood is evicted", || {
        let keys = [one.status().keys, two.status().keys];
        keys.into_iter().all(|keys| keys <= tenants.len() + 64)
    })
    .await;
    for tenant in &tenants {
        assert_eq!(hit(&two, &day, tenant, 1).await, 998, "{tenant}");
    }
    one.stop().await;
    for tenant in &tenants {
        assert_eq!(hit(&two, &day, tenant, 1).await, 997, "{tenant}");
    }
    two.stop().await;
}
