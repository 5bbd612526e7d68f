//! What a node keeps of a tenant that it serves.

use std::sync::Arc;

use accounts::{Plan, Tenant, TenantId};
use arc_swap::ArcSwap;
use quota::Nanos;

use super::Service;
use super::ceiling::{Ceiling, SECOND};
use super::gathered::Gathered;
use super::opened::Opened;
use super::usage::Day;
use super::uses::Uses;
use crate::{Kind, Refusal};

/// Most requests of a tenant in a minute, on each node, that look through its limits, API keys and people, and as many that
/// change them: each look walks through what others need as well, and each change is written on all nodes. They are counted
/// apart, since whoever has an API key that reads could keep its owner from revoking it.
const MANAGEMENT_MAX: u32 = 600;

/// What a node keeps of a tenant that it serves: its plan, and where its day stands.
pub(crate) struct Tenancy {
    pub(crate) id: TenantId,
    pub(super) service: Arc<Service>,
    /// As it was when a request of it came last.
    record: ArcSwap<Tenant>,
    ceiling: Ceiling,
    /// Of what looks through its limits, API keys and people.
    reads: Ceiling,
    /// Of what changes them.
    changes: Ceiling,
    pub(super) day: Day,
    pub(super) uses: Uses,
    pub(super) gathered: Gathered,
    pub(super) opened: Opened,
}

impl Tenancy {
    pub(super) fn new(service: Arc<Service>, id: TenantId, record: Arc<Tenant>) -> Self {
        Self {
            id,
            service,
            record: ArcSwap::new(record),
            ceiling: Ceiling::new(),
            reads: Ceiling::new(),
            changes: Ceiling::new(),
            day: Day::new(id),
            uses: Uses::default(),
            gathered: Gathered::default(),
            opened: Opened::default(),
        }
    }

    /// It has come again, and this is what is known of it now.
    pub(super) fn is_now(&self, record: &Arc<Tenant>) {
        if !Arc::ptr_eq(&self.record.load(), record) {
            self.record.store(Arc::clone(record));
        }
    }

    /// What it may use.
    pub(crate) fn plan(&self) -> &Plan {
        self.record.load().plan(&self.service.plans)
    }

    /// The most requests of a day. `None`: there is no cap.
    pub(super) fn cap(&self, day: u64) -> Option<u32> {
        self.record.load().cap(&self.service.plans, day)
    }

    /// Refuses what comes faster than the plan lets it come to this node.
    pub(super) fn check_ceiling(&self) -> Result<(), Refusal> {
        let per_second = self.plan().per_second;
        match self.ceiling.passes(per_second, SECOND) {
            true => Ok(()),
            false => Err(too_fast(format!(
                "more than {per_second} requests a second of this tenant came to this node; nothing was counted"
            ))),
        }
    }

    /// Refuses what looks through the tenant faster than [`MANAGEMENT_MAX`].
    pub(super) fn check_reads(&self) -> Result<(), Refusal> {
        match self.reads.passes(MANAGEMENT_MAX, 60 * SECOND) {
            true => Ok(()),
            false => Err(too_fast(format!(
                "more than {MANAGEMENT_MAX} requests a minute that look through this tenant came to this node; nothing was counted"
            ))),
        }
    }

    /// Refuses what changes the tenant faster than [`MANAGEMENT_MAX`].
    pub(super) fn check_changes(&self) -> Result<(), Refusal> {
        match self.changes.passes(MANAGEMENT_MAX, 60 * SECOND) {
            true => Ok(()),
            false => Err(too_fast(format!(
                "more than {MANAGEMENT_MAX} requests a minute that change this tenant came to this node; nothing was changed"
            ))),
        }
    }
}

fn too_fast(detail: String) -> Refusal {
    Refusal::new(Kind::TenantRate, detail).with_retry_after(Nanos::from_secs(1))
}
