//! The processes of one strategy: three nodes, and a Redis where it needs one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use coordinator::{FailMode, Strategy};
use rehearsal::{Process, cpu_of};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::redis::Redis;
use super::targets::{NODES, Targets};
use super::workload::Workload;
use crate::process;

/// The limit that is hit.
pub(crate) const LIMIT: &str = "compared";

const NAMES: [&str; NODES] = ["ada", "ben", "cleo"];
/// A cluster stands within a second or two; a busy machine is no failure.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at the cluster.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Victim {
    Node(usize),
    Leader(usize),
    Redis,
}

impl Victim {
    /// For people.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Node(node) => format!("node {}", NAMES[node]),
            Self::Leader(node) => format!("leader {}", NAMES[node]),
            Self::Redis => "redis-server".to_owned(),
        }
    }
}

/// Three nodes that serve. All processes end when this is dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    strategy: Strategy,
    targets: Arc<Targets>,
    // Before the directory, which is removed once no process uses it.
    nodes: [Option<Process>; NODES],
    redis: Option<Redis>,
    home: TempDir,
}

impl Stage {
    /// Starts what the strategy needs, and returns when it has settled.
    ///
    /// # Errors
    ///
    /// [`super::redis::NotInstalled`], or what did not start, with its last words.
    pub(crate) async fn start(strategy: Strategy, workload: &Workload) -> anyhow::Result<Self> {
        let home = tempfile::Builder::new()
            .prefix("weir-compare-")
            .tempdir()
            .context("making a temporary directory")?;
        let redis = match strategy {
            Strategy::Redis => Some(Redis::start(home.path()).await?),
            _ => None,
        };
        let config = config(strategy, workload, redis.as_ref());
        let mut stage = Self {
            strategy,
            targets: Arc::default(),
            nodes: Default::default(),
            redis,
            home,
        };
        std::fs::write(stage.config(), config).context("writing the nodes' configuration")?;
        // One after the other: they settle sooner than three that all are new to one another.
        for nodes in 1..=NODES {
            stage.start_node(nodes - 1)?;
            stage.settle(nodes).await?;
        }
        Ok(stage)
    }

    /// Where the nodes are.
    pub(crate) fn targets(&self) -> Arc<Targets> {
        self.targets.clone()
    }

    /// What would be missed most now: of `raft` the leader, of `redis` the server, else the node that owns most.
    ///
    /// # Errors
    ///
    /// When no node tells.
    pub(crate) async fn victim(&self) -> anyhow::Result<Victim> {
        if self.strategy == Strategy::Redis {
            return Ok(Victim::Redis);
        }
        let client = self.targets.nearest(0).context("no node serves")?;
        let (_, cluster) = client.get("/v1/cluster").await?;
        match self.strategy {
            Strategy::Raft => leader(&cluster).map(Victim::Leader),
            _ => largest(&cluster).map(Victim::Node),
        }
        .with_context(|| format!("nobody to kill in {cluster}"))
    }

