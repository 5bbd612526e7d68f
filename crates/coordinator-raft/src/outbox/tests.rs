use quota::{Algorithm, Cost};

use super::*;

fn subject(key: u128) -> Subject {
    let limit = Limit::new(Algorithm::Gcra, 5, Nanos::from_secs(1)).unwrap();
    (KeyHash::new(key), limit, Operation::Hit(Cost::ONE))
}

fn put(outbox: &Arc<Outbox>, hits: usize) -> Vec<Result<Ticket, NoDecision>> {
    outbox.put((0..hits).map(|key| subject(key as u128)))
}

#[tokio::test]
async fn a_hit_that_is_given_up_does_not_leave_and_is_settled() {
    let outbox = Arc::<Outbox>::default();
    let mut tickets = put(&outbox, 3);
    assert_eq!(outbox.settled(), 1);
    drop(tickets.remove(0));
    assert_eq!(outbox.settled(), 2);
    let load = outbox.next().await;
    let sequences: Vec<_> = load.asks.iter().map(|ask| ask.sequence).collect();
    assert_eq!(sequences, [2, 3]);
    drop(tickets);
    assert_eq!((outbox.settled(), outbox.open()), (4, 0));
}

#[tokio::test]
async fn a_full_queue_sheds_and_a_closed_one_drains() {
    let outbox = Arc::<Outbox>::default();
    let waiting = put(&outbox, WAITING_MAX);
    assert!(waiting.iter().all(Result::is_ok));
    let shed = put(&outbox, 1).pop().unwrap();
    assert!(matches!(shed, Err(NoDecision::Overloaded { .. })));
    outbox.close();
    let late = put(&outbox, 1).pop().unwrap();
    assert!(matches!(late, Err(NoDecision::Draining { .. })));
}

#[tokio::test]
async fn hits_that_came_together_leave_together() {
    let outbox = Arc::<Outbox>::default();
    let _first = put(&outbox, PARCEL_MAX - 1);
    let _batch = put(&outbox, 1_000);
    let _last = put(&outbox, 1);
    assert_eq!(outbox.next().await.asks.len(), PARCEL_MAX - 1 + 1_000);
    assert_eq!(outbox.next().await.asks.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_in_vain_is_told_whether_it_may_have_been_counted() {
    let outbox = Arc::<Outbox>::default();
    let mut tickets = put(&outbox, 2);
    let load = outbox.next().await;
    outbox.trace(&load.asks[1..], true);
    let soon = tokio::time::Instant::now() + std::time::Duration::from_secs(1);
    let second = tickets.pop().unwrap().unwrap().decided(soon).await;
    let first = tickets.pop().unwrap().unwrap().decided(soon).await;
    assert!(matches!(first, Err(NoDecision::Unavailable { .. })));
    assert!(matches!(second, Err(NoDecision::Unknown { .. })));
}
