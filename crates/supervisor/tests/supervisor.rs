//! Tasks below a supervisor: what a panic does, and what is left after a stop.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use supervisor::Supervisor;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How long a test waits for what must happen. Long: it is waited for, not timed.
const PATIENCE: Duration = Duration::from_secs(20);

async fn next<T>(told: &mut UnboundedReceiver<T>) -> Option<T> {
    tokio::time::timeout(PATIENCE, told.recv())
        .await
        .expect("it is told soon")
}

#[tokio::test]
async fn a_task_that_panics_is_started_again_and_its_neighbour_goes_on() {
    let supervisor = Supervisor::start();
    let (tell, mut told) = unbounded_channel();
    let starts = Arc::new(AtomicU32::new(0));
    let (teller, counter) = (tell.clone(), Arc::clone(&starts));
    supervisor.run("flaky", move || {
        let (teller, start) = (teller.clone(), counter.fetch_add(1, Ordering::SeqCst));
        async move {
            teller.send(start).unwrap();
            tokio::task::yield_now().await;
            assert!(3 <= start, "on purpose");
            pending().await
        }
    });
    let neighbour = Arc::new(AtomicU32::new(0));
    let entered = Arc::clone(&neighbour);
    supervisor.run("steady", move || {
        entered.fetch_add(1, Ordering::SeqCst);
        pending()
    });
    for start in 0..=3 {
        assert_eq!(next(&mut told).await, Some(start));
    }
    assert_eq!(neighbour.load(Ordering::SeqCst), 1);
    supervisor.stop().await;
}

#[tokio::test]
async fn a_panic_while_the_task_is_made_is_contained_too() {
    let supervisor = Supervisor::start();
    let (tell, mut told) = unbounded_channel();
    let starts = AtomicU32::new(0);
    supervisor.run("made", move || {
        assert!(0 < starts.fetch_add(1, Ordering::SeqCst), "on purpose");
        let tell = tell.clone();
        async move { tell.send(()).unwrap() }
    });
    assert_eq!(next(&mut told).await, Some(()));
    supervisor.stop().await;
}

#[tokio::test]
async fn a_task_that_returns_is_not_started_again() {
    let supervisor = Supervisor::start();
    let (tell, mut told) = unbounded_channel();
    supervisor.run("brief", move || {
        let tell = tell.clone();
        async move { tell.send(()).unwrap() }
    });
    assert_eq!(next(&mut told).await, Some(()));
    supervisor.stop().await;
    assert_eq!(
        next(&mut told).await,
        None,
        "what made it is gone, and was called once"
    );
}

#[tokio::test]
async fn nothing_of_a_stopped_supervisor_is_left() {
    let supervisor = Supervisor::start();
    let (tell, mut told) = unbounded_channel::<()>();
    let (held, twice) = (tell.clone(), tell);
    supervisor.run("endless", move || {
        let held = held.clone();
        async move {
            held.send(()).unwrap();
            let _held = held;
            pending().await
        }
    });
    assert_eq!(next(&mut told).await, Some(()));
    supervisor.stop().await;
    supervisor.run("late", move || {
        let twice = twice.clone();
        async move { twice.send(()).unwrap() }
    });
    supervisor.stop().await;
    assert_eq!(next(&mut told).await, None, "every sender was dropped");
}
