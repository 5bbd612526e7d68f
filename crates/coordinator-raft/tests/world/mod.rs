//! Nodes in one process, on a network that loses, delays and cuts, in time that passes when nobody has anything to do.

#![allow(dead_code)] // Each test takes what it needs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use coordinator::{FailMode, Policy, Strategy};
use coordinator_raft::{
    CallError, Member, Peers, RaftConfig, RaftCoordinator, RaftStatus, StartError, Timings,
};
use quota::{Algorithm, KeyHasher, Limit, Nanos, UnixNanos};
use tokio::sync::watch;
use tokio::time::Instant;

/// Long enough that nothing comes back during a test.
pub(crate) const DAY: Nanos = Nanos::from_secs(24 * 60 * 60);

pub(crate) type Node = RaftCoordinator<Port>;

/// What the network does to messages.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    /// Of a hundred messages, requests and answers alike, how many are lost.
    pub(crate) lost_percent: u64,
    /// The most that one is late.
    pub(crate) delay_max: Duration,
}

pub(crate) const FAIR: Weather = Weather {
    lost_percent: 0,
    delay_max: Duration::ZERO,
};

#[derive(Clone)]
pub(crate) struct Net {
    inner: Arc<Mutex<NetInner>>,
}

struct NetInner {
    nodes: HashMap<u32, Node>,
    cut: HashSet<(u32, u32)>,
    weather: Weather,
    random: u64,
    largest: usize,
}

/// How one node reaches the others.
#[derive(Clone)]
pub(crate) struct Port {
    net: Net,
    from: u32,
}

impl Net {
    fn random(&self) -> u64 {
        let mut inner = self.inner.lock().unwrap();
        inner.random = inner
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        inner.random >> 33
    }

    /// Whether a message from `from` arrives at `to`, after the time that it takes.
    async fn carries(&self, from: u32, to: u32) -> bool {
        let weather = self.inner.lock().unwrap().weather;
        let micros = weather.delay_max.as_micros() as u64;
        if micros != 0 {
            tokio::time::sleep(Duration::from_micros(self.random() % micros)).await;
        }
        let is_lost = self.random() % 100 < weather.lost_percent;
        let inner = self.inner.lock().unwrap();
        !is_lost && !inner.cut.contains(&(from, to))
    }

    fn note_size(&self, bytes: usize) {
        let mut inner = self.inner.lock().unwrap();
        inner.largest = inner.largest.max(bytes);
    }

    fn node(&self, id: u32) -> Option<Node> {
        self.inner.lock().unwrap().nodes.get(&id).cloned()
    }
}

impl Peers for Port {
    async fn call(&self, to: u32, request: Bytes, deadline: Duration) -> Result<Bytes, CallError> {
        let (net, from) = (self.net.clone(), self.from);
        let Some(node) = net.node(to) else {
            return Err(CallError::Unreachable);
        };
        // What was sent is on its way, whether or not anybody still waits for the answer.
        let travel = tokio::spawn(async move {
            if !net.carries(from, to).await {
                return None;
            }
            let sent = request.len();
            let answer = node.on_call(from, request).await;
            net.note_size(sent.max(answer.len()));
            net.carries(to, from).await.then_some(answer)
        });
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

pub(crate) struct World {
    pub(crate) net: Net,
    pub(crate) timings: Timings,
    pub(crate) data: Option<PathBuf>,
    running: BTreeMap<String, Running>,
    /// Those that are gone, and not replaced: believed dead.
    dead: BTreeMap<String, u32>,
    leaving: HashSet<u32>,
    next_id: u32,
    began: Instant,
}

struct Running {
    id: u32,
    node: Node,
    members: watch::Sender<Vec<Member>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            net: Net {
                inner: Arc::new(Mutex::new(NetInner {
                    nodes: HashMap::new(),
                    cut: HashSet::new(),
                    weather: FAIR,
                    random: 7,
                    largest: 0,
                })),
            },
            timings: Timings::lan(),
            data: None,
            running: BTreeMap::new(),
            dead: BTreeMap::new(),
            leaving: HashSet::new(),
            next_id: 1_000,
            began: Instant::now(),
        }
    }

    /// Nodes that have formed a group with as many voters as there can be.
    pub(crate) async fn of(names: &[&str]) -> Self {
        let mut world = Self::new();
        for name in names {
            world.start(name);
        }
        let voters = match names.len() {
            0..=2 => 1,
            3..=4 => 3,
            _ => 5,
        };
        world
            .until("all voters vote", |world| world.agree_on(voters))
            .await;
        world
    }

    pub(crate) fn start(&mut self, name: &str) {
        self.try_start(name).unwrap();
    }

