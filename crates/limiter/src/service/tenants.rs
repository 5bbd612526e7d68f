//! Tenants: making, changing and serving them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use accounts::{Dated, Email, PlanName, Plans, Status, Tenant, TenantId, TenantName};
use catalogue::{Changed, Content, Kind as Record, SERVICE};

use super::users::also;
use super::{Caller, Change, NewOwner, Service, Tenancy};
use crate::limiter::Shared;
use crate::{Kind, Limiter, Node, Refusal};

/// The tenants that a node has served, each with the limits that it has asked for.
pub(crate) struct Tenants<N>(RwLock<HashMap<TenantId, Arc<Shared<N>>>>);

impl<N> Default for Tenants<N> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<N> Tenants<N> {
    pub(super) fn get(&self, id: TenantId) -> Option<Arc<Shared<N>>> {
        let served = self.0.read().unwrap_or_else(PoisonError::into_inner);
        served.get(&id).cloned()
    }

    /// The one that is served already, if another was faster.
    fn add(&self, id: TenantId, shared: Shared<N>) -> Arc<Shared<N>> {
        let mut served = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(served.entry(id).or_insert_with(|| Arc::new(shared)))
    }

    pub(super) fn all(&self) -> Vec<Arc<Shared<N>>> {
        let served = self.0.read().unwrap_or_else(PoisonError::into_inner);
        served.values().cloned().collect()
    }
}

/// A tenant that was made or changed.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its id.
    pub id: TenantId,
    /// What it is now.
    pub tenant: Arc<Tenant>,
    /// Who has not confirmed it.
    pub changed: Changed,
}

/// What is to be changed of a tenant. The default changes nothing.
#[derive(Clone, Default, Debug)]
pub struct TenantChange {
    /// Another name.
    pub name: Option<TenantName>,
    /// Another plan; `None` within: that of no subscription.
    pub plan: Option<Option<PlanName>>,
    /// Another plan that was bought; `None` within: nothing was.
    pub bought: Option<Option<PlanName>>,
    /// Another cap; `None` within: that of the plan.
    pub requests_per_day: Option<Option<u32>>,
    /// Another status.
    pub status: Option<Status>,
}

impl<N: Node> Limiter<N> {
    /// What is known of a tenant.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`]; [`Kind::NoDecision`] while the node joins.
    pub fn tenant(&self, id: TenantId) -> Result<Arc<Tenant>, Refusal> {
        let record = self.node().record(Record::Tenant, SERVICE, &id.to_string());
        let tenant = record.as_ref().and_then(Content::tenant).cloned();
        tenant.ok_or_else(|| match self.node().readiness() {
            coordinator::Readiness::Joining => Refusal::joining(),
            _ => no_tenant(),
        })
    }

    /// Up to `count` tenants, after the one of this id in an order of their own.
    #[must_use]
    pub fn tenants(&self, after: Option<&str>, count: usize) -> Vec<(TenantId, Arc<Tenant>)> {
        let records = self.node().records(Record::Tenant, SERVICE, after, count);
        let tenants = records.into_iter();
        let tenants = tenants.filter_map(|(id, content)| {
            let tenant = content.tenant()?.clone();
            Some((id.parse().ok()?, tenant))
        });
        tenants.collect()
    }

    /// Makes a tenant.
    ///
    /// # Errors
    ///
    /// When it could not be kept. Nothing was changed then.
    pub async fn make_tenant(
        &self,
        name: TenantName,
        change: TenantChange,
    ) -> Result<Made, Refusal> {
        let id = TenantId::new(super::random());
        let now = super::now();
        let new = Tenant::new(now, name);
        let tenant = Tenant {
            plan: Dated::new(now, change.plan.flatten()),
            requests_per_day: Dated::new(now, change.requests_per_day.flatten()),
            status: change.status.unwrap_or(new.status),
            ..new
        };
        self.keep_tenant(id, |_| Ok(tenant)).await
    }

    /// Changes a tenant.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`], and when it could not be kept. Nothing was changed then.
    pub async fn change_tenant(
        &self,
        plans: &Plans,
        id: TenantId,
        change: TenantChange,
    ) -> Result<Made, Refusal> {
        self.tenant(id)?;
        let edit = |known: Option<&Tenant>| {
            let known = known.ok_or_else(no_tenant)?;
            Ok(changed(known.clone(), plans, change))
        };
        self.keep_tenant(id, edit).await
    }

