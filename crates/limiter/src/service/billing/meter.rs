//! What tenants have used, told to Stripe: `accounts::MeterEvent` says what and when, this does it.

use accounts::{MeterEvent, TenantId};
use catalogue::{Content, Kind as Record, SERVICE};

use super::Billing;
use super::standing::{Unchanged, unless_needless};
use crate::service::now;
use crate::{Limiter, Node, Refusal};

/// Events of a day that are told one after the other: what was not accepted before, and what has come since.
const AT_ONCE: usize = 3;

impl<N: Node> Limiter<N> {
    /// Tells what is due of the days that `which` picks; with `is_asked` also what would wait for the next hour. Whether Stripe was told
    /// anything.
    pub(super) async fn tell_days(
        &self,
        billing: &Billing,
        tenant: TenantId,
        which: impl Fn(u64) -> bool,
        is_asked: bool,
    ) -> Result<bool, Refusal> {
        let Some(known) = self.subscription(tenant) else {
            return Ok(false);
        };
        let Some(customer) = &known.customer else {
            return Ok(false);
        };
        let now = now();
        let may_wait =
            |day| MeterEvent::may_wait(self.last_event(tenant, day).as_ref(), day, now, is_asked);
        let days: Vec<u64> = MeterEvent::days(now)
            .filter(|day| which(*day) && known.billed(*day, 0).is_some())
            // Of these nobody has to be asked what was used.
            .filter(|day| !may_wait(*day))
            .collect();
        let mut was_told = false;
        let used = self.usage(tenant, days.iter().copied()).await?;
        for (day, used) in days.into_iter().zip(used) {
            let Some(requests) = known.billed(day, used.requests) else {
                continue;
            };
            for _ in 0..AT_ONCE {
                let told = self.tell_day(billing, (tenant, customer), day, requests, is_asked);
                if !told.await? {
                    break;
                }
                was_told = true;
            }
        }
        Ok(was_told)
    }

    /// What Stripe was told last of a day, or is to be told.
    fn last_event(&self, tenant: TenantId, day: u64) -> Option<MeterEvent> {
        let name = MeterEvent::name(tenant, day);
        let record = self.node().record(Record::MeterEvent, SERVICE, &name)?;
        record.meter_event()
    }

    /// Tells one event of a day. `false`: there is none to tell.
    async fn tell_day(
        &self,
        billing: &Billing,
        (tenant, customer): (TenantId, &str),
        day: u64,
        requests: u32,
        is_asked: bool,
    ) -> Result<bool, Refusal> {
        let mut due = None;
        let begin = |known: Option<&Content>| {
            let known = known.and_then(Content::meter_event);
            due = MeterEvent::due(known.as_ref(), day, requests, now(), is_asked);
            match due {
                Some(due) if Some(due) != known => Ok(Content::MeterEvent(due)),
                _ => Err(Unchanged::Needless),
            }
        };
        // Written down before it is sent: whoever takes over sends the same.
        unless_needless(self.keep_event(tenant, day, begin).await)?;
        let Some(due) = due else {
            return Ok(false);
        };
        let stripe = &billing.stripe;
        stripe.tell(&billing.meter, customer, tenant, &due).await?;
        let end = |known: Option<&Content>| {
            let known = known.and_then(Content::meter_event);
            match known {
                // As it was sent.
                Some(known) if known == due => Ok(Content::MeterEvent(due.accepted())),
                _ => Err(Unchanged::Needless),
            }
        };
        unless_needless(self.keep_event(tenant, day, end).await)?;
        Ok(true)
    }

    async fn keep_event(
        &self,
        tenant: TenantId,
        day: u64,
        edit: impl FnOnce(Option<&Content>) -> Result<Content, Unchanged> + Send,
    ) -> Result<catalogue::Changed, Unchanged> {
        let (node, name) = (self.node(), MeterEvent::name(tenant, day));
        node.edit(Record::MeterEvent, SERVICE, &name, edit).await
    }
}
