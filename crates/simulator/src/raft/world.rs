//! Nodes in one process, in time that passes when nobody has anything to do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coordinator_raft::{Member, RaftConfig, RaftCoordinator, RaftStatus, StartError, Timings};
use quota::{KeyHasher, Nanos, UnixNanos};
use tokio::sync::watch;
use tokio::time::Instant;

use super::network::{Network, Node, Weather};

/// What cluster time is when a run begins.
const EPOCH: UnixNanos = UnixNanos::new(1_800_000_000_000_000_000);

/// How often [`World::comes_true`] looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long [`World::until`] waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes, and what is between them. Runs in a tokio runtime whose time is paused.
pub struct World {
    /// How patient nodes are that start from now on.
    pub timings: Timings,
    /// Where nodes that start from now on save their state, each in a directory of its name.
    pub data: Option<PathBuf>,
    /// By how much the clocks of nodes that start from now on are ahead.
    pub ahead: Duration,
    /// Whether every node believes that it is alone.
    pub is_blind: bool,
    /// Whether those that died are believed alive, also when they have started again as others.
    pub keeps_the_dead: bool,
    /// Whether a node that cannot reach one takes all others for dead, too.
    pub despairs: bool,
    network: Network,
    running: BTreeMap<String, Running>,
    /// Those that are gone, and not replaced: believed dead.
    dead: BTreeMap<String, u32>,
    /// Those that have started again as others.
    replaced: Vec<(String, u32)>,
    leaving: BTreeSet<u32>,
    next_id: u32,
    began: Instant,
}

struct Running {
    id: u32,
    node: Node,
    members: watch::Sender<Vec<Member>>,
}

/// How many of so many nodes vote.
#[must_use]
pub(super) const fn voters_of(nodes: usize) -> usize {
    match nodes {
        0..=2 => 1,
        3..=4 => 3,
        _ => 5,
    }
}