    /// `kill -9`; returns when the process is no more.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(crate) fn kill(&mut self, victim: Victim) -> anyhow::Result<()> {
        let process = match victim {
            Victim::Node(node) | Victim::Leader(node) => self.nodes[node].as_mut(),
            Victim::Redis => self.redis.as_mut().map(Redis::process),
        };
        process
            .context("it was not started")?
            .kill()
            .with_context(|| format!("killing {}", victim.name()))
    }

    /// Starts again what was killed, under the same name or port.
    ///
    /// # Errors
    ///
    /// When there can be no process.
    pub(crate) fn start_again(&mut self, victim: Victim) -> anyhow::Result<()> {
        match (victim, &mut self.redis) {
            (Victim::Node(node) | Victim::Leader(node), _) => self.start_node(node),
            (Victim::Redis, Some(redis)) => redis.start_again(self.home.path()),
            (Victim::Redis, None) => bail!("there is no redis to start again"),
        }
    }

    /// Time that the processors have worked for these processes, where the system tells it. Of those that run.
    pub(crate) fn cpu(&mut self) -> Option<Duration> {
        let nodes = self.nodes.iter_mut().flatten();
        let redis = self.redis.as_mut().map(Redis::process);
        nodes.chain(redis).map(|process| cpu_of(process.id())).sum()
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("compare.toml")
    }

    fn start_node(&mut self, node: usize) -> anyhow::Result<()> {
        let (targets, run) = (self.targets.clone(), self.targets.begin(node));
        let tell = move |news| targets.on_news(node, run, news);
        let process = process::node(NAMES[node], self.home.path(), &self.config(), tell)?;
        self.nodes[node] = Some(process);
        Ok(())
    }

    /// Waits until that many nodes serve; when these are all, until each says so, and is ready for this strategy.
    async fn settle(&self, nodes: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((node, words)) = self.targets.last_words() {
                bail!("{} ended: {words}", NAMES[node]);
            }
            let clusters = self.clusters().await;
            let all = nodes == NODES;
            if clusters.len() == nodes && (!all || self.is_settled(&clusters)) {
                return Ok(());
            }
            if deadline < Instant::now() {
                let seen: Vec<String> = clusters.iter().map(summary).collect();
                let (patience, seen) = (PATIENCE.as_secs(), seen.join("; "));
                bail!("{nodes} nodes did not settle within {patience} s: {seen}");
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// What each node that serves says of its cluster.
    async fn clusters(&self) -> Vec<Value> {
        let mut clusters = Vec::new();
        for client in self.targets.live() {
            clusters.extend(client.get("/v1/cluster").await.map(|(_, answer)| answer));
        }
        clusters
    }

    fn is_settled(&self, clusters: &[Value]) -> bool {
        let whole = |cluster: &Value| {
            let members = cluster["members"].as_array();
            let alive = members.into_iter().flatten();
            let alive = alive.filter(|member| member["status"] == "alive").count();
            alive == NODES && cluster["under_replicated_shards"] == 0
        };
        let ready = |cluster: &Value| match self.strategy {
            Strategy::Owner | Strategy::Local => true,
            Strategy::Redis => redis_is_back(cluster),
            Strategy::Raft => {
                let voters = cluster["raft"]["voters"].as_array();
                let agreed = cluster["raft"]["leader"] == clusters[0]["raft"]["leader"];
                agreed && leader(cluster).is_some() && voters.map(Vec::len) == Some(NODES)
            }
        };
        clusters
            .iter()
            .all(|cluster| whole(cluster) && ready(cluster))
    }
}

/// Whether a node asks Redis again.
pub(crate) fn redis_is_back(cluster: &Value) -> bool {
    cluster["redis"]["breaker"] == "closed"
}

/// How far a node is, for whoever has to find out why it does not settle.
fn summary(cluster: &Value) -> String {
    let members = cluster["members"].as_array().into_iter().flatten();
    let members: Vec<String> = members
        .map(|member| format!("{} {}", member["name"], member["status"]))
        .collect();
    format!(
        "{} sees {}, {} under-replicated shards, raft {}, redis {}",
        cluster["node"],
        members.join(", "),
        cluster["under_replicated_shards"],
        cluster["raft"],
        cluster["redis"]
    )
}

fn leader(cluster: &Value) -> Option<usize> {
    let leader = &cluster["raft"]["leader"];
    NAMES.iter().position(|name| *leader == **name)
}

fn largest(cluster: &Value) -> Option<usize> {
    let members = cluster["members"].as_array()?;
    let largest = members.iter().max_by_key(|it| it["shards"].as_u64())?;
    NAMES.iter().position(|name| largest["name"] == **name)
}

/// Periods so long that no unit comes back while this runs: what may be admitted of a key is its limit. On a busy
/// machine a node may start before it has an answer of Redis; the stage has not settled until it does.
fn config(strategy: Strategy, workload: &Workload, redis: Option<&Redis>) -> String {
    let on_failure = match (workload.on_failure, strategy) {
        (FailMode::Owner, Strategy::Owner | Strategy::Local | Strategy::Raft) => FailMode::Deny,
        (mode, _) => mode,
    };
    let on_failure = on_failure.name();
    let limit = format!(
        "[[limit]]\nname = \"{LIMIT}\"\nalgorithm = \"gcra\"\nlimit = {}\nper = \"365d\"\nstrategy = \"{}\"\n\
         on_failure = \"{on_failure}\"\n",
        workload.limit,
        strategy.name()
    );
    match redis {
        Some(redis) => format!(
            "{limit}[redis]\nurl = \"{}\"\nstart_without_redis = true\n",
            redis.url()
        ),
        None => limit,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::workload::tests::WORKLOAD;
    use super::*;

    #[test]
    fn who_would_be_missed_most_is_read_from_the_cluster() {
        let cluster = json!({
            "members": [{"name": "cleo", "shards": 340}, {"name": "ada", "shards": 343}, {"name": "ben", "shards": 341}],
            "raft": {"leader": "ben"},
        });
        assert_eq!(largest(&cluster), Some(0));
        assert_eq!(leader(&cluster), Some(1));
        assert_eq!(leader(&json!({"raft": {"leader": null}})), None);
    }

    #[test]
    fn only_redis_falls_back_on_the_owner() {
        let workload = Workload {
            on_failure: FailMode::Owner,
            ..WORKLOAD
        };
        let says = |strategy, words| config(strategy, &workload, None).contains(words);
        assert!(says(Strategy::Redis, "on_failure = \"owner\""));
        assert!(says(Strategy::Raft, "on_failure = \"deny\""));
        assert!(says(Strategy::Raft, "strategy = \"raft\""));
    }
}
