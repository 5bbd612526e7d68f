//! What one node has not heard of yet, it asks another for.

use ::catalogue::{Address, Content, KeyLimit, Kind, Record, Seen, Stamp};
use delta_crdt::ReplicaId;
use quota::{Algorithm, Limit, Nanos};

use super::{start, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_another_member_has_is_known_when_it_was_looked_up() {
    let cookie = "lookups";
    let anna = start("anna", cookie, &[]).await;
    let bert = start("bert", cookie, &[&anna]).await;
    let look_up = async |name: &str| bert.look_up_record(Kind::KeyLimit, "", name).await;
    until("both", || bert.peers().len() == 2).await;
    let limit = Limit::new(Algorithm::Gcra, 5, Nanos::from_secs(60)).unwrap();
    let mut found = 0;
    for number in 0..50 {
        let name = format!("key {number}");
        let address = Address::new(Kind::KeyLimit, "".into(), name.as_str().into()).unwrap();
        let content = Content::KeyLimit(KeyLimit {
            limit,
            as_token_bucket: false,
        });
        let stamp = Stamp::new(1 + number, ReplicaId(9)).unwrap();
        let record = Record::new(Some(content), stamp, Seen::default());
        // As if the change had not reached the other: nobody is told.
        anna.with_records(|state, now| state.catalogue.on_told(now, address, record));
        let was_unknown = bert.record(Kind::KeyLimit, "", &name).is_none();
        let is_known = look_up(&name).await;
        assert_eq!(is_known, bert.record(Kind::KeyLimit, "", &name).is_some());
        found += usize::from(was_unknown && is_known);
    }
    assert!(0 < found, "each was told by an exchange before");
    assert!(!look_up("nowhere").await);
    for node in [&bert, &anna] {
        node.stop().await;
    }
    assert!(!look_up("later").await, "nobody is left");
}