impl World {
    /// Nobody yet. The ids of nodes, and with them their patience, come from `seed`, as does the network's luck.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            timings: Timings::lan(),
            data: None,
            ahead: Duration::ZERO,
            is_blind: false,
            keeps_the_dead: false,
            despairs: false,
            replaced: Vec::new(),
            network: Network::new(seed),
            running: BTreeMap::new(),
            dead: BTreeMap::new(),
            leaving: BTreeSet::new(),
            next_id: 1_000 * (seed % 1_000_000) as u32 + 1_000,
            began: Instant::now(),
        }
    }

    /// Nodes that have formed a group with as many voters as there can be.
    ///
    /// # Panics
    ///
    /// If they do not.
    pub async fn of(names: &[&str]) -> Self {
        let mut world = Self::new(0);
        for name in names {
            world.start(name);
        }
        let voters = voters_of(names.len());
        world
            .until("all voters vote", |world| world.agree_on(voters))
            .await;
        world
    }

    /// Starts a node, or starts it again as another incarnation.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(&mut self, name: &str) {
        self.try_start(name).expect("a node that starts");
    }

    /// Starts a node, or starts it again as another incarnation.
    ///
    /// # Errors
    ///
    /// As [`RaftCoordinator::start`].
    pub fn try_start(&mut self, name: &str) -> Result<(), StartError> {
        self.next_id += 1;
        self.start_as(self.next_id, name)
    }

    /// Starts a node that died again, with nothing, under the id that it had: no driver may ever do this.
    ///
    /// # Panics
    ///
    /// If no such node has died, or it does not start.
    pub fn restart_under_old_id(&mut self, name: &str) {
        let id = self.dead[name];
        self.start_as(id, name).expect("a node that starts");
    }

    fn start_as(&mut self, id: u32, name: &str) -> Result<(), StartError> {
        let (began, ahead) = (self.began, self.ahead);
        let (members, watched) = watch::channel(Vec::new());
        let config = RaftConfig {
            me: id,
            name: name.to_owned(),
            clock: Arc::new(move || EPOCH + Nanos::from(began.elapsed() + ahead)),
            hasher: KeyHasher::new([7; 16]),
            data_dir: self.data.as_ref().map(|dir| dir.join(name)),
            timings: self.timings,
        };
        let node = RaftCoordinator::start(config, self.network.port(id), watched)?;
        self.network.add(id, node.clone());
        let before = self.dead.remove(name);
        let replaced = before.filter(|&before| before != id);
        self.replaced
            .extend(replaced.map(|before| (name.to_owned(), before)));
        self.running
            .insert(name.to_owned(), Running { id, node, members });
        self.tell_members();
        Ok(())
    }

    /// Ends a node without a word, and lets the others know that it is dead.
    ///
    /// # Panics
    ///
    /// If no node of that name runs.
    pub async fn kill(&mut self, name: &str) {
        let gone = self.running.remove(name).expect("a node of that name");
        self.network.remove(gone.id);
        gone.node.kill().await;
        self.dead.insert(name.to_owned(), gone.id);
        self.tell_members();
    }

    /// Has a node leave politely.
    ///
    /// # Panics
    ///
    /// If no node of that name runs.
    pub async fn leave(&mut self, name: &str) {
        self.leaving.insert(self.id(name));
        self.tell_members();
        let gone = self.running.remove(name).expect("a node of that name");
        gone.node.stop().await;
        self.network.remove(gone.id);
        self.tell_members();
    }

    /// Nodes of different sides do not hear each other, and believe each other dead.
    pub fn split(&mut self, sides: &[&[&str]]) {
        let ids = |side: &&[&str]| side.iter().map(|name| self.id(name)).collect();
        self.network
            .split(&sides.iter().map(ids).collect::<Vec<_>>());
        self.tell_members();
    }

    /// From the first to the second of each pair nothing gets through. Those of a pair believe each other dead, since it
    /// takes both ways to hear that one is heard.
    pub fn cut(&mut self, pairs: &[(&str, &str)]) {
        let ids = pairs.iter().map(|(from, to)| (self.id(from), self.id(to)));
        self.network.cut(ids.collect());
        self.tell_members();
    }

    fn meet(&self, one: u32, other: u32) -> bool {
        !self.network.is_cut(one, other) && !self.network.is_cut(other, one)
    }

    /// All hear each other again.
    pub fn heal(&mut self) {
        self.network.split(&[]);
        self.tell_members();
    }

    /// What that node sends, and what it is sent, waits; nobody has noticed yet. `None` ends it.
    pub fn stall(&self, name: Option<&str>) {
        self.network.stall(name.map(|name| self.id(name)));
    }

    /// Changes what the network does to messages.
    pub fn weather(&self, weather: Weather) {
        self.network.set_weather(weather);
    }

    /// Bytes of the largest body that travelled.
    #[must_use]
    pub fn largest_body(&self) -> usize {
        self.network.largest_body()
    }

    /// Lets every node know of all the others, as far as it can tell.
    pub fn tell_members(&self) {
        for here in self.running.values() {
            let sees = |id| id == here.id || !self.is_blind;
            let despairs =
                self.despairs && (self.running.values()).any(|there| !self.meet(here.id, there.id));
            let alive = self.running.iter().map(|(name, there)| Member {
                id: there.id,
                name: name.clone(),
                is_alive: here.id == there.id || !despairs && self.meet(here.id, there.id),
                is_leaving: self.leaving.contains(&there.id),
                votes: true,
            });
            let dead = self.dead.iter().map(|(name, &id)| (name, id));
            let replaced = self.replaced.iter().filter(|_| self.keeps_the_dead);
            let replaced = replaced.map(|(name, id)| (name, *id));
            let gone = dead.chain(replaced).map(|(name, id)| Member {
                id,
                name: name.clone(),
                is_alive: self.keeps_the_dead,
                is_leaving: false,
                votes: true,
            });
            let members = alive.chain(gone).filter(|member| sees(member.id));
            here.members.send_replace(members.collect());
        }
    }

    /// The id of the node of that name that runs.
    #[must_use]
    pub fn id(&self, name: &str) -> u32 {
        self.running[name].id
    }

    /// The node of that name that runs.
    #[must_use]
    pub fn node(&self, name: &str) -> Node {
        self.running[name].node.clone()
    }

    /// Those that run, by name.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        let running = self.running.values();
        running.map(|running| running.node.clone()).collect()
    }

    /// The names of those that run.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.running.keys().cloned().collect()
    }

    /// What those that run say of the group, by name.
    #[must_use]
    pub fn statuses(&self) -> Vec<RaftStatus> {
        let running = self.running.values();
        running.map(|running| running.node.status()).collect()
    }

    /// The name of the node that leads with a majority.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        let mut leading = self.running.iter().filter(|(_, it)| it.node.status().leads);
        leading.next().map(|(name, _)| name.clone())
    }

    /// Whether all nodes know one leader and as many voters, and follow it.
    #[must_use]
    pub fn agree_on(&self, voters: usize) -> bool {
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

    /// Waits for a condition, at most for `patience`; whether it came true.
    pub async fn comes_true(&self, patience: Duration, is_so: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        while !is_so(self) {
            if deadline < Instant::now() {
                return false;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        true
    }

    /// Waits a minute for a condition.
    ///
    /// # Panics
    ///
    /// If it does not come true.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        assert!(
            self.comes_true(PATIENCE, is_so).await,
            "waited a minute until {what}: {:#?}",
            self.statuses()
        );
    }
}
