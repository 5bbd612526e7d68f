//! What one node has not heard of yet, it asks another for.

use std::time::Duration;

use ::catalogue::{Address, Content, KeyLimit, Kind, Place, Record, Seen, Stamp};
use delta_crdt::ReplicaId;
use quota::{Algorithm, Limit, Nanos};
use tokio::time::sleep;

use super::{start, until};

/// Questions until one has come to an answer. With the pauses between them and 200 ms for each, less than half a minute.
const TURNS: usize = 100;
/// Half of the questions that a node asks in a second at most.
const PAUSE: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_another_member_has_is_known_when_it_was_looked_up() {
    let cookie = "lookups";
    let anna = start("anna", cookie, &[]).await;
    let bert = start("bert", cookie, &[&anna]).await;
    until("both", || bert.peers().len() == 2).await;
    // Each was among its own others, and missing in its own pictures.
    assert_eq!(
        (anna.others(), bert.others()),
        (vec!["bert".to_owned()], vec!["anna".to_owned()])
    );
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
    let mut answer = None;
    for _ in 0..TURNS {
        answer = bert.ask_for(place).await;
        if answer.is_some() {
            break;
        }
        sleep(PAUSE).await;
    }
    assert_eq!(answer, Some((address, record.clone())));
    let look_up = async |name: &str| bert.look_up_record(Kind::KeyLimit, "", name).await;
    let exchanged = || bert.with_records(|state, _| state.catalogue.exchanged());
    // A question may come to no answer in time, and an exchange may bring what is asked for: then another is asked for.
    let mut looked_up = None;
    for number in 0..TURNS {
        let name = format!("lone {number}");
        let address = Address::new(Kind::KeyLimit, "".into(), name.as_str().into()).unwrap();
        let before = exchanged();
        anna.with_records(|state, now| state.catalogue.on_told(now, address, record.clone()));
        let was_known = bert.record(Kind::KeyLimit, "", &name).is_some();
        if look_up(&name).await && !was_known && exchanged() == before {
            looked_up = bert.record(Kind::KeyLimit, "", &name);
            break;
        }
        sleep(PAUSE).await;
    }
    assert_eq!(looked_up.as_ref(), record.content());
    assert!(!look_up("nowhere").await);
    for node in [&bert, &anna] {
        node.stop().await;
    }
}
