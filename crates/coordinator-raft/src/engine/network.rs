//! Raft's messages on their way to the other voters and learners.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use serde::{Deserialize, Serialize};

use super::types::{Snapshot, SnapshotMeta, Types, Vote};
use crate::group::GroupId;
use crate::peers::{CallError, Peers};
use crate::wire::{self, Kind, Part, Reply, Request};

/// How long one message waits for its answer: as long as a follower waits before it wants to lead. Longer would hold
/// up the entries after one whose answer was lost.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long a part of a snapshot of 512 KiB may take: also over 10 Mbit/s, with 0.4 s on the wire, and while the last
/// part makes the receiver read the whole.
const PART_PATIENCE: Duration = Duration::from_secs(10);

/// The vote under which a snapshot is sent, and what is in it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) vote: Vote,
    pub(super) meta: SnapshotMeta,
}

/// Makes the lines to the other nodes of one group.
pub(super) struct Network<P> {
    pub(super) peers: P,
    pub(super) group: GroupId,
    /// Whether this node, which leads, keeps still.
    pub(super) keeps_still: Arc<AtomicBool>,
}

impl<P: Peers> RaftNetworkFactory<Types> for Network<P> {
    type Network = Line<P>;

    async fn new_client(&mut self, target: u32, _node: &EmptyNode) -> Line<P> {
        Line {
            peers: self.peers.clone(),
            group: self.group,
            keeps_still: Arc::clone(&self.keeps_still),
            target,
        }
    }
}

/// The line to one node.
pub(super) struct Line<P> {
    peers: P,
    group: GroupId,
    keeps_still: Arc<AtomicBool>,
    target: u32,
}

/// Why there was no answer that raft could use.
#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the node belongs to another group")]
    Foreign,
    #[error("the node gave no answer to this")]
    Answer,
}

impl LineError {
    /// A node that is not there is left alone for a while; a lost message is sent again at once.
    fn is_away(&self) -> bool {
        !matches!(self, Self::Call(CallError::Silent))
    }
}

impl From<LineError> for RPCError<Types> {
    fn from(error: LineError) -> Self {
        if error.is_away() {
            Self::Unreachable(Unreachable::new(&error))
        } else {
            Self::Network(NetworkError::new(&error))
        }
    }
}

impl<P: Peers> Line<P> {
    async fn ask<T: for<'a> Deserialize<'a>>(
        &self,
        kind: Kind,
        body: Bytes,
        patience: Duration,
    ) -> Result<T, LineError> {
        if matches!(kind, Kind::Append | Kind::Snapshot) && self.keeps_still.load(Ordering::Relaxed)
        {
            return Err(CallError::Unreachable.into());
        }
        let request = Request {
            group: Some(self.group),
            kind,
            body,
        };
        let answer = self
            .peers
            .call(self.target, request.encode(), patience)
            .await?;
        match Reply::decode(&answer) {
            Some(Reply::Done(body)) => wire::decode(&body).ok_or(LineError::Answer),
            Some(Reply::Foreign) => Err(LineError::Foreign),
            _ => Err(LineError::Answer),
        }
    }

    async fn send(
        &self,
        vote: Vote,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<Types>, LineError> {
        let of = snapshot.snapshot.len() as u32;
        let mut response = SnapshotResponse::new(vote);
        for (number, bytes) in (0..of).zip(snapshot.snapshot) {
            let about = About {
                vote,
                meta: snapshot.meta.clone(),
            };
            let part = Part {
                about,
                number,
                of,
                bytes,
            };
            response = self
                .ask(Kind::Snapshot, wire::encode(&part), PART_PATIENCE)
                .await?;
            if response.vote != vote {
                break;
            }
        }
        Ok(response)
    }
}

impl<P: Peers> RaftNetworkV2<Types> for Line<P> {
    type SnapshotData = Vec<Bytes>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let body = wire::encode(&rpc);
        Ok(self.ask(Kind::Append, body, PATIENCE).await?)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(self.ask(Kind::Vote, wire::encode(&rpc), PATIENCE).await?)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let body = wire::encode(&rpc);
        Ok(self.ask(Kind::PreVote, body, PATIENCE).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            biased;
            closed = cancel => Err(closed.into()),
            sent = self.send(vote, snapshot) => Ok(sent.map_err(RPCError::from)?),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let body = wire::encode(&request);
        Ok(self.ask(Kind::TransferLeader, body, PATIENCE).await?)
    }
}
