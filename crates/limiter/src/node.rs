//! What fronts ask of the node behind them.

use std::future::Future;
use std::sync::Arc;

use catalogue::{Changed, Content, Kind, NotChanged};
use coordinator::{
    ClusterStatus, Coordinator, Forgotten, Ownership, Policy, Readiness, Shards, Strategy,
};
use quota::Nanos;
use series::{Asked, Told};

use crate::{NotReloaded, Refusal};

/// A node as seen from its fronts: it decides hits, and tells how it and its cluster are.
///
/// Everything but deciding, [`look_up`](Self::look_up), [`ask_series`](Self::ask_series), [`edit`](Self::edit), [`set`](Self::set), [`remove`](Self::remove) and [`reload`](Self::reload) answers from what the
/// node knows already, without waiting.
pub trait Node: Coordinator {
    /// The cluster as this node sees it.
    fn cluster(&self) -> ClusterStatus;

    /// How long this node has heard of no other member. `None`: there is no other that was not forgotten.
    fn silent(&self) -> Option<Nanos> {
        None
    }

    /// All shards as this node sees them. Empty before it has joined.
    fn shards(&self) -> Shards {
        Shards::default()
    }

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

    /// What people made at run time under `name`.
    fn record(&self, kind: Kind, namespace: &str, name: &str) -> Option<Content>;

    /// Asks another member for what people made under a name that this node does not know, and says whether it knows it now. Takes
    /// 200 ms at most.
    fn look_up(
        &self,
        _kind: Kind,
        _namespace: &str,
        _name: &str,
    ) -> impl Future<Output = bool> + Send {
        std::future::ready(false)
    }

    /// Up to `count` of what they made, after the name `after` in an order of their own.
    fn records(
        &self,
        kind: Kind,
        namespace: &str,
        after: Option<&str>,
        count: usize,
    ) -> Vec<(Arc<str>, Content)>;

    /// How much they made.
    fn count_records(&self, kind: Kind, namespace: &str) -> usize;

    /// Sets what people make at run time to what `edit` makes of what stands there, and returns when every live member has
    /// it, or after a second with those who have not. No other change of this node comes in between: `edit` waits for nothing.
    ///
    /// # Errors
    ///
    /// What `edit` refuses, and [`NotChanged`]: nothing was changed, on any node.
    fn edit<E: From<NotChanged> + Send>(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        edit: impl FnOnce(Option<&Content>) -> Result<Content, E> + Send,
    ) -> impl Future<Output = Result<Changed, E>> + Send;

    /// Sets what people make at run time, as [`edit`](Self::edit) does, whatever stands there.
    ///
    /// # Errors
    ///
    /// [`NotChanged`]: nothing was changed, on any node.
    fn set(
        &self,
        namespace: &str,
        name: &str,
        content: Content,
    ) -> impl Future<Output = Result<Changed, NotChanged>> + Send {
        self.edit(content.kind(), namespace, name, |_| Ok(content))
    }

    /// Removes what people made at run time, as [`set`](Self::set) sets it. `None`: there is nothing of that name.
    ///
    /// # Errors
    ///
    /// [`NotChanged`]: nothing was changed, on any node.
    fn remove(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<Changed>, NotChanged>> + Send;

    /// Up to `count` of all records, removed ones among them, behind the place `after`.
    ///
    /// # Errors
    ///
    /// `after` is no place, and while the node joins.
    fn export(&self, after: Option<&str>, count: usize) -> Result<Vec<Exported>, Refusal>;

    /// Takes in what [`export`](Self::export) gave away, of this cluster or of one that is gone: each joins what stands there.
    ///
    /// # Errors
    ///
    /// One of them is no record: nothing was taken in then. Or one could not be taken in: the refusal tells how many others were,
    /// which stay.
    fn import(&self, records: &[Vec<u8>])
    -> impl Future<Output = Result<Imported, Refusal>> + Send;

    /// Whether this node can count by `strategy`, or could once a limit names it: Redis needs to be in its file.
    fn may_count_by(&self, _strategy: Strategy) -> bool {
        true
    }

    /// Names of the other members, dead ones that were not forgotten among them.
    fn others(&self) -> Vec<String> {
        Vec::new()
    }

    /// Asks the member `name` what it has decided. `None`: it is dead or does not answer within half a second, is of a version that
    /// does not know, or this node asks too many already.
    fn ask_series(&self, _name: &str, _asked: Asked) -> impl Future<Output = Option<Told>> + Send {
        std::future::ready(None)
    }

    /// Reads the file of this node again, and tells what that has changed: all that it says is in force then.
    ///
    /// # Errors
    ///
    /// [`NotReloaded`]: nothing was changed.
    fn reload(&self) -> impl Future<Output = Result<Vec<String>, NotReloaded>> + Send {
        std::future::ready(Err(NotReloaded::NoFile))
    }
}

/// A record, to be kept elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exported {
    /// What the next ones are asked for by.
    pub place: String,
    /// What it is about.
    pub kind: Kind,
    /// Whose it is.
    pub namespace: Arc<str>,
    /// Its name there.
    pub name: Arc<str>,
    /// All of it, in a form of the node's own.
    pub record: Vec<u8>,
}

/// What became of records that were taken in.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Imported {
    /// How many said something that was not known.
    pub new: usize,
    /// Live members that have not confirmed all of them, in order.
    pub pending: Vec<String>,
}

/// Name under which limits of single keys count, beside [`Node::record`]s of [`Kind::KeyLimit`]. No file can define it: names there have no `@`.
pub const KEY_LIMITS: &str = "@key";
