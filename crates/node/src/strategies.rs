//! The strategies that limits name, each started once, and every hit sent to its own.

mod raft;
mod redis;
mod start;

use std::sync::{Arc, OnceLock};

use cluster::node::{Cluster, LocalCoordinator};
use coordinator::{Answer, Coordinator, FailMode, Hit, NoDecision, Once, Policy, Strategy};
use coordinator_raft::RaftCoordinator;
use coordinator_redis::RedisCoordinator;
use quota::{Cost, Nanos};

use self::raft::RaftPeers;
use self::start::Starting;

/// Who counts, by strategy. Clones share it.
///
/// `owner` always runs: limits of single keys and inline rules count by it. Of the others, those run that some limit names
/// or has named: of the file that the node was started with, of one that it has read since, or made at run time.
#[derive(Clone)]
pub(crate) struct Strategies {
    owner: Cluster,
    others: Arc<Others>,
}

struct Others {
    local: OnceLock<LocalCoordinator>,
    redis: OnceLock<RedisCoordinator<Cluster>>,
    raft: OnceLock<RaftCoordinator<RaftPeers>>,
    starting: Starting,
}

impl Strategies {
    /// Whether it has been started.
    pub(crate) fn runs(&self, strategy: Strategy) -> bool {
        match strategy {
            Strategy::Owner => true,
            Strategy::Local => self.others.local.get().is_some(),
            Strategy::Redis => self.others.redis.get().is_some(),
            Strategy::Raft => self.others.raft.get().is_some(),
        }
    }

    /// Whether this node has its part in all of them: with raft, its vote.
    pub(crate) fn have_joined(&self) -> bool {
        let raft = self.raft_that_counts();
        raft.is_none_or(RaftCoordinator::is_settled)
    }

    /// Whether hits are decided, as far as that depends on this node's peers: the group of raft does. A Redis that is away
    /// makes no node unready: all of them would be at once.
    pub(crate) fn decide(&self) -> bool {
        let raft = self.raft_that_counts();
        raft.is_none_or(RaftCoordinator::decides)
    }

    /// The group of raft, unless it was started at run time and has not settled yet: all nodes start it at the same moment,
    /// and no balancer should leave all of them for the second that this takes.
    fn raft_that_counts(&self) -> Option<&RaftCoordinator<RaftPeers>> {
        let raft = self.others.raft.get();
        raft.filter(|_| self.others.starting.has_raft_settled())
    }

    /// How the group of raft is, as far as this node knows.
    pub(crate) fn raft_status(&self) -> Option<coordinator::RaftStatus> {
        let raft = self.others.raft.get();
        raft.map(|raft| raft::status(&raft.status(), &self.owner.peers()))
    }

    /// How Redis is.
    pub(crate) fn redis_status(&self) -> Option<coordinator::RedisStatus> {
        let redis = self.others.redis.get();
        redis.map(|redis| redis::status(redis.health()))
    }
}

/// A limit whose strategy has not been started.
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
            Strategy::Local => match $self.others.local.get() {
                Some($coordinator) => $call,
                None => $otherwise,
            },
            Strategy::Redis => match $self.others.redis.get() {
                Some($coordinator) => $call,
                None => $otherwise,
            },
            Strategy::Raft => match $self.others.raft.get() {
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
        self.start_by_hit(policy.strategy).await;
        dispatch!(
            self, policy.strategy,
            by => by.hit(policy, key, cost).await,
            self.hit_not_started(policy, key, cost).await
        )
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
        self.start_by_hit(policy.strategy).await;
        dispatch!(self, policy.strategy, by => by.refund(policy, key, cost).await, Err(NOT_STARTED))
    }

    async fn once(&self, asked: Once<'_>, id: &str) -> Result<Answer, NoDecision> {
        let (Once::Hit(hit) | Once::Refund(hit)) = asked;
        self.start_by_hit(hit.policy.strategy).await;
        dispatch!(self, hit.policy.strategy, by => by.once(asked, id).await, Err(NOT_STARTED))
    }

    async fn reset(&self, policy: &Policy, key: &str) -> Result<(), NoDecision> {
        self.start_by_hit(policy.strategy).await;
        dispatch!(self, policy.strategy, by => by.reset(policy, key).await, Err(NOT_STARTED))
    }
}

impl Strategies {
    /// The hits of one batch that are counted by one strategy.
    async fn part(&self, strategy: Strategy, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        if hits.is_empty() {
            return Vec::new();
        }
        self.start_by_hit(strategy).await;
        dispatch!(self, strategy, by => by.hits(hits).await, self.hits_not_started(hits).await)
    }

    /// Where the strategy does not run yet, as while the node joins: by the fail mode.
    #[cold]
    async fn hit_not_started(
        &self,
        policy: &Policy,
        key: &str,
        cost: Cost,
    ) -> Result<Answer, NoDecision> {
        match policy.on_failure {
            FailMode::Owner => self.owner.hit(policy, key, cost).await,
            mode => mode.answer(&policy.limit, cost, NOT_STARTED),
        }
    }

    #[cold]
    async fn hits_not_started(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        let is_owners = |hit: &&Hit<'_>| hit.policy.on_failure == FailMode::Owner;
        let of_owner: Vec<Hit<'_>> = hits.iter().filter(is_owners).copied().collect();
        let mut of_owner = self.owner.hits(&of_owner).await.into_iter();
        let answers = hits.iter().map(|hit| match hit.policy.on_failure {
            FailMode::Owner => of_owner.next().unwrap_or(Err(NOT_STARTED)),
            mode => mode.answer(&hit.policy.limit, hit.cost, NOT_STARTED),
        });
        answers.collect()
    }
}
