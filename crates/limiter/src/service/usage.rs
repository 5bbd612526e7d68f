//! The requests of a tenant's day: an ordinary count, whose owner decides.
//!
//! The limit `@requests` in the namespace `@service`: the day stands in the key, and the window of 40 days begins with its first
//! request. A cell of the calendar day would be gone at midnight with the last requests; this one can be read, and put right
//! after a split, for as long as a plan's day matters. What is kept beyond that is in `months.rs`. *Used* is what a peek under
//! the widest limit leaves of it, so that it is told also where it is above the cap.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use accounts::{DayTally, REQUESTS_PER_DAY_MAX, TenantId, UnixSecs};
use arc_swap::ArcSwap;
use catalogue::SERVICE;
use coordinator::{Answer, FailMode, Hit, NoDecision, Once, Policy, Strategy};
use metrics::{Counter, Gauge, counter, gauge};
use quota::{Algorithm, Anchor, Cost, Limit, Nanos, Verdict};

use super::Tenancy;
use super::months::Unkept;
use crate::{Kind, Limiter, Node, Refusal, Standing};

/// What a day's requests are counted under, and what a day's denied requests are.
const REQUESTS: &str = "@requests";
const DENIED: &str = "@denied";

/// For how many days a day is counted, itself among them.
const DAYS_COUNTED: u64 = 40;

/// Longer than a plan's day matters.
const REMEMBERED: Nanos = Nanos::from_secs(DAYS_COUNTED * DAY_SECS);

const DAY_SECS: u64 = 24 * 60 * 60;

/// Seconds into the next day until a day is [closed](DayUsage::is_closed): what was still to be counted at midnight is by then, of
/// nodes that can be reached.
const CLOSED_AFTER: u64 = 120;

/// What clients see the plan's requests of a day called. A limit of that name makes it [`DAY_OF_PLAN`].
const DAY: &str = "day";
const DAY_OF_PLAN: &str = "day@plan";

/// Where the day of a tenant stands, as far as this node knows.
pub(super) struct Day {
    /// Days since the epoch, and what they are counted under.
    key: ArcSwap<(u64, String)>,
    /// By what they were counted last.
    policy: ArcSwap<Policy>,
    tenant: TenantId,
    /// Days since the epoch in the upper half, and a cap in the lower that is used up.
    spent: AtomicU64,
    /// Used, as the last charge was told.
    used: AtomicU32,
    /// What was answered and could not be counted, by day: to be counted later, whatever the cap.
    backlog: Mutex<BTreeMap<u64, u32>>,
    /// What was denied and is still to be told to the others.
    denied: AtomicU32,
    /// Days that have changed since they were kept for longer.
    pub(super) unkept: Unkept,
    meters: Meters,
}

struct Meters {
    backlog: Gauge,
    uncertain: Counter,
}

/// What a tenant has used of a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DayUsage {
    /// Days since the epoch.
    pub day: u64,
    /// Requests that were admitted.
    pub requests: u32,
    /// Requests that a limit denied.
    pub denied: u32,
}

impl DayUsage {
    /// Whether the day is over, and so long that what was asked in it is counted.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        UnixSecs::of_day(self.day + 1) + CLOSED_AFTER <= super::now()
    }
}

/// Where the day stands, for the headers of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DayStanding {
    /// The most requests of the day.
    pub cap: u32,
    /// Used of it.
    pub used: u32,
    /// Whole seconds until the next day begins.
    pub resets_in: u64,
}

impl DayStanding {
    /// The same as one of several limits, beside one called `other`.
    #[must_use]
    pub fn beside(&self, other: &str) -> Standing<'static> {
        Standing {
            name: if other == DAY { DAY_OF_PLAN } else { DAY },
            limit: self.cap,
            per_secs: Some(DAY_SECS),
            burst: None,
            remaining: self.cap.saturating_sub(self.used),
            grows_after_secs: self.resets_in,
            reset_after_secs: self.resets_in,
        }
    }
}

