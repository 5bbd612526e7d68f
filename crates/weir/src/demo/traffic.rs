//! The clients: hits at a steady pace through every live node, whether or not earlier ones are answered.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::keys::{KEYS, in_turn};
use super::story::{Event, NODES};
use crate::client::Client;

/// Between two hits through the same node: 125 a second each, which three debug builds on two cores still carry.
const PACE: Duration = Duration::from_millis(8);
/// Hits in flight at once. A third of those through two nodes wait for a takeover: this many cover six seconds of it.
const IN_FLIGHT_MAX: u32 = 512;

/// The clients of the nodes that serve.
#[derive(Default, Debug)]
pub(crate) struct Clients {
    nodes: RwLock<[Option<Arc<Client>>; NODES]>,
}

impl Clients {
    /// The client of a node; `None` while it does not serve.
    pub(crate) fn of(&self, node: usize) -> Option<Arc<Client>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner)[node].clone()
    }

    /// Nodes that serve.
    pub(crate) fn live(&self) -> Vec<(usize, Arc<Client>)> {
        (0..NODES)
            .filter_map(|node| Some((node, self.of(node)?)))
            .collect()
    }

    /// From now on a node is asked through this client.
    pub(crate) fn put(&self, node: usize, client: Option<Arc<Client>>) {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner)[node] = client;
    }
}

/// What sends hits.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    start: Instant,
    clients: Arc<Clients>,
    events: Sender<Event>,
    permits: Arc<Semaphore>,
}

impl Traffic {
    /// Sends nothing yet. Events tell times since `start`.
    pub(crate) fn new(start: Instant, clients: Arc<Clients>, events: Sender<Event>) -> Self {
        Self {
            start,
            clients,
            events,
            permits: Arc::new(Semaphore::new(IN_FLIGHT_MAX as usize)),
        }
    }

    /// Sends through every node until the tasks are aborted.
    pub(crate) fn start(&self) -> Vec<JoinHandle<()>> {
        (0..NODES)
            .map(|node| tokio::spawn(self.clone().keep_hitting(node)))
            .collect()
    }

    async fn keep_hitting(self, node: usize) {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0.. {
            pace.tick().await;
            if let Some(client) = self.clients.of(node) {
                self.hit(node, client, in_turn(node, number)).await;
            }
        }
    }

    /// Sends one hit of each key, spread over the nodes that serve.
    pub(crate) async fn probe(self, keys: Vec<usize>) {
        let live = self.clients.live();
        for (key, (node, client)) in keys.into_iter().zip(live.iter().cycle()) {
            self.hit(*node, client.clone(), key).await;
        }
    }

    /// Returns when no hit is in flight. Nothing may be sent meanwhile.
    pub(crate) async fn quiet(&self) {
        // Never closed; and if it were, nothing could be in flight.
        let _ = self.permits.acquire_many(IN_FLIGHT_MAX).await;
    }

    /// Sends a hit, and does not wait for its answer; waits while too many are in flight.
    async fn hit(&self, node: usize, client: Arc<Client>, key: usize) {
        let Ok(permit) = self.permits.clone().acquire_owned().await else {
            return;
        };
        let traffic = self.clone();
        tokio::spawn(async move {
            let event = traffic.exchange(node, &client, key).await;
            // When the demo has ended, nobody listens any more.
            let _ = traffic.events.send(event).await;
            drop(permit);
        });
    }

    async fn exchange(&self, node: usize, client: &Client, key: usize) -> Event {
        let sent = Instant::now();
        let sent_at = sent - self.start;
        let answer = client.post("/v1/check", check(key, 1)).await;
        let took = sent.elapsed();
        let why = match answer {
            Ok((200 | 429, answer)) => match answer["allowed"].as_bool() {
                Some(admitted) => {
                    return Event::Answered {
                        node,
                        key,
                        sent_at,
                        took,
                        admitted,
                    };
                }
                None => "an answer that no node gives".to_owned(),
            },
            Ok((status, answer)) => {
                let part = |name: &str| answer[name].as_str().unwrap_or("-").to_owned();
                format!("{status} {}: {}", part("title"), part("detail"))
            }
            Err(error) => error.to_string(),
        };
        Event::Unanswered {
            node,
            key,
            sent_at,
            why,
        }
    }
}

/// The body of a check of that key.
pub(crate) fn check(key: usize, cost: u32) -> String {
    let key = &KEYS[key];
    rehearsal::check(key.limit_name, &key.name, cost)
}
