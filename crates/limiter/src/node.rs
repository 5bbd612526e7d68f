//! What fronts ask of the node behind them.

use std::future::Future;

use coordinator::{
    ClusterStatus, Coordinator, Forgotten, NoDecision, Ownership, Policy, Readiness,
};
use quota::Limit;

/// A node as seen from its fronts: it decides hits, and tells how it and its cluster are.
///
/// Everything but deciding and [`put_key_limit`](Self::put_key_limit) answers from what the node knows already, without
/// waiting.
pub trait Node: Coordinator {
    /// The cluster as this node sees it.
    fn cluster(&self) -> ClusterStatus;

    /// Who decides for a key. `None` while nobody is known to.
    fn owner_of(&self, policy: &Policy, key: &str) -> Option<Ownership>;

    /// Whether what this process does for ever still goes on. `false`: only a new process helps.
    fn is_well(&self) -> bool;

    /// Whether this node takes hits.
    fn readiness(&self) -> Readiness;

    /// All metrics, in Prometheus' text format, version 0.0.4.
    fn metrics(&self) -> String;

    /// Declares a dead member gone for good.
    fn forget(&self, name: &str) -> Forgotten;

    /// The limit that was set for this one key, under the name [`KEY_LIMITS`].
    fn key_limit(&self, key: &str) -> Option<Policy>;

    /// Sets a limit for this one key, replacing an earlier one. Every node knows it once this is answered.
    ///
    /// # Errors
    ///
    /// [`NoDecision`] when it could not be told to the cluster. Setting it again is safe.
    fn put_key_limit(
        &self,
        key: &str,
        limit: Limit,
    ) -> impl Future<Output = Result<(), NoDecision>> + Send;
}

/// Name under which limits of single keys count. No file can define it: names there have no `@`.
pub const KEY_LIMITS: &str = "@key";