impl Day {
    pub(super) fn new(tenant: TenantId) -> Self {
        Self {
            key: ArcSwap::from_pointee((u64::MAX, String::new())),
            policy: ArcSwap::from_pointee(widest(REQUESTS)),
            tenant,
            spent: AtomicU64::new(0),
            used: AtomicU32::new(0),
            backlog: Mutex::default(),
            denied: AtomicU32::new(0),
            unkept: Unkept::new([super::today().saturating_sub(1), super::today()]),
            meters: Meters {
                backlog: gauge!("weir_usage_backlog_requests"),
                uncertain: counter!("weir_usage_uncertain_requests_total"),
            },
        }
    }

    /// What that day is counted under.
    fn key(&self, day: u64) -> Arc<(u64, String)> {
        let key = self.key.load_full();
        if key.0 == day {
            return key;
        }
        let key = Arc::new((day, key_of(self.tenant, day)));
        self.key.store(Arc::clone(&key));
        key
    }

    /// By what the requests of a day with this cap are counted: put together when it is another.
    fn policy(&self, cap: Option<u32>) -> Arc<Policy> {
        let units = cap.unwrap_or(REQUESTS_PER_DAY_MAX);
        let known = self.policy.load_full();
        if known.limit.units() == units {
            return known;
        }
        let policy = Arc::new(policy(REQUESTS, units));
        self.policy.store(Arc::clone(&policy));
        policy
    }

    fn is_spent(&self, day: u64, cap: u32) -> bool {
        let spent = self.spent.load(Ordering::Relaxed);
        spent >> 32 == day & u64::from(u32::MAX) && cap <= spent as u32
    }

    fn mark_spent(&self, day: u64, cap: u32) {
        let spent = day << 32 | u64::from(cap);
        self.spent.store(spent, Ordering::Relaxed);
    }

    fn owe(&self, day: u64, requests: u32) {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        *backlog.entry(day).or_default() += requests;
        self.meters.backlog.increment(f64::from(requests));
    }

    /// What is owed: to be charged, or owed again.
    fn take_backlog(&self) -> BTreeMap<u64, u32> {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        let owed = std::mem::take(&mut *backlog);
        let requests: u32 = owed.values().sum();
        self.meters.backlog.decrement(f64::from(requests));
        owed
    }
}

/// Such as `tn_0123456789abcdef/2026-11-21`.
fn key_of(tenant: TenantId, day: u64) -> String {
    format!("{tenant}/{}", UnixSecs::of_day(day).date())
}

fn policy(name: &str, units: u32) -> Policy {
    let limit = Limit::new(Algorithm::FixedWindow, units.max(1), REMEMBERED);
    let limit = limit.and_then(|limit| limit.with_anchor(Anchor::FirstHit));
    Policy {
        namespace: SERVICE.into(),
        name: name.into(),
        limit: limit.expect("40 days are a period").with_keep(true),
        strategy: Strategy::Owner,
        on_failure: FailMode::Deny,
        top_keys: false,
    }
}

/// The policy under which everything is counted, whatever the cap.
fn widest(name: &str) -> Policy {
    policy(name, REQUESTS_PER_DAY_MAX)
}

/// What was counted, as a peek under the widest policy tells it.
fn used(answer: &Answer) -> u32 {
    REQUESTS_PER_DAY_MAX - answer.decision.remaining.min(REQUESTS_PER_DAY_MAX)
}

impl<N: Node> Limiter<N> {
    /// Refuses a tenant whose day is known to be used up, without asking anybody.
    pub(crate) fn check_day(&self, tenancy: &Tenancy, day: u64) -> Result<(), Refusal> {
        match tenancy.cap(day) {
            Some(cap) if tenancy.day.is_spent(day, cap) => {
                // More than the cap, where that was lowered since.
                let used = tenancy.day.used.load(Ordering::Relaxed).max(cap);
                Err(used_up(tenancy, day, cap, used))
            }
            _ => Ok(()),
        }
    }

