//! This node as the HTTP front sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cluster::node::{Cluster, Status};
use coordinator::{Answer, Coordinator, FailMode, Hit, NoDecision, Policy, Strategy};
use front_http::{
    ClusterStatus, Forgotten, KEY_LIMITS, Member, MemberStatus, Node, Ownership, Readiness,
};
use metrics_exporter_prometheus::PrometheusHandle;
use quota::{Cost, Limit};

use crate::strategies::Strategies;

/// The cluster handle, and what only the program around it knows.
pub(crate) struct Served {
    pub(crate) cluster: Cluster,
    /// Who counts.
    pub(crate) strategies: Strategies,
    pub(crate) metrics: PrometheusHandle,
    /// Joined: every shard has an owner.
    pub(crate) ready: AtomicBool,
    /// Limits of single keys count here.
    pub(crate) namespace: Arc<str>,
}

impl Coordinator for Served {
    async fn hit(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        self.strategies.hit(policy, key, cost).await
    }

    async fn hits(&self, hits: Vec<Hit>) -> Vec<Result<Answer, NoDecision>> {
        self.strategies.hits(hits).await
    }

    async fn refund(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        self.strategies.refund(policy, key, cost).await
    }

    async fn reset(&self, policy: &Policy, key: &str) -> Result<(), NoDecision> {
        self.strategies.reset(policy, key).await
    }
}

impl Node for Served {
    fn cluster(&self) -> ClusterStatus {
        let Status {
            name,
            view,
            members,
            under_replicated_shards,
            replication_lag,
            ..
        } = self.cluster.status();
        let members = members.into_iter().map(|member| Member {
            name: member.name,
            status: match member.status {
                membership::Status::Alive => MemberStatus::Alive,
                membership::Status::Suspect => MemberStatus::Suspect,
                membership::Status::Leaving => MemberStatus::Leaving,
                membership::Status::Dead => MemberStatus::Dead,
            },
            incarnation: member.incarnation,
            shards: u32::try_from(member.shards).unwrap_or(u32::MAX),
            http: member.http,
            cluster: member.cluster,
        });
        ClusterStatus {
            node: name,
            view: format!("{view:016x}"),
            members: members.collect(),
            under_replicated_shards: u32::try_from(under_replicated_shards).unwrap_or(u32::MAX),
            replication_lag,
            raft: self.strategies.raft_status(),
            redis: self.strategies.redis_status(),
        }
    }

    fn forget(&self, name: &str) -> Forgotten {
        match self.cluster.forget(name) {
            Some(true) => Forgotten::Done,
            Some(false) => Forgotten::Alive,
            None => Forgotten::Unknown,
        }
    }

    fn owner_of(&self, policy: &Policy, key: &str) -> Option<Ownership> {
        let owned = self.cluster.owner_of(policy, key)?;
        Some(Ownership {
            shard: owned.shard,
            term: u64::from(owned.term),
            owner: owned.owner,
            replicas: owned.replicas,
        })
    }

    fn readiness(&self) -> Readiness {
        if self.cluster.is_draining() {
            Readiness::Draining
        } else if self.ready.load(Ordering::Acquire) {
            Readiness::Ready
        } else {
            Readiness::Joining
        }
    }

    fn metrics(&self) -> String {
        self.cluster.measure();
        self.metrics.render()
    }

    fn key_limit(&self, key: &str) -> Option<Policy> {
        let limit = self.cluster.key_limit(key)?;
        Some(Policy {
            namespace: self.namespace.clone(),
            name: KEY_LIMITS.into(),
            limit,
            strategy: Strategy::Owner,
            on_failure: FailMode::Deny,
        })
    }

    async fn put_key_limit(&self, key: &str, limit: Limit) -> Result<(), NoDecision> {
        self.cluster.put_key_limit(key, limit)
    }
}
