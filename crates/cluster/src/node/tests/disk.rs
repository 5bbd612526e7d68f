//! What is set at run time outlives the nodes that have a data directory, and is confirmed once it does.

use ::catalogue::{Content, KeyLimit, Kind, NotChanged};
use quota::{Algorithm, Limit, Nanos};
use store::OpenError;
use tempfile::TempDir;

use super::{Cluster, JoinError, admitted, config, listener, until};

async fn start(name: &str, data: &TempDir, join: &[&Cluster]) -> Result<Cluster, JoinError> {
    let (listener, address) = listener();
    let mut config = config(name, "disks", join, &address);
    config.data_dir = Some(data.path().join(name));
    Cluster::start(config, listener).await
}

async fn set(node: &Cluster, key: &str, units: u32) -> Vec<String> {
    let limit = Limit::new(Algorithm::Gcra, units, Nanos::from_secs(60)).unwrap();
    let content = Content::KeyLimit(KeyLimit {
        limit,
        as_token_bucket: false,
    });
    let set = |_: Option<&Content>| Ok::<_, NotChanged>(content);
    let changed = node.edit_record(Kind::KeyLimit, "", key, set).await;
    changed.unwrap().pending
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_set_and_removed_is_so_after_everybody_was_away() {
    let data = TempDir::new().unwrap();
    let anna = start("anna", &data, &[]).await.unwrap();
    let bert = start("bert", &data, &[&anna]).await.unwrap();
    until("both", || members(&anna) == 2 && members(&bert) == 2).await;
    anna.inner.supervisor.panic("disk").await;
    assert_eq!(set(&anna, "stays", 5).await, [""; 0]);
    assert_eq!(set(&bert, "goes", 5).await, [""; 0]);
    let removed = anna.remove_record(Kind::KeyLimit, "", "goes").await;
    assert!(removed.unwrap().unwrap().pending.is_empty());
    let in_use = start("anna", &data, &[]).await.err();
    let is_in_use = matches!(in_use, Some(JoinError::Data(OpenError::InUse { .. })));
    assert!(is_in_use, "{in_use:?}");
    for node in [&anna, &bert] {
        node.stop().await;
    }
    // The other one first, and alone.
    let bert = start("bert", &data, &[]).await.unwrap();
    let seen = || (units(&bert, "stays"), units(&bert, "goes"));
    assert_eq!(seen(), (Some(5), None));
    assert_eq!(set(&bert, "stays", 7).await, [""; 0]);
    let anna = start("anna", &data, &[&bert]).await.unwrap();
    assert_eq!(units(&anna, "stays"), Some(7));
    for node in [anna, bert] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_counted_is_so_after_everybody_was_away() {
    let data = TempDir::new().unwrap();
    let anna = start("anna", &data, &[]).await.unwrap();
    let bert = start("bert", &data, &[&anna]).await.unwrap();
    until("both", || members(&anna) == 2 && members(&bert) == 2).await;
    assert_eq!(admitted(&anna, "u1", 2).await, 2);
    anna.inner.supervisor.panic("counts").await;
    assert_eq!(admitted(&anna, "u1", 1).await, 1);
    // What it has alone the other cannot bring back.
    until("copies", || anna.status().unsettled_shards == 0).await;
    for node in [&anna, &bert] {
        node.stop().await;
    }
    // The other one first, and alone: it waits for half a second.
    let bert = start("bert", &data, &[]).await.unwrap();
    assert_eq!(admitted(&bert, "u1", 9).await, 2);
    let anna = start("anna", &data, &[&bert]).await.unwrap();
    assert_eq!(admitted(&anna, "u1", 1).await, 0);
    for node in [anna, bert] {
        node.stop().await;
    }
}

/// A disk that is slow: what is not there yet is not confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_not_written_a_change_has_not_confirmed_it() {
    let data = TempDir::new().unwrap();
    let anna = start("anna", &data, &[]).await.unwrap();
    let bert = start("bert", &data, &[&anna]).await.unwrap();
    until("both", || members(&anna) == 2 && members(&bert) == 2).await;
    {
        let busy = bert.clone();
        let (takes, taken) = std::sync::mpsc::channel();
        let (frees, freed) = std::sync::mpsc::channel::<()>();
        let holder = std::thread::spawn(move || {
            let _store = busy.inner.disk.store();
            takes.send(()).unwrap();
            freed.recv().unwrap();
        });
        taken.recv().unwrap();
        assert_eq!(set(&anna, "u1", 5).await, ["bert"]);
        // In force there, and not kept.
        assert_eq!(units(&bert, "u1"), Some(5));
        frees.send(()).unwrap();
        holder.join().unwrap();
    }
    assert_eq!(set(&anna, "u1", 7).await, [""; 0]);
    for node in [anna, bert] {
        node.stop().await;
    }
}
