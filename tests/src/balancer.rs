//! Whoever stands in front of nodes and sends requests to those that say that they are ready: never twice, so that every failure is seen.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rehearsal::{Client, Response};

/// How often a node is asked, and how long it may take: a fortieth of what nodes drain for here, as balancers have it in earnest with
/// seconds for both.
const LOOKS_EVERY: Duration = Duration::from_millis(50);
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Asks nodes for `/ready` until it is dropped.
#[derive(Debug)]
pub struct Balancer {
    nodes: Arc<Vec<Behind>>,
    stop: Arc<AtomicBool>,
    looking: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Behind {
    address: SocketAddr,
    is_ready: AtomicBool,
}

/// One client of a [`Balancer`], with a connection to each node that stays open while that is ready.
#[derive(Debug)]
pub struct Balanced {
    nodes: Arc<Vec<Behind>>,
    connections: Vec<Option<Client>>,
    turn: usize,
}

/// Numbers clients, so that each begins with another node.
static CLIENTS: AtomicUsize = AtomicUsize::new(0);

impl Balancer {
    /// In front of the nodes at these addresses.
    #[must_use]
    pub fn new(addresses: &[SocketAddr]) -> Self {
        let behind = |&address: &SocketAddr| Behind {
            address,
            is_ready: AtomicBool::new(is_ready(address)),
        };
        let nodes: Arc<Vec<Behind>> = Arc::new(addresses.iter().map(behind).collect());
        let stop = Arc::new(AtomicBool::new(false));
        let look = |place: usize| {
            let (nodes, stop) = (Arc::clone(&nodes), Arc::clone(&stop));
            thread::spawn(move || {
                let node = &nodes[place];
                while !stop.load(Ordering::Relaxed) {
                    let ready = is_ready(node.address);
                    node.is_ready.store(ready, Ordering::Relaxed);
                    // As often as a balancer asks, not a wait for something.
                    thread::sleep(LOOKS_EVERY);
                }
            })
        };
        let looking = (0..nodes.len()).map(look).collect();
        Self {
            nodes,
            stop,
            looking,
        }
    }

    /// One client more.
    #[must_use]
    pub fn client(&self) -> Balanced {
        Balanced {
            nodes: Arc::clone(&self.nodes),
            connections: self.nodes.iter().map(|_| None).collect(),
            turn: CLIENTS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// How many nodes it sends requests to.
    #[must_use]
    pub fn ready(&self) -> usize {
        let ready = |node: &&Behind| node.is_ready.load(Ordering::Relaxed);
        self.nodes.iter().filter(ready).count()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for looking in self.looking.drain(..) {
            // One that has panicked has said why.
            let _said = looking.join();
        }
    }
}

fn is_ready(node: SocketAddr) -> bool {
    let asked = Client::connect_within(node, ANSWERS_WITHIN)
        .and_then(|mut client| client.request("GET", "/ready", &[], None));
    asked.is_ok_and(|answer| answer.status == 200)
}

impl Balanced {
    /// One request to the next node that is ready.
    ///
    /// # Errors
    ///
    /// When none is, or that one gives no answer.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> io::Result<Response> {
        let place = self.next().ok_or(io::ErrorKind::NotConnected)?;
        let mut client = match self.connections[place].take() {
            Some(client) => client,
            None => Client::connect(self.nodes[place].address)?,
        };
        let answer = client.request(method, path, headers, body)?;
        if answer.header("connection") != Some("close") {
            self.connections[place] = Some(client);
        }
        Ok(answer)
    }

    /// Closes what it has to nodes that are not ready, and finds the next that is.
    fn next(&mut self) -> Option<usize> {
        let is_ready = |place: usize| self.nodes[place].is_ready.load(Ordering::Relaxed);
        for (place, connection) in self.connections.iter_mut().enumerate() {
            if !is_ready(place) {
                *connection = None;
            }
        }
        let nodes = self.nodes.len();
        let found = (1..=nodes).map(|step| (self.turn + step) % nodes);
        let found = found.into_iter().find(|&place| is_ready(place));
        self.turn = found.unwrap_or(self.turn);
        found
    }
}
