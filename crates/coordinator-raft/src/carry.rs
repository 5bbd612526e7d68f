//! The way of hits from this node's fronts to the log and back.

use std::sync::Arc;
use std::time::Duration;

use coordinator::NoDecision;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::ask::{self, Outcome, Parcel};
use crate::engine::Proposed;
use crate::inbox::{Filed, Filing};
use crate::node::Node;
use crate::outbox::{Load, RETRY_AFTER};
use crate::peers::{CallError, Peers};
use crate::wire::{Kind, Reply, Request};

/// How long the next parcel, or entry, waits for the one before: hits gather meanwhile and leave together, which in one
/// process makes half as many decisions again a second as two at once. An answer that takes longer than this is stuck,
/// or far away, and holds up nobody.
const STALLED: Duration = Duration::from_millis(10);

/// Parcels, or entries, on their way at once when answers are stuck. With 4 096 hits each, what a second brings; what
/// comes then waits in the queue.
const UNDER_WAY_MAX: usize = 8;

/// How long one attempt waits for the leader. Longer than any entry takes while the leader lives; one that is replaced
/// is found out by the election, not by this.
const ATTEMPT: Duration = Duration::from_millis(1_000);

/// How long to wait for a leader before looking again anyway.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Sends what fronts ask to whoever leads, for ever.
pub(crate) async fn carry_all<P: Peers>(node: Arc<Node<P>>) {
    let lane = Lane::new();
    while let Ok(permit) = lane.permit().await {
        let load = node.outbox.next().await;
        let node = Arc::clone(&node);
        lane.work(permit, async move { node.carry(load).await })
            .await;
    }
}

/// Makes entries of what is filed, for ever.
pub(crate) async fn propose_all<P: Peers>(node: Arc<Node<P>>) {
    let lane = Lane::new();
    while let Ok(permit) = lane.permit().await {
        let filings = node.inbox.next().await;
        let node = Arc::clone(&node);
        lane.work(permit, async move { node.propose_filed(filings).await })
            .await;
    }
}

/// Where one piece of work follows the other, unless that stalls.
struct Lane {
    under_way: Arc<Semaphore>,
}

impl Lane {
    fn new() -> Self {
        Self {
            under_way: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
        }
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.under_way).acquire_owned().await
    }

    /// Returns when `work` is done, or stalls and goes on by itself.
    async fn work(
        &self,
        permit: OwnedSemaphorePermit,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let work = tokio::spawn(async move {
            work.await;
            drop(permit);
        });
        let _stalled = tokio::time::timeout(STALLED, work).await;
    }
}

impl<P: Peers> Node<P> {
    async fn propose_filed(&self, filings: Vec<Filing>) {
        let (parcels, waiting): (Vec<_>, Vec<_>) = filings
            .into_iter()
            .map(|Filing { parcel, filed }| {
                let hits = parcel.asks.len();
                (parcel, (hits, filed))
            })
            .unzip();
        let hits: usize = waiting.iter().map(|(hits, _)| hits).sum();
        match self.propose(parcels).await {
            Proposed::Done(outcomes) if outcomes.len() == hits => {
                let mut outcomes = outcomes.into_iter();
                for (hits, filed) in waiting {
                    let _gone = filed.send(Filed::Decided(outcomes.by_ref().take(hits).collect()));
                }
            }
            Proposed::NotLeader(leader) => tell_all(waiting, &Filed::NotLeader(leader)),
            Proposed::Done(_) | Proposed::Lost => tell_all(waiting, &Filed::Lost),
        }
    }

