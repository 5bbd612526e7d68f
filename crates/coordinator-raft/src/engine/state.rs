//! The machine as openraft drives it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, StoredMembership as Stored};

use super::snapshot::{Builder, Shelf};
use super::types::{LogId, Outcomes, Proposal, Snapshot, SnapshotMeta, StoredMembership, Types};
use crate::ask::Command;
use crate::codec::Malformed;
use crate::machine::Machine;

/// The replicated state with how far it has come. Clones share it.
#[derive(Clone)]
pub(crate) struct StateMachine {
    applied: Arc<Mutex<Applied>>,
    shelf: Shelf,
}

/// The state, and the last entry in it.
#[derive(Default)]
pub(crate) struct Applied {
    pub(crate) machine: Machine,
    last: Option<LogId>,
    membership: StoredMembership,
}

impl Applied {
    /// The index of the last entry in the state.
    pub(crate) fn index(&self) -> Option<u64> {
        self.last.map(|id| id.index)
    }

    fn apply(
        &mut self,
        id: LogId,
        payload: &EntryPayload<Proposal, u32, openraft::EmptyNode>,
    ) -> Result<Outcomes, Malformed> {
        self.last = Some(id);
        match payload {
            EntryPayload::Blank => Ok(Outcomes::default()),
            EntryPayload::Normal(proposal) => {
                let command = Command::decode(&proposal.0)?;
                let all = self.machine.apply(&command)?;
                Ok(Outcomes { all })
            }
            EntryPayload::Membership(membership) => {
                self.membership = Stored::new(Some(id), membership.clone());
                Ok(Outcomes::default())
            }
        }
    }
}

impl StateMachine {
    pub(crate) fn new(shelf: Shelf) -> Self {
        Self {
            applied: Arc::default(),
            shelf,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Applied> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn shelf(&self) -> &Shelf {
        &self.shelf
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = Vec<Bytes>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let applied = self.lock();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            // An entry that cannot be read was proposed by a leader of another version. It is the same on every node,
            // so all pass it over; its leader tells its hits nothing.
            let outcomes = self
                .lock()
                .apply(entry.log_id, &entry.payload)
                .unwrap_or_else(|error| {
                    tracing::error!(%error, index = entry.log_id.index, "entry of the raft log passed over");
                    Outcomes::default()
                });
            if let Some(responder) = responder {
                responder.send(outcomes);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let applied = self.lock();
        Builder {
            meta: SnapshotMeta {
                last_log_id: applied.last,
                last_membership: applied.membership.clone(),
            },
            frozen: Some(applied.machine.freeze()),
            shelf: self.shelf.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Vec<Bytes>,
    ) -> Result<(), io::Error> {
        let machine = Machine::restored(&snapshot).map_err(io::Error::other)?;
        *self.lock() = Applied {
            machine,
            last: meta.last_log_id,
            membership: meta.last_membership.clone(),
        };
        let meta = meta.clone();
        self.shelf.put(Snapshot { meta, snapshot }).await;
        self.shelf.meter.installed.increment(1);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.shelf.latest())
    }
}