    /// Counts requests that the tenant's limits have admitted. `Err`: as many are left of the day, none of them was counted.
    pub(crate) async fn charge(
        &self,
        tenancy: &Tenancy,
        day: u64,
        requests: u32,
    ) -> Result<(), Spent> {
        let key = tenancy.day.key(day);
        let policy = tenancy.day.policy(tenancy.cap(day));
        let told = self.node().hit(&policy, &key.1, Cost::new(requests)).await;
        self.charged(tenancy, day, (&policy, requests), told).await
    }

    /// Counts one request by a name: asked again, it counts once, on the day on which it came first.
    pub(crate) async fn charge_once(
        &self,
        tenancy: &Tenancy,
        day: u64,
        name: &str,
    ) -> Result<(), Spent> {
        let key = tenancy.day.key(day);
        let policy = tenancy.day.policy(tenancy.cap(day));
        let hit = Hit {
            policy: &policy,
            key: &key.1,
            cost: Cost::ONE,
        };
        let told = self.node().once(Once::Hit(hit), name).await;
        self.charged(tenancy, day, (&policy, 1), told).await
    }

    /// What came of it.
    async fn charged(
        &self,
        tenancy: &Tenancy,
        day: u64,
        (policy, requests): (&Policy, u32),
        told: Result<Answer, NoDecision>,
    ) -> Result<(), Spent> {
        tenancy.day.unkept.note(day);
        match told {
            Ok(answer) if answer.decision.is_allowed() => {
                let used = policy.limit.units() - answer.decision.remaining;
                tenancy.day.used.store(used, Ordering::Relaxed);
                Ok(())
            }
            Ok(answer) => {
                let (cap, left) = (policy.limit.units(), answer.decision.remaining);
                // A cap below what was used leaves nothing, and does not say how much that is.
                let used = match answer.decision.verdict {
                    Verdict::NeverConforms | Verdict::Deny { .. } if left == 0 => {
                        self.requests_of(tenancy.id, day).await.unwrap_or(cap)
                    }
                    _ => cap - left,
                };
                tenancy.day.used.store(used, Ordering::Relaxed);
                if left == 0 {
                    tenancy.day.mark_spent(day, cap);
                }
                Err(Spent {
                    left,
                    refusal: used_up(tenancy, day, cap, used),
                })
            }
            Err(error) => {
                self.not_charged(tenancy, day, requests, error);
                Ok(())
            }
        }
    }

    /// What was answered stays answered: it is counted later, or may have been counted.
    fn not_charged(&self, tenancy: &Tenancy, day: u64, requests: u32, error: NoDecision) {
        match error.is_uncounted() {
            true => tenancy.day.owe(day, requests),
            false => tenancy.day.meters.uncertain.increment(requests.into()),
        }
    }

    /// Takes note of requests that a limit denied.
    pub(crate) fn denied(&self, tenancy: &Tenancy, requests: u32) {
        tenancy.day.denied.fetch_add(requests, Ordering::Relaxed);
    }

    /// Tells the owner of the day what it has not heard of yet.
    pub(crate) async fn flush_usage(&self, tenancy: &Tenancy) {
        for (day, requests) in tenancy.day.take_backlog() {
            let (policy, key) = (widest(REQUESTS), key_of(tenancy.id, day));
            let told = self.node().hit(&policy, &key, Cost::new(requests)).await;
            tenancy.day.unkept.note(day);
            if let Err(error) = told {
                self.not_charged(tenancy, day, requests, error);
            }
        }
        let denied = tenancy.day.denied.swap(0, Ordering::Relaxed);
        if 0 < denied {
            let key = tenancy.day.key(super::now().days());
            let told = self
                .node()
                .hit(&widest(DENIED), &key.1, Cost::new(denied))
                .await;
            tenancy.day.unkept.note(key.0);
            if told.is_err_and(|error| error.is_uncounted()) {
                self.denied(tenancy, denied);
            }
        }
    }