    /// Has a load decided: by whoever leads, again and again under the same ids until each hit is decided or given up.
    async fn carry(&self, mut load: Load) {
        let mut may_be_counted = false;
        loop {
            load.drop_abandoned();
            if load.asks.is_empty() {
                return;
            }
            let mut leader = self.leader.subscribe();
            let now_leading = *leader.borrow_and_update();
            let detour = *self.detour.borrow();
            let to = detour.or(now_leading);
            // Noted before, since whoever waits may stop waiting in the middle.
            self.outbox
                .trace(&load.asks, may_be_counted || to.is_some());
            let parcel = self.outbox.parcel(self.config.me, &load.asks);
            let kind = detour.map_or(Kind::Hits, |_| Kind::Relay);
            let filed = match to {
                None => Filed::NotLeader(None),
                Some(to) => tokio::select! {
                    biased;
                    filed = self.ask(to, kind, parcel) => filed,
                    // What was asked of one who leads no more may yet be decided; it has an id.
                    () = is_replaced(&mut leader, now_leading) => Filed::Lost,
                },
            };
            if detour.is_some() && !matches!(filed, Filed::Decided(_) | Filed::Full) {
                // Until the steward has found the way again: not the whole load every few milliseconds.
                self.detour.send_if_modified(|now| {
                    let is_unchanged = *now == detour;
                    if is_unchanged {
                        *now = None;
                    }
                    is_unchanged
                });
            }
            match filed {
                Filed::Decided(outcomes) => return tell(load, outcomes),
                Filed::NotLeader(_) => self.outbox.trace(&load.asks, may_be_counted),
                Filed::Full if !may_be_counted => {
                    return give_up(
                        load,
                        NoDecision::Overloaded {
                            retry_after: RETRY_AFTER,
                        },
                    );
                }
                Filed::Full => {}
                Filed::Lost => {
                    may_be_counted = true;
                    self.meter.retried.increment(load.asks.len() as u64);
                }
            }
            if self.is_stopped() && !may_be_counted {
                return give_up(
                    load,
                    NoDecision::Draining {
                        retry_after: RETRY_AFTER,
                    },
                );
            }
            let _elapsed = tokio::time::timeout(LOOK_AGAIN, leader.changed()).await;
        }
    }

    async fn ask(&self, to: u32, kind: Kind, parcel: Parcel) -> Filed {
        if to == self.config.me {
            return self.file(parcel).await;
        }
        self.meter.forwarded.increment(parcel.asks.len() as u64);
        self.send(to, kind, &parcel).await
    }

    /// Brings a parcel to another node, and tells what came of it there.
    pub(crate) async fn send(&self, to: u32, kind: Kind, parcel: &Parcel) -> Filed {
        let Some(seat) = self.seat() else {
            return Filed::NotLeader(None);
        };
        let request = Request {
            group: Some(seat.group()),
            kind,
            body: parcel.encode(),
        };
        let call = self.peers.call(to, request.encode(), ATTEMPT);
        let answer = match tokio::time::timeout(ATTEMPT, call).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(CallError::Unreachable | CallError::NotRunning)) => {
                return Filed::NotLeader(None);
            }
            Ok(Err(CallError::Silent)) | Err(_) => return Filed::Lost,
        };
        match Reply::decode(&answer) {
            Some(Reply::Done(body)) => match ask::decode_outcomes(&body) {
                Ok(outcomes) if outcomes.len() == parcel.asks.len() => Filed::Decided(outcomes),
                _ => Filed::Lost,
            },
            Some(Reply::NotLeader(leader)) => Filed::NotLeader(leader),
            Some(Reply::Foreign | Reply::Refused) => Filed::NotLeader(None),
            Some(Reply::Full) => Filed::Full,
            Some(Reply::Lost) | None => Filed::Lost,
        }
    }
}

async fn is_replaced(
    leader: &mut tokio::sync::watch::Receiver<Option<u32>>,
    by_other_than: Option<u32>,
) {
    let replaced = leader.wait_for(|now| now.is_some() && *now != by_other_than);
    if replaced.await.is_err() {
        std::future::pending().await
    }
}

fn tell(load: Load, outcomes: Vec<Outcome>) {
    for (told, outcome) in load.told.into_iter().zip(outcomes) {
        let _gone = told.send(match outcome {
            Outcome::Decided(decision) => Ok(decision),
            // Only if this node has given it up: nobody listens.
            Outcome::TooLate => Err(NoDecision::Unknown {
                retry_after: RETRY_AFTER,
            }),
        });
    }
}

fn give_up(load: Load, error: NoDecision) {
    for told in load.told {
        let _gone = told.send(Err(error));
    }
}

fn tell_all(waiting: Vec<(usize, tokio::sync::oneshot::Sender<Filed>)>, outcome: &Filed) {
    for (_, filed) in waiting {
        let _gone = filed.send(outcome.clone());
    }
}
