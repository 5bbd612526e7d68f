//! What tenants have used, kept by month in records: a count is forgotten after 40 days, and whoever held it may be lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use accounts::{DayTally, MonthUsage, TenantId};
use catalogue::{Content, Kind as Record, SERVICE};
use futures_util::future::join_all;

use super::DayUsage;
use super::uses::NotTold;
use crate::{Limiter, Node};

/// Days that are kept at once: their writes share a few syncs of the disk.
const AT_ONCE: usize = 64;

/// No day is so far away.
const NO_DAY: u64 = u64::MAX;

/// Days whose counts this node has changed since they were kept.
pub(super) struct Unkept {
    /// The one that changed last: a hit looks no further as long as it is the same.
    last: AtomicU64,
    days: Mutex<BTreeSet<u64>>,
}

impl Unkept {
    /// These, since another may have changed them before this node knew of the tenant.
    pub(super) fn new(days: impl IntoIterator<Item = u64>) -> Self {
        Self {
            last: AtomicU64::new(NO_DAY),
            days: Mutex::new(days.into_iter().collect()),
        }
    }

    /// The count of that day has changed.
    pub(super) fn note(&self, day: u64) {
        if self.last.load(Ordering::Relaxed) != day {
            let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
            days.insert(day);
            self.last.store(day, Ordering::Relaxed);
        }
    }

    /// What is counted from now on is noted anew.
    fn take(&self) -> BTreeSet<u64> {
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        self.last.store(NO_DAY, Ordering::Relaxed);
        std::mem::take(&mut *days)
    }
}

impl<N: Node> Limiter<N> {
    /// Keeps what was used on the days whose counts this node has changed. To be called every minute.
    pub async fn keep_usage(&self) {
        let mut changed = Vec::new();
        for shared in self.shared.tenants.all() {
            if let Some(tenancy) = &shared.tenancy {
                let days = tenancy.day.unkept.take().into_iter();
                changed.extend(days.map(|day| (tenancy.id, day)));
            }
        }
        for some in changed.chunks(AT_ONCE) {
            let used = self.days_used(some).await.into_iter();
            let kept = used.zip(some).map(async |(used, (tenant, _))| match used {
                Ok(used) => self.keep_day(*tenant, used).await,
                Err(_nobody_knows) => Err(NotTold::NotChanged),
            });
            for (kept, (tenant, day)) in join_all(kept).await.into_iter().zip(some) {
                if let Err(NotTold::NotChanged) = kept
                    && let Some(shared) = self.shared.tenants.get(*tenant)
                    && let Some(tenancy) = &shared.tenancy
                {
                    tenancy.day.unkept.note(*day);
                }
            }
        }
    }

    async fn keep_day(&self, tenant: TenantId, used: DayUsage) -> Result<(), NotTold> {
        let DayUsage {
            day,
            requests,
            denied,
        } = used;
        let edit = |known: Option<&Content>| {
            let known = known.and_then(Content::usage);
            let empty = || MonthUsage::of_day(day);
            let mut month = known.map_or_else(empty, |known| MonthUsage::clone(known));
            match month.raise(day, DayTally { requests, denied }) {
                true => Ok(Content::Usage(month.into())),
                false => Err(NotTold::Needless),
            }
        };
        let (node, name) = (self.node(), MonthUsage::name(tenant, day));
        node.edit(Record::Usage, SERVICE, &name, edit).await?;
        Ok(())
    }

    /// What is kept of a day.
    pub(super) fn kept(&self, tenant: TenantId, day: u64) -> DayTally {
        let name = MonthUsage::name(tenant, day);
        let month = self.node().record(Record::Usage, SERVICE, &name);
        let month = month.as_ref().and_then(Content::usage);
        month.map_or(DayTally::default(), |month| month.of(day))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_that_changes_after_it_was_taken_is_taken_again() {
        let unkept = Unkept::new([6, 7]);
        unkept.note(7);
        unkept.note(8);
        unkept.note(8);
        assert_eq!(unkept.take(), [6, 7, 8].into());
        assert_eq!(unkept.take(), [].into());
        unkept.note(8);
        assert_eq!(unkept.take(), [8].into());
    }
}