    /// What has become of giving an owner to a tenant that was just made. Without one it is closed: nobody has heard of it.
    pub(super) async fn keep_if_owned<T>(
        &self,
        plans: &Plans,
        id: TenantId,
        owned: Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        if owned.is_err() {
            let closed = TenantChange {
                status: Some(Status::Closed),
                ..TenantChange::default()
            };
            if let Err(error) = self.change_tenant(plans, id, closed).await {
                tracing::warn!(%error, tenant = %id, "a tenant is left without an owner");
            }
        }
        owned
    }

    async fn keep_tenant(
        &self,
        id: TenantId,
        edit: impl FnOnce(Option<&Tenant>) -> Result<Tenant, Refusal> + Send,
    ) -> Result<Made, Refusal> {
        let mut kept = None;
        let edit = |known: Option<&Content>| {
            let known = known.and_then(Content::tenant);
            let tenant = Arc::new(edit(known.map(|known| &**known))?);
            kept = Some(Arc::clone(&tenant));
            Ok::<_, Refusal>(Content::Tenant(tenant))
        };
        let name = id.to_string();
        let changed = self
            .node()
            .edit(Record::Tenant, SERVICE, &name, edit)
            .await?;
        Ok(Made {
            id,
            tenant: kept.expect("what was changed was edited"),
            changed,
        })
    }

    /// The limiter of a tenant, of which this is known now.
    pub(crate) fn in_tenant(
        &self,
        service: &Arc<Service>,
        id: TenantId,
        tenant: &Arc<Tenant>,
    ) -> Self {
        let tenants = &self.shared.tenants;
        let shared = tenants.get(id).unwrap_or_else(|| {
            let tenancy = Tenancy::new(Arc::clone(service), id, Arc::clone(tenant));
            tenants.add(id, self.shared.of_tenant(tenancy))
        });
        if let Some(tenancy) = &shared.tenancy {
            tenancy.is_now(tenant);
        }
        self.with(shared)
    }

    /// Tells the owners of days what they have not heard of yet. To be called every few seconds.
    pub async fn flush_tenants(&self) {
        for shared in self.shared.tenants.all() {
            if let Some(tenancy) = &shared.tenancy {
                self.flush_usage(tenancy).await;
            }
        }
    }
}

impl<N: Node> Caller<N> {
    /// Makes a tenant, with an owner who has this address if one is named.
    ///
    /// # Errors
    ///
    /// [`Kind::Forbidden`], and when it could not be kept. There is no such tenant then.
    pub async fn make_tenant(
        &self,
        name: TenantName,
        change: TenantChange,
        owner: Option<&Email>,
    ) -> Result<(Made, Option<NewOwner>), Refusal> {
        self.needs_operator()?;
        let service = self.of_service()?;
        let limiter = &self.limiter;
        let mut after = name.as_str().to_owned();
        let mut made = limiter.make_tenant(name, change).await?;
        let mut given = None;
        if let Some(email) = owner {
            let owner = self.give_owner(made.id, email).await;
            let owner = limiter.keep_if_owned(&service.plans, made.id, owner);
            let owner = owner.await?;
            also(&mut made.changed, owner.link.changed.clone());
            after = format!("{after}, of {email}");
            given = Some(owner);
        }
        let id = made.id.to_string();
        let change = Change::new("tenant.make", &id).from_to(None, &*after);
        self.note(change).await;
        Ok((made, given))
    }
}

fn changed(mut tenant: Tenant, plans: &Plans, change: TenantChange) -> Tenant {
    let now = super::now();
    let TenantChange {
        name,
        plan,
        bought,
        requests_per_day,
        status,
    } = change;
    if let Some(name) = name {
        tenant.name.set(now, name);
    }
    if let Some(plan) = plan {
        tenant.set_plan(now, plans, plan);
    }
    if let Some(bought) = bought {
        tenant.set_bought(now, plans, bought);
    }
    if let Some(requests) = requests_per_day {
        tenant.set_requests_per_day(now, requests);
    }
    tenant.status = status.unwrap_or(tenant.status);
    tenant
}

fn no_tenant() -> Refusal {
    Refusal::new(Kind::NotFound, "there is no such tenant").at("id")
}
