//! Many clients, and a record of what each was told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rehearsal::{Client, Response};
use serde_json::Value;

use crate::node::Node;
use crate::wait::eventually;

/// What is counted: a key of a limit.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Target {
    /// Name of the limit.
    pub limit: String,
    /// Who or what is counted.
    pub key: String,
}

/// One hit, as the client that sent it knows it.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Whom it asked.
    pub node: SocketAddr,
    /// What was hit.
    pub target: Target,
    /// Before the request was written.
    pub sent: Instant,
    /// After the answer was read.
    pub answered: Instant,
    /// What was said.
    pub outcome: Outcome,
}

/// What became of a hit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Counted.
    Admitted,
    /// Not counted: over the limit.
    Denied,
    /// Any other status, and what it came with.
    Refused(u16, String),
    /// No answer: counted or not.
    Unanswered(String),
}

impl Target {
    /// `key` of `limit`.
    #[must_use]
    pub fn new(limit: &str, key: &str) -> Self {
        Self {
            limit: limit.to_owned(),
            key: key.to_owned(),
        }
    }
}

impl Outcome {
    /// Whether the client was told that its hit is not counted: a problem says so, unless it says that this is unknown.
    #[must_use]
    pub fn is_uncounted(&self) -> bool {
        match self {
            Self::Admitted | Self::Unanswered(_) => false,
            Self::Denied => true,
            Self::Refused(_, body) => {
                let problem: Value = serde_json::from_str(body).unwrap_or_default();
                problem["type"].is_string() && problem["counted"] != "unknown"
            }
        }
    }

    fn of(answer: std::io::Result<Response>) -> Self {
        match answer {
            Ok(response) => match response.status {
                200 => Self::Admitted,
                429 => Self::Denied,
                status => Self::Refused(status, response.body),
            },
            Err(error) => Self::Unanswered(error.to_string()),
        }
    }
}

/// Clients that go on until they are stopped, at a steady rate.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<Hit>>>,
}

/// Clients of one node each; three nodes with four clients each at 25 hits a second are 300 hits a second.
const CLIENTS_PER_NODE: usize = 4;

impl Load {
    /// Starts to hit `targets` in turn, `rate` times a second in all, through all `nodes` alike.
    ///
    /// A client whose connection breaks opens another; when its node is gone, it ends.
    #[must_use]
    pub fn start(nodes: &[Node], targets: &[Target], rate: u32) -> Self {
        Self::run(nodes, rate, |number| {
            // Each begins elsewhere, so that a target is hit through all nodes.
            let mut turn = targets.to_vec();
            turn.rotate_left(number % targets.len());
            turn.into_iter().cycle()
        })
    }

    /// The same of keys that are hit once each, by turns of `limits`: what is counted of a key says what became of that hit.
    #[must_use]
    pub fn of_fresh_keys(nodes: &[Node], limits: &[&str], rate: u32) -> Self {
        Self::run(nodes, rate, |number| {
            let limits: Vec<String> = limits.iter().map(ToString::to_string).collect();
            let keys = (0..).map(move |hit| format!("fresh-{number}-{hit}"));
            let turns = limits.into_iter().cycle().zip(keys);
            turns.map(|(limit, key)| Target { limit, key })
        })
    }

    fn run<T>(nodes: &[Node], rate: u32, targets: impl Fn(usize) -> T) -> Self
    where
        T: Iterator<Item = Target> + Send + 'static,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let clients = u32::try_from(nodes.len() * CLIENTS_PER_NODE).expect("few");
        let pause = Duration::from_secs(1) * clients / rate;
        let client = |number: usize, address: SocketAddr| {
            let (stop, answered) = (stop.clone(), answered.clone());
            let targets = targets(number);
            thread::spawn(move || {
                let mut hits = Vec::new();
                let mut client = Client::connect(address).expect("connecting");
                for target in targets {
                    let hit = hit(&mut client, address, target);
                    let due = hit.sent + pause;
                    let is_broken = matches!(hit.outcome, Outcome::Unanswered(_));
                    hits.push(hit);
                    answered.fetch_add(1, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    if is_broken {
                        match Client::connect(address) {
                            Ok(another) => client = another,
                            Err(_) => break,
                        }
                    }
                    // The rate of the load, not a wait for something.
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                hits
            })
        };
        let addresses = nodes.iter().flat_map(|node| [node.http; CLIENTS_PER_NODE]);
        let clients = addresses
            .enumerate()
            .map(|(number, address)| client(number, address));
        let clients = clients.collect();
        Self {
            stop,
            answered,
            clients,
        }
    }

    /// Waits until `more` hits have been answered from now on.
    #[track_caller]
    pub fn runs(&self, more: usize) {
        let answered = || self.answered.load(Ordering::Relaxed);
        let enough = answered() + more;
        eventually("the load goes on", || {
            (enough <= answered())
                .then_some(())
                .ok_or_else(|| format!("{} of {enough}", answered()))
        });
    }

    /// Ends it: everything that was sent and what came of it.
    #[must_use]
    pub fn stop(self) -> Vec<Hit> {
        self.stop.store(true, Ordering::Relaxed);
        let clients = self.clients.into_iter();
        clients
            .flat_map(|client| client.join().expect("a client does not panic"))
            .collect()
    }
}

fn hit(client: &mut Client, node: SocketAddr, target: Target) -> Hit {
    let sent = Instant::now();
    let answer = client.check(&target.limit, &target.key, 1);
    Hit {
        node,
        target,
        sent,
        answered: Instant::now(),
        outcome: Outcome::of(answer),
    }
}

/// `clients` at once, each on a connection of its own to one of `nodes` in turn, hit one key until it is denied.
///
/// `progress` counts the admitted ones while they happen.
#[must_use]
pub fn spend(
    nodes: &[&Node],
    clients: usize,
    limit: &str,
    key: &str,
    progress: &Arc<AtomicUsize>,
) -> Vec<JoinHandle<Vec<Hit>>> {
    let start = Arc::new(Barrier::new(clients));
    let client = |number: usize| {
        let address = nodes[number % nodes.len()].http;
        let target = Target::new(limit, key);
        let (start, progress) = (start.clone(), progress.clone());
        thread::spawn(move || {
            let client = Client::connect(address);
            start.wait();
            let mut client = client.expect("connecting");
            let mut hits = Vec::new();
            loop {
                let hit = hit(&mut client, address, target.clone());
                let is_admitted = hit.outcome == Outcome::Admitted;
                hits.push(hit);
                if !is_admitted {
                    return hits;
                }
                progress.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    (0..clients).map(client).collect()
}

/// As [`spend`], to its end.
///
/// # Panics
///
/// If anything but an admission or a denial is answered.
#[must_use]
#[track_caller]
pub fn at_once(nodes: &[&Node], clients: usize, limit: &str, key: &str) -> usize {
    let progress = Arc::new(AtomicUsize::new(0));
    let clients = spend(nodes, clients, limit, key, &progress);
    let clients = clients.into_iter();
    let hits: Vec<Hit> = clients
        .flat_map(|client| client.join().expect("no panic"))
        .collect();
    let strange = |hit: &&Hit| !matches!(hit.outcome, Outcome::Admitted | Outcome::Denied);
    assert_eq!(hits.iter().find(strange).map(|hit| &hit.outcome), None);
    hits.iter()
        .filter(|hit| hit.outcome == Outcome::Admitted)
        .count()
}
