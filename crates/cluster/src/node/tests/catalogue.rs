//! What is set at run time is on every node when it is answered, and on a newcomer before it is there.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ::catalogue::{Changed, Content, KeyLimit, Kind, NotChanged};
use quota::{Algorithm, Limit, Nanos};

use super::{Cluster, start, until};

fn a_minute(units: u32) -> Content {
    let limit = Limit::new(Algorithm::Gcra, units, Nanos::from_secs(60)).unwrap();
    Content::KeyLimit(KeyLimit {
        limit,
        as_token_bucket: false,
    })
}

async fn set(node: &Cluster, key: &str, units: u32) -> Changed {
    let set = |_: Option<&Content>| Ok::<_, NotChanged>(a_minute(units));
    let changed = node.edit_record(Kind::KeyLimit, "", key, set).await;
    changed.unwrap()
}

fn units(node: &Cluster, key: &str) -> Option<u32> {
    Some(
        node.record(Kind::KeyLimit, "", key)?
            .key_limit()?
            .limit
            .units(),
    )
}

fn members(node: &Cluster) -> usize {
    node.inner.slots.world.load().view.members().len()
}

/// Once a limit was answered before the others had heard of it, and a check there right after was by the old one, or
/// found none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_answered_is_in_force_on_every_node() {
    let cookie = "in force";
    let anna = start("anna", cookie, &[]).await;
    let bert = start("bert", cookie, &[&anna]).await;
    let cleo = start("cleo", cookie, &[&anna]).await;
    let all = [&anna, &bert, &cleo];
    until("all three", || all.iter().all(|node| members(node) == 3)).await;
    for round in 0..50 {
        let (here, there) = (all[round % 3], all[(round + 1) % 3]);
        let key = format!("key {}", round % 10);
        let changed = set(here, &key, 1 + round as u32).await;
        assert_eq!(changed.pending, Vec::<String>::new());
        assert_eq!(changed.replaced, 10 <= round);
        assert_eq!(units(there, &key), Some(1 + round as u32), "{key}");
    }
    let removed = bert
        .remove_record(Kind::KeyLimit, "", "key 0")
        .await
        .unwrap();
    assert!(removed.is_some_and(|changed| changed.replaced));
    assert_eq!((units(&anna, "key 0"), units(&cleo, "key 0")), (None, None));
    assert_eq!(
        bert.remove_record(Kind::KeyLimit, "", "key 0").await,
        Ok(None)
    );
    for node in all {
        node.stop().await;
    }
}

/// Once 4 200 limits with keys of 1 KiB were more than one message holds, and no node could join any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_has_all_records_before_it_is_there_however_many_there_are() {
    use futures_util::stream::{self, StreamExt as _};

    let cookie = "however many";
    let anna = start("anna", cookie, &[]).await;
    let key = |number: usize| format!("{number:06}{}", "y".repeat(1_018));
    let (node, name) = (&anna, &key);
    stream::iter(0..5_000)
        .for_each_concurrent(64, |number| async move {
            set(node, &name(number), 5).await;
        })
        .await;
    let bert = start("bert", cookie, &[&anna]).await;
    for number in 0..5_000 {
        assert_eq!(units(&bert, &key(number)), Some(5), "{number}");
    }
    for node in [bert, anna] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_the_catalogue_loses_no_record_and_changes_go_on() {
    let cookie = "catalogue panics";
    let anna = start("anna", cookie, &[]).await;
    let bert = start("bert", cookie, &[&anna]).await;
    until("both", || members(&anna) == 2 && members(&bert) == 2).await;
    set(&bert, "u1", 5).await;

    let panic = AssertUnwindSafe(|| anna.with_records(|_, _| panic!("on purpose")));
    catch_unwind(panic).unwrap_err();
    anna.inner.supervisor.panic("catalogue").await;

    assert_eq!(units(&anna, "u1"), Some(5));
    assert_eq!(set(&anna, "u1", 7).await.pending, Vec::<String>::new());
    assert_eq!(units(&bert, "u1"), Some(7));
    for node in [bert, anna] {
        node.stop().await;
    }
}