    /// Where the day of the tenant of this limiter stands, as far as this node was told. `None`: there is no cap.
    #[must_use]
    pub fn day(&self) -> Option<DayStanding> {
        let tenancy = self.tenancy()?;
        let now = super::now();
        Some(DayStanding {
            cap: tenancy.cap(now.days())?,
            used: tenancy.day.used.load(Ordering::Relaxed),
            resets_in: UnixSecs::of_day(now.days() + 1).since(now),
        })
    }

    /// What a tenant has used of these days, of which the last may be today.
    ///
    /// # Errors
    ///
    /// When nobody could be reached who knows.
    pub async fn usage(
        &self,
        tenant: TenantId,
        days: impl IntoIterator<Item = u64>,
    ) -> Result<Vec<DayUsage>, Refusal> {
        let days: Vec<_> = days.into_iter().map(|day| (tenant, day)).collect();
        let used = self.days_used(&days).await.into_iter();
        Ok(used.collect::<Result<_, NoDecision>>()?)
    }

    /// What each of these tenants has used of a day, as far as somebody who knows could be reached: what is counted, and no less than
    /// what is kept. Of a day that is not counted any more it is what is kept.
    pub(super) async fn days_used(
        &self,
        of: &[(TenantId, u64)],
    ) -> Vec<Result<DayUsage, NoDecision>> {
        let counted_since = super::today().saturating_sub(DAYS_COUNTED - 1);
        let is_counted = |(_, day): &(TenantId, u64)| counted_since <= *day;
        let counted = of.iter().filter(|of| is_counted(of));
        let keys: Vec<String> = counted.map(|(id, day)| key_of(*id, *day)).collect();
        let policies = [REQUESTS, DENIED].map(widest);
        let hits = keys.iter().flat_map(|key| {
            policies.each_ref().map(|policy| Hit {
                policy,
                key,
                cost: Cost::PEEK,
            })
        });
        let hits: Vec<_> = hits.collect();
        let told = self.node().hits(&hits).await;
        let mut told = told.into_iter();
        let days = of.iter().map(|of @ (tenant, day)| {
            let mut tally = self.kept(*tenant, *day);
            if is_counted(of) {
                let [requests, denied] =
                    [(), ()].map(|()| told.next().expect("each hit is answered"));
                tally = tally.max(DayTally {
                    requests: used(&requests?),
                    denied: used(&denied?),
                });
            }
            let DayTally { requests, denied } = tally;
            Ok(DayUsage {
                day: *day,
                requests,
                denied,
            })
        });
        days.collect()
    }

    async fn requests_of(&self, tenant: TenantId, day: u64) -> Option<u32> {
        let usage = self.usage(tenant, [day]).await.ok()?;
        usage.first().map(|day| day.requests)
    }
}

/// A day that has no room for what was to be charged.
pub(crate) struct Spent {
    /// Requests that it has room for.
    pub(crate) left: u32,
    pub(crate) refusal: Refusal,
}

fn used_up(tenancy: &Tenancy, day: u64, cap: u32, used: u32) -> Refusal {
    let now = super::now();
    let resets_at = UnixSecs::of_day(day + 1);
    let standing = DayStanding {
        cap,
        used,
        resets_in: resets_at.since(now).max(1),
    };
    let date = UnixSecs::of_day(day).date();
    let plan = &tenancy.plan().name;
    let upgrade = format!(
        "{}/dashboard/{}/billing",
        tenancy.service.public_url, tenancy.id
    );
    counter!("weir_quota_denials_total", "plan" => plan.to_string()).increment(1);
    let detail = match used < cap {
        true => format!(
            "{used} of {cap} requests of {date} (UTC) are used, and this asks for more than the rest; nothing was counted"
        ),
        false => {
            format!("{used} of {cap} requests of {date} (UTC) are used; this one was not counted")
        }
    };
    Refusal::new(Kind::QuotaExceeded, detail)
        .with_retry_after(Nanos::from_secs(standing.resets_in))
        .with_day(standing)
        .with("limit", cap)
        .with("used", used)
        .with("remaining", cap.saturating_sub(used))
        .with("resets_at", resets_at.to_string())
        .with("plan", plan.to_string())
        .with("upgrade", upgrade)
}