    /// Starts a node, or starts it again as another incarnation.
    pub(crate) fn try_start(&mut self, name: &str) -> Result<(), StartError> {
        self.next_id += 1;
        let id = self.next_id;
        let began = self.began;
        let (members, watched) = watch::channel(Vec::new());
        let port = Port {
            net: self.net.clone(),
            from: id,
        };
        let config = RaftConfig {
            me: id,
            name: name.to_owned(),
            clock: Arc::new(move || {
                UnixNanos::new(1_800_000_000_000_000_000) + Nanos::from(began.elapsed())
            }),
            hasher: KeyHasher::new([7; 16]),
            data_dir: self.data.as_ref().map(|dir| dir.join(name)),
            timings: self.timings,
        };
        let node = RaftCoordinator::start(config, port, watched)?;
        self.net
            .inner
            .lock()
            .unwrap()
            .nodes
            .insert(id, node.clone());
        self.dead.remove(name);
        self.running
            .insert(name.to_owned(), Running { id, node, members });
        self.tell_members();
        Ok(())
    }

    /// Ends a node without a word, and lets the others know that it is dead.
    pub(crate) async fn kill(&mut self, name: &str) {
        let gone = self.running.remove(name).unwrap();
        self.net.inner.lock().unwrap().nodes.remove(&gone.id);
        gone.node.kill().await;
        self.dead.insert(name.to_owned(), gone.id);
        self.tell_members();
    }

    /// Has a node leave politely.
    pub(crate) async fn leave(&mut self, name: &str) {
        let id = self.id(name);
        self.leaving.insert(id);
        self.tell_members();
        let gone = self.running.remove(name).unwrap();
        gone.node.stop().await;
        self.net.inner.lock().unwrap().nodes.remove(&gone.id);
        self.tell_members();
    }

    /// Nodes of different sides do not hear each other.
    pub(crate) fn split(&mut self, sides: &[&[&str]]) {
        let ids: Vec<Vec<u32>> = sides
            .iter()
            .map(|side| side.iter().map(|name| self.id(name)).collect())
            .collect();
        {
            let mut inner = self.net.inner.lock().unwrap();
            inner.cut.clear();
            for (i, a) in ids.iter().enumerate() {
                for b in ids
                    .iter()
                    .enumerate()
                    .filter(|&(j, _)| i != j)
                    .flat_map(|(_, b)| b)
                {
                    inner.cut.extend(a.iter().flat_map(|&a| [(a, *b), (*b, a)]));
                }
            }
        }
        self.tell_members();
    }

    pub(crate) fn heal(&mut self) {
        self.net.inner.lock().unwrap().cut.clear();
        self.tell_members();
    }

    pub(crate) fn weather(&self, weather: Weather) {
        self.net.inner.lock().unwrap().weather = weather;
    }

    /// The largest body that travelled.
    pub(crate) fn largest_body(&self) -> usize {
        self.net.inner.lock().unwrap().largest
    }

    fn tell_members(&self) {
        let cut = self.net.inner.lock().unwrap().cut.clone();
        for here in self.running.values() {
            let alive = self.running.iter().map(|(name, there)| Member {
                id: there.id,
                name: name.clone(),
                is_alive: !cut.contains(&(here.id, there.id)),
                is_leaving: self.leaving.contains(&there.id),
            });
            let dead = self.dead.iter().map(|(name, &id)| Member {
                id,
                name: name.clone(),
                is_alive: false,
                is_leaving: false,
            });
            here.members.send_replace(alive.chain(dead).collect());
        }
    }

    pub(crate) fn id(&self, name: &str) -> u32 {
        self.running[name].id
    }

    pub(crate) fn node(&self, name: &str) -> Node {
        self.running[name].node.clone()
    }

    pub(crate) fn nodes(&self) -> Vec<Node> {
        self.running
            .values()
            .map(|running| running.node.clone())
            .collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.running.keys().cloned().collect()
    }

    pub(crate) fn statuses(&self) -> Vec<RaftStatus> {
        self.running
            .values()
            .map(|running| running.node.status())
            .collect()
    }

    /// The name of the node that leads with a majority.
    pub(crate) fn leader(&self) -> Option<String> {
        let mut leading = self.running.iter().filter(|(_, it)| it.node.status().leads);
        leading.next().map(|(name, _)| name.clone())
    }

    /// Whether all nodes know one leader and as many voters, and follow it.
    pub(crate) fn agree_on(&self, voters: usize) -> bool {
        let all = self.statuses();
        let first = &all[0];
        first.leader.is_some()
            && all.iter().any(|status| status.leads)
            && all.iter().all(|status| {
                status.leader == first.leader
                    && status.group == first.group
                    && status.voters.len() == voters
                    && status.voters.len() + status.learners.len() == all.len()
                    && status.applied_index == first.applied_index
            })
    }

    /// Waits for a condition.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so(self) {
            assert!(
                Instant::now() < deadline,
                "waited a minute until {what}: {:#?}",
                self.statuses()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(crate) fn limit(algorithm: Algorithm, units: u32) -> Limit {
    Limit::new(algorithm, units, DAY).unwrap()
}

pub(crate) fn policy(limit: Limit, on_failure: FailMode) -> Policy {
    Policy {
        namespace: "default".into(),
        name: "login".into(),
        limit,
        strategy: Strategy::Raft,
        on_failure,
    }
}
