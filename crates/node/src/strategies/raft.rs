//! The strategy `raft` as this node runs it: over the cluster's connections, with the cluster's members.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::node::{Cluster, Peer};
use coordinator::RaftStatus;
use coordinator_raft::{
    CallError, Member, Peers, RaftConfig, RaftCoordinator, StartError, Timings,
};
use delta_crdt::ReplicaId;
use membership::Status;
use supervisor::Supervisor;
use tokio::sync::watch;

use crate::config::raft::RaftConfig as Settings;

/// How often the group is told who the members are: a fraction of the second that a group waits before it forms.
const FOLLOW_EVERY: Duration = Duration::from_millis(100);

/// How long a node that starts waits for its vote in a group that decides, before it serves anyway; it goes on saying that it is
/// not ready, and its hits wait, or fail by their limits' fail mode.
const FIRST_VOTE: Duration = Duration::from_secs(5);

/// For how long the cluster must have had two members before its operator is warned: others may be on their way.
const TWO_FOR_LONG: u32 = 50;

/// The cluster's connections.
#[derive(Clone)]
pub(crate) struct RaftPeers(Cluster);

impl Peers for RaftPeers {
    async fn call(&self, to: u32, request: Bytes, deadline: Duration) -> Result<Bytes, CallError> {
        use cluster::node::CallError as Failed;
        match self.0.call(ReplicaId(to), request, deadline).await {
            Ok(answer) if answer.is_empty() => Err(CallError::NotRunning),
            Ok(answer) => Ok(answer),
            Err(Failed::Unreachable | Failed::Overloaded) => Err(CallError::Unreachable),
            Err(Failed::Unanswered) => Err(CallError::Silent),
        }
    }

    fn read_calendars(&self) -> bool {
        self.0.all_read_calendars()
    }
}

/// Starts the strategy. Hits wait for a leader until they are late.
pub(super) fn start(
    settings: &Settings,
    cluster: &Cluster,
    supervisor: &Supervisor,
) -> Result<RaftCoordinator<RaftPeers>, StartError> {
    let (members, following) = watch::channel(members(cluster));
    let time = cluster.clone();
    let config = RaftConfig {
        me: cluster.me().0,
        name: cluster.name().to_owned(),
        clock: Arc::new(move || time.cluster_time()),
        hasher: cluster.keys(),
        data_dir: settings.data_dir.clone(),
        timings: Timings::lan(),
    };
    let raft = RaftCoordinator::start(config, RaftPeers(cluster.clone()), following)?;
    let answering = raft.clone();
    cluster.on_calls(Arc::new(move |from, request| {
        let raft = answering.clone();
        Box::pin(async move { raft.on_call(from.0, request).await })
    }));
    let followed = cluster.clone();
    supervisor.run("raft-members", move || {
        follow(followed.clone(), members.clone())
    });
    Ok(raft)
}

/// Returns when this node has its vote, or did not get it in time.
pub(super) async fn first_vote(raft: &RaftCoordinator<RaftPeers>) {
    let vote = async {
        while !(raft.is_settled() && raft.decides()) {
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
    };
    if tokio::time::timeout(FIRST_VOTE, vote).await.is_err() {
        tracing::warn!(strategy = "raft", "no vote yet, hits wait for a leader");
    }
}

/// Keeps the group told of the members, until it ends.
async fn follow(cluster: Cluster, told: watch::Sender<Vec<Member>>) {
    let mut rounds_of_two = 0;
    while !told.is_closed() {
        let now = members(&cluster);
        rounds_of_two = match now.len() {
            2 => rounds_of_two + 1,
            _ => 0,
        };
        if rounds_of_two == TWO_FOR_LONG {
            tracing::warn!(
                strategy = "raft",
                "two nodes have one voter: while that one is silent, limits with this strategy answer by their fail \
                 mode, and if it is lost, what the other had not heard of yet is forgotten; three nodes survive the \
                 loss of any one"
            );
        }
        told.send_if_modified(|known| {
            let differs = *known != now;
            if differs {
                *known = now;
            }
            differs
        });
        tokio::time::sleep(FOLLOW_EVERY).await;
    }
}

fn members(cluster: &Cluster) -> Vec<Member> {
    let member = |peer: Peer| Member {
        id: peer.replica.0,
        name: peer.name,
        is_alive: peer.status != Status::Dead,
        is_leaving: peer.status == Status::Leaving && !peer.asks,
        votes: !peer.asks,
    };
    cluster.peers().into_iter().map(member).collect()
}

/// The group, told in names. A node that is no member any more has none, and is told by its incarnation.
pub(super) fn status(group: &coordinator_raft::RaftStatus, peers: &[Peer]) -> RaftStatus {
    let name = |id: u32| {
        let known = peers.iter().find(|peer| peer.replica.0 == id);
        known.map_or_else(|| ReplicaId(id).to_string(), |peer| peer.name.clone())
    };
    let names = |ids: &[u32]| {
        let mut names: Vec<String> = ids.iter().map(|&id| name(id)).collect();
        names.sort_unstable();
        names
    };
    RaftStatus {
        leader: group.leader.map(name),
        term: group.term,
        voters: names(&group.voters),
        learners: names(&group.learners),
    }
}
