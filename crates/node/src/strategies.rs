//! The strategies that this node's limits name, each started once, and every hit sent to its own.

mod raft;
mod redis;

use std::sync::Arc;

use cluster::node::{Cluster, LocalCoordinator};
use coordinator::{Answer, Coordinator, Hit, NoDecision, Policy, Strategy};
use coordinator_raft::RaftCoordinator;
use coordinator_redis::RedisCoordinator;
use quota::{Cost, Nanos};
use supervisor::Supervisor;
use tokio::sync::OnceCell;

use self::raft::RaftPeers;
use crate::builder::StartError;
use crate::config::Config;
use crate::metrics::Metrics;

/// Who counts, by strategy. Clones share it.
///
/// `owner` always runs: limits of single keys and inline rules count by it. Of the others, those run that some limit
/// of the file names; `local` also from the first hit on a limit that was made at run time and names it.
#[derive(Clone)]
pub(crate) struct Strategies {
    owner: Cluster,
    local: Arc<OnceCell<LocalCoordinator>>,
    redis: Option<RedisCoordinator<Cluster>>,
    raft: Option<RaftCoordinator<RaftPeers>>,
    /// Above what this node does for them besides.
    supervisor: Supervisor,
    /// Of what is started later.
    metrics: Metrics,
}

impl Strategies {
    /// Starts those that are named, and returns when hits can be decided.
    ///
    /// # Errors
    ///
    /// A Redis that cannot be used, or a snapshot of raft that cannot be read.
    pub(crate) async fn start(
        config: &Config,
        strategies: &[Strategy],
        cluster: &Cluster,
        redis_secret: [u8; 16],
        metrics: Metrics,
    ) -> Result<Self, StartError> {
        let names = |strategy| strategies.contains(&strategy);
        let redis = match &config.redis {
            Some(settings) if names(Strategy::Redis) => {
                Some(redis::connect(settings, redis_secret, cluster.clone()).await?)
            }
            _ => None,
        };
        let supervisor = Supervisor::start();
        let raft = match names(Strategy::Raft) {
            true => {
                let started = raft::start(&config.raft, cluster, &supervisor).await;
                Some(started.inspect_err(|_| supervisor.cut_off())?)
            }
            false => None,
        };
        let local = OnceCell::new();
        if names(Strategy::Local) {
            local.get_or_init(|| cluster.start_local()).await;
        }
        Ok(Self {
            owner: cluster.clone(),
            local: Arc::new(local),
            redis,
            raft,
            supervisor,
            metrics,
        })
    }

    /// Ends what was started, once no more hits come.
    pub(crate) async fn stop(&self) {
        if let Some(redis) = &self.redis {
            redis.stop().await;
        }
        if let Some(raft) = &self.raft {
            raft.stop().await;
        }
        self.supervisor.stop().await;
    }

    /// Whether this node has its part in all of them: with raft, its vote.
    pub(crate) fn have_joined(&self) -> bool {
        let raft = self.raft.as_ref();
        raft.is_none_or(RaftCoordinator::is_settled)
    }

    /// Whether hits are decided, as far as that depends on this node's peers: the group of raft does. A Redis that is away
    /// makes no node unready: all of them would be at once.
    pub(crate) fn decide(&self) -> bool {
        let raft = self.raft.as_ref();
        raft.is_none_or(RaftCoordinator::decides)
    }

    /// How the group of raft is, as far as this node knows.
    pub(crate) fn raft_status(&self) -> Option<coordinator::RaftStatus> {
        self.raft
            .as_ref()
            .map(|raft| raft::status(&raft.status(), &self.owner.peers()))
    }

    /// How Redis is.
    pub(crate) fn redis_status(&self) -> Option<coordinator::RedisStatus> {
        self.redis
            .as_ref()
            .map(|redis| redis::status(redis.health()))
    }
}

/// A limit whose strategy was not started. The file's limits all have theirs, and no other names `redis` or `raft`: no
/// policy of this node ends here.
const NOT_STARTED: NoDecision = NoDecision::Unavailable {
    retry_after: Nanos::from_secs(1),
};

/// `$method` of whichever coordinator counts by `$strategy`.
macro_rules! dispatch {
    ($self:ident, $strategy:expr, $coordinator:ident => $call:expr, $otherwise:expr) => {
        match $strategy {
            Strategy::Owner => {
                let $coordinator = &$self.owner;
                $call
            }
            Strategy::Local => match $self.local.get() {
                Some($coordinator) => $call,
                None => $otherwise,
            },
            Strategy::Redis => match &$self.redis {
                Some($coordinator) => $call,
                None => $otherwise,
            },
            Strategy::Raft => match &$self.raft {
                Some($coordinator) => $call,
                None => $otherwise,
            },
        }
    };
}

impl Coordinator for Strategies {
    #[inline]
    fn try_hit(&self, hit: Hit<'_>) -> Option<Result<Answer, NoDecision>> {
        dispatch!(self, hit.policy.strategy, by => by.try_hit(hit), None)
    }

    async fn hit(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        self.start_for(policy.strategy).await;
        dispatch!(self, policy.strategy, by => by.hit(policy, key, cost).await, Err(NOT_STARTED))
    }

    async fn hits(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        let first = hits.first().map(|hit| hit.policy.strategy);
        if let Some(strategy) = first
            && hits.iter().all(|hit| hit.policy.strategy == strategy)
        {
            return self.part(strategy, hits).await;
        }
        let mut answers = vec![Err(NOT_STARTED); hits.len()];
        let mut places: [Vec<usize>; Strategy::ALL.len()] = Default::default();
        let mut parts: [Vec<Hit<'_>>; Strategy::ALL.len()] = Default::default();
        for (place, &hit) in hits.iter().enumerate() {
            let part = hit.policy.strategy as usize;
            places[part].push(place);
            parts[part].push(hit);
        }
        // Each part by itself, side by side: a Redis that is slow delays no other.
        let [owner, local, redis, raft] = parts;
        let parts = tokio::join!(
            self.part(Strategy::Owner, &owner),
            self.part(Strategy::Local, &local),
            self.part(Strategy::Redis, &redis),
            self.part(Strategy::Raft, &raft),
        );
        for (places, part) in places.iter().zip([parts.0, parts.1, parts.2, parts.3]) {
            for (&place, answer) in places.iter().zip(part) {
                answers[place] = answer;
            }
        }
        answers
    }

    async fn refund(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        self.start_for(policy.strategy).await;
        dispatch!(self, policy.strategy, by => by.refund(policy, key, cost).await, Err(NOT_STARTED))
    }

    async fn reset(&self, policy: &Policy, key: &str) -> Result<(), NoDecision> {
        self.start_for(policy.strategy).await;
        dispatch!(self, policy.strategy, by => by.reset(policy, key).await, Err(NOT_STARTED))
    }
}

impl Strategies {
    /// Starts `local` for the first limit that names it. That takes up to a second, in which one other node tells what it
    /// has counted; hits wait for it.
    #[inline]
    async fn start_for(&self, strategy: Strategy) {
        if strategy == Strategy::Local && !self.local.initialized() {
            let start = || self.metrics.within(self.owner.start_local());
            self.local.get_or_init(start).await;
        }
    }

    /// The hits of one batch that are counted by one strategy.
    async fn part(&self, strategy: Strategy, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        if hits.is_empty() {
            return Vec::new();
        }
        self.start_for(strategy).await;
        let none = vec![Err(NOT_STARTED); hits.len()];
        dispatch!(self, strategy, by => by.hits(hits).await, none)
    }
}
