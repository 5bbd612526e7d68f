//! The other nodes, as the driver makes them known.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

/// How this node reaches the others. The driver implements it over the connections that it has anyway.
pub trait Peers: Clone + Send + Sync + 'static {
    /// Delivers `request` to [`RaftCoordinator::on_call`](crate::RaftCoordinator::on_call) of node `to`, and brings its
    /// answer.
    ///
    /// Bodies stay below 1 MiB in both directions. Calls may overtake each other and may be lost or repeated. A call
    /// may take as long as `deadline`, and others must not wait for it.
    ///
    /// # Errors
    ///
    /// [`CallError`] says whether the request may have arrived.
    fn call(
        &self,
        to: u32,
        request: Bytes,
        deadline: Duration,
    ) -> impl Future<Output = Result<Bytes, CallError>> + Send;

    /// Whether all others can read a log with windows of calendars in it. Until then no such limit is decided: who cannot
    /// read an entry takes no part any more.
    fn read_calendars(&self) -> bool {
        true
    }
}

/// Why a call brought no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallError {
    /// The request has not left this node: a hit in it is not counted.
    #[error("the node cannot be reached")]
    Unreachable,
    /// The request may have arrived: a hit in it may have been counted.
    #[error("the node did not answer in time")]
    Silent,
    /// The node answered that it does not run this strategy: a hit in it is not counted.
    #[error("the node does not run the strategy raft")]
    NotRunning,
}

/// A node as the cluster's membership has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its incarnation. A node that starts again is another member.
    pub id: u32,
    /// Its name, which stays.
    pub name: String,
    /// Whether it is believed to be alive.
    pub is_alive: bool,
    /// Whether it is about to leave: it decides on, but votes no more.
    pub is_leaving: bool,
    /// Whether its vote may be wanted. Of one that comes and goes often it is not: it only learns.
    pub votes: bool,
}
