//! What one node has not heard of yet, it asks another for.

use ::catalogue::{Address, Content, KeyLimit, Kind, Place, Record, Seen, Stamp};
use delta_crdt::ReplicaId;
use quota::{Algorithm, Limit, Nanos};

use super::{PATIENCE, start, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_another_member_has_is_known_when_it_was_looked_up() {
    let cookie = "lookups";
    let anna = start("anna", cookie, &[]).await;
    let bert = start("bert", cookie, &[&anna]).await;
    until("both", || bert.peers().len() == 2).await;
    let limit = Limit::new(Algorithm::Gcra, 5, Nanos::from_secs(60)).unwrap();
    let content = Content::KeyLimit(KeyLimit {
        limit,
        as_token_bucket: false,
    });
    let address = Address::new(Kind::KeyLimit, "".into(), "lone".into()).unwrap();
    let record = Record::new(
        Some(content),
        Stamp::new(1, ReplicaId(9)).unwrap(),
        Seen::default(),
    );
    // As if the change had not reached the other: nobody is told, but by exchanges, which are not waited for here.
    let kept = (address.clone(), record.clone());
    anna.with_records(|state, now| state.catalogue.on_told(now, kept.0, kept.1));
    let place = Place::of(&bert.keys(), Kind::KeyLimit, "", "lone");
    let answered = async {
        loop {
            if let Some(answer) = bert.ask_for(place).await {
                break answer;
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, answered).await;
    assert_eq!(answer.unwrap(), (address, record.clone()));
    let look_up = async |name: &str| bert.look_up_record(Kind::KeyLimit, "", name).await;
    // A question may come to no answer in time, and an exchange may bring what is asked for: then another is asked for.
    let looked_up = async {
        let mut number = 0;
        loop {
            number += 1;
            let name = format!("lone {number}");
            let address = Address::new(Kind::KeyLimit, "".into(), name.as_str().into()).unwrap();
            anna.with_records(|state, now| state.catalogue.on_told(now, address, record.clone()));
            let was_known = bert.record(Kind::KeyLimit, "", &name).is_some();
            if look_up(&name).await && !was_known {
                break name;
            }
        }
    };
    let name = tokio::time::timeout(PATIENCE, looked_up).await.unwrap();
    let known = bert.record(Kind::KeyLimit, "", &name);
    assert_eq!(known.as_ref(), record.content());
    assert!(!look_up("nowhere").await);
    for node in [&bert, &anna] {
        node.stop().await;
    }
}
