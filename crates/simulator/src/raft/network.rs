//! A network that loses, delays, repeats, cuts and stalls.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use coordinator_raft::{CallError, Peers, RaftCoordinator};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// One node of the strategy.
pub type Node = RaftCoordinator<Port>;

/// How long a message to a stalled node waits before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What the network does to messages.
#[derive(Clone, Copy)]
pub struct Weather {
    /// Of a hundred messages, requests and answers alike, how many are lost.
    pub lost_percent: u32,
    /// Of a hundred requests, how many arrive twice.
    pub repeated_percent: u32,
    /// The most that one is late.
    pub delay_max: Duration,
}

/// Nothing is lost, repeated or late.
pub const FAIR: Weather = Weather {
    lost_percent: 0,
    repeated_percent: 0,
    delay_max: Duration::ZERO,
};

#[derive(Clone)]
pub(super) struct Network {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    nodes: HashMap<u32, Node>,
    cut: HashSet<(u32, u32)>,
    /// Those that neither send nor hear until they wake.
    stalled: Option<u32>,
    weather: Weather,
    rng: SmallRng,
    largest: usize,
}

/// How one node reaches the others.
#[derive(Clone)]
pub struct Port {
    network: Network,
    from: u32,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner {
                nodes: HashMap::new(),
                cut: HashSet::new(),
                stalled: None,
                weather: FAIR,
                rng: SmallRng::seed_from_u64(seed),
                largest: 0,
            })),
        }
    }

    pub(super) fn port(&self, from: u32) -> Port {
        Port {
            network: self.clone(),
            from,
        }
    }

    pub(super) fn add(&self, id: u32, node: Node) {
        self.lock().nodes.insert(id, node);
    }

    pub(super) fn remove(&self, id: u32) {
        self.lock().nodes.remove(&id);
    }

    /// Nodes of different sides do not hear each other.
    pub(super) fn split(&self, sides: &[Vec<u32>]) {
        let mut inner = self.lock();
        inner.cut.clear();
        for (place, side) in sides.iter().enumerate() {
            let others = sides
                .iter()
                .enumerate()
                .filter(|&(other, _)| other != place);
            for there in others.flat_map(|(_, other)| other) {
                inner.cut.extend(side.iter().map(|&here| (here, *there)));
            }
        }
    }

    /// From the first to the second of each pair nothing gets through.
    pub(super) fn cut(&self, pairs: HashSet<(u32, u32)>) {
        self.lock().cut = pairs;
    }

    pub(super) fn is_cut(&self, from: u32, to: u32) -> bool {
        self.lock().cut.contains(&(from, to))
    }

    pub(super) fn stall(&self, id: Option<u32>) {
        self.lock().stalled = id;
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        self.lock().weather = weather;
    }

    pub(super) fn largest_body(&self) -> usize {
        self.lock().largest
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics under this lock")
    }

    /// Whether a message from `from` arrives at `to`, after the time that it takes.
    async fn carries(&self, from: u32, to: u32) -> bool {
        let delay = {
            let mut inner = self.lock();
            let most = inner.weather.delay_max;
            most.mul_f64(inner.rng.random())
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        while self.is_stalled(from) || self.is_stalled(to) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let lost_percent = self.lock().weather.lost_percent;
        !self.happens(lost_percent) && !self.is_cut(from, to)
    }

    fn is_stalled(&self, id: u32) -> bool {
        self.lock().stalled == Some(id)
    }

    fn happens(&self, percent: u32) -> bool {
        self.lock().rng.random_range(0..100) < percent
    }

    /// Brings a request there, and the answer back if neither gets lost.
    async fn travel(self, from: u32, to: u32, request: Bytes) -> Option<Bytes> {
        if !self.carries(from, to).await {
            return None;
        }
        let node = self.lock().nodes.get(&to).cloned()?;
        let sent = request.len();
        let answer = node.on_call(from, request).await;
        {
            let mut inner = self.lock();
            inner.largest = inner.largest.max(sent).max(answer.len());
        }
        self.carries(to, from).await.then_some(answer)
    }
}

impl Peers for Port {
    async fn call(&self, to: u32, request: Bytes, deadline: Duration) -> Result<Bytes, CallError> {
        let (network, from) = (&self.network, self.from);
        if !network.lock().nodes.contains_key(&to) {
            return Err(CallError::Unreachable);
        }
        let repeated_percent = network.lock().weather.repeated_percent;
        if network.happens(repeated_percent) {
            tokio::spawn(network.clone().travel(from, to, request.clone()));
        }
        // What was sent is on its way, whether or not anybody still waits for the answer.
        let travel = tokio::spawn(network.clone().travel(from, to, request));
        let answer = async {
            match travel.await {
                Ok(Some(answer)) => answer,
                _ => std::future::pending().await,
            }
        };
        tokio::time::timeout(deadline, answer)
            .await
            .map_err(|_| CallError::Silent)
    }
}
