//! What a node keeps of a tenant that it serves.

use std::sync::Arc;
use std::time::Instant;

use accounts::{Plan, Tenant, TenantId};
use arc_swap::ArcSwap;
use coordinator::Policy;
use quota::Nanos;

use super::Service;
use super::ceiling::Ceiling;
use super::gathered::{Gathered, Went};
use super::usage::Day;
use super::uses::Uses;
use crate::{Kind, Refusal};

/// What a node keeps of a tenant that it serves: its plan, and where its day stands.
pub(crate) struct Tenancy {
    pub(crate) id: TenantId,
    pub(super) service: Arc<Service>,
    /// As it was when a request of it came last.
    record: ArcSwap<Tenant>,
    ceiling: Ceiling,
    pub(super) day: Day,
    pub(super) uses: Uses,
    pub(super) gathered: Gathered,
}

impl Tenancy {
    pub(super) fn new(service: Arc<Service>, id: TenantId, record: Arc<Tenant>) -> Self {
        Self {
            id,
            service,
            record: ArcSwap::new(record),
            ceiling: Ceiling::new(),
            day: Day::new(id),
            uses: Uses::default(),
            gathered: Gathered::default(),
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
        self.service
            .plans
            .of(self.record.load().plan.get().as_ref())
    }

    /// The most requests of a day. `None`: there is no cap.
    pub(super) fn cap(&self, day: u64) -> Option<u32> {
        self.record.load().cap(&self.service.plans, day)
    }

    /// One that was asked then was admitted, and is a request of the day.
    pub(super) fn note_request(&self, policy: &Policy, began: Instant) {
        self.gathered.add(&policy.name, Went::Allowed, began);
    }

    /// Refuses what comes faster than the plan lets it come to this node.
    pub(super) fn check_ceiling(&self) -> Result<(), Refusal> {
        let per_second = self.plan().per_second;
        if self.ceiling.passes(per_second) {
            return Ok(());
        }
        let detail = format!(
            "more than {per_second} requests a second of this tenant came to this node; nothing was counted"
        );
        Err(Refusal::new(Kind::TenantRate, detail).with_retry_after(Nanos::from_secs(1)))
    }
}
