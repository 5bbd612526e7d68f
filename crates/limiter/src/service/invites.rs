//! Invitations to a tenant: links by which whoever brings one takes a seat.

use std::sync::Arc;

use accounts::{
    Act, Actor, Email, Invite, InviteId, InviteState, InviteToken, Link, Role, Status, TenantId,
    UnixSecs, UserId,
};
use catalogue::{Changed, Content, Kind as Record, SERVICE};

use super::people::link_used;
use super::team::seat_name;
use super::users::also;
use super::{Caller, Change, Membership, Service, SignedIn};
use crate::{Kind, Limiter, Node, Refusal};

/// A link that works once, shown to who made it and never again.
#[derive(Clone, Debug)]
pub struct NewLink {
    /// Where it leads.
    pub url: String,
    /// It does not work from then on.
    pub expires_at: UnixSecs,
    /// Who has not confirmed it.
    pub changed: Changed,
}

impl<N: Node> Limiter<N> {
    /// Refuses a token that opens nothing, as far as is known here. Nobody else is asked.
    ///
    /// # Errors
    ///
    /// [`Kind::LinkUsed`].
    pub(super) fn check_invite(&self, token: &str) -> Result<(), Refusal> {
        let token = InviteToken::parse(token).ok_or_else(link_used)?;
        let name = token.of().to_string();
        let record = self.node().record(Record::Invite, SERVICE, &name);
        let known = record.as_ref().and_then(Content::invite);
        match known.is_none_or(|invite| invite.is_opened_by(super::now(), &token)) {
            true => Ok(()),
            false => Err(link_used()),
        }
    }

    /// Where the token of an invitation leads that may be used now.
    ///
    /// # Errors
    ///
    /// [`Kind::LinkUsed`] for one that was used or withdrawn, has expired or never was, or whose maker could not make it any more,
    /// alike.
    pub(super) async fn open_invite(
        &self,
        token: &str,
    ) -> Result<(InviteToken, Arc<Invite>), Refusal> {
        let token = InviteToken::parse(token).ok_or_else(link_used)?;
        let name = token.of().to_string();
        self.learn(Record::Invite, &name).await;
        let record = self.node().record(Record::Invite, SERVICE, &name);
        let invite = record.as_ref().and_then(Content::invite).cloned();
        let invite = invite.filter(|invite| invite.is_opened_by(super::now(), &token));
        let invite = invite.ok_or_else(link_used)?;
        self.learn(Record::Tenant, &invite.tenant.to_string()).await;
        if let Ok(maker) = invite.made_by.parse() {
            let seat = seat_name(invite.tenant, maker);
            self.learn(Record::Seat, &seat).await;
        }
        if !self.is_backed(&invite) {
            return Err(link_used());
        }
        let tenant = self.tenant(invite.tenant).map_err(|_| link_used())?;
        match tenant.status {
            Status::Closed => Err(link_used()),
            Status::Active | Status::Suspended => Ok((token, invite)),
        }
    }

    /// Gives a user the seat to which a token leads, once.
    ///
    /// # Errors
    ///
    /// [`Kind::LinkUsed`]; [`Kind::Conflict`] for who belongs to the tenant already; [`Kind::PlanLimit`]; and when it could not be
    /// kept.
    pub(super) async fn use_invite(
        &self,
        service: &Service,
        token: &str,
        user: UserId,
    ) -> Result<(Membership, Changed), Refusal> {
        let (token, invite) = self.open_invite(token).await?;
        let id = invite.tenant;
        let tenant = self.tenant(id)?;
        if self.role(id, user).is_some() {
            let detail = "this user belongs to the tenant already";
            return Err(Refusal::new(Kind::Conflict, detail));
        }
        let plan = tenant.plan(&service.plans);
        if plan.team as usize <= self.seats_in(id).len() {
            return Err(Refusal::plan_limit("people", plan.team, plan));
        }
        let edit = |known: Option<&Content>| {
            let now = super::now();
            let known = known.and_then(Content::invite).ok_or_else(link_used)?;
            // Somebody else may have been faster.
            if !known.is_opened_by(now, &token) {
                return Err(link_used());
            }
            let mut invite = Invite::clone(known);
            invite.used = Some((now, user));
            Ok(Content::Invite(invite.into()))
        };
        let name = token.of().to_string();
        let node = self.node();
        let mut changed = node.edit(Record::Invite, SERVICE, &name, edit).await?;
        match self.seat(id, user, invite.role).await {
            Ok(seated) => also(&mut changed, seated),
            Err(refusal) => {
                self.reopen(&name, user).await;
                return Err(refusal);
            }
        }
        let membership = Membership {
            tenant: id,
            name: tenant.name.get().clone(),
            role: invite.role,
        };
        Ok((membership, changed))
    }

    /// Nobody has joined by an invitation that this user has used.
    async fn reopen(&self, name: &str, user: UserId) {
        let edit = |known: Option<&Content>| {
            let known = known.and_then(Content::invite).ok_or_else(link_used)?;
            let mut invite = Invite::clone(known);
            invite.used = invite.used.filter(|(_, by)| *by != user);
            Ok::<_, Refusal>(Content::Invite(invite.into()))
        };
        let reopened = self.node().edit(Record::Invite, SERVICE, name, edit);
        if let Err(error) = reopened.await {
            tracing::warn!(%error, "an invitation by which nobody has joined is used up");
        }
    }

    /// Whether whoever made an invitation might make it now. Whoever is removed takes along what he could have given to himself.
    fn is_backed(&self, invite: &Invite) -> bool {
        let Ok(maker) = invite.made_by.parse() else {
            // By who has the token of an operator.
            return true;
        };
        let role = self.role(invite.tenant, maker);
        role.is_some_and(|role| role.may_manage(invite.role)) || self.is_operator(maker)
    }

    /// Makes an invitation to this role, for whoever is told the link; the address is a note.
    pub(super) async fn make_invite(
        &self,
        service: &Service,
        tenant: TenantId,
        (role, email): (Role, Option<Email>),
        made_by: Arc<str>,
    ) -> Result<(InviteId, NewLink), Refusal> {
        let now = super::now();
        let id = InviteId::new(super::random());
        let token = InviteToken::draw(id, super::random());
        let link = Link {
            secret: token.hash(),
            expires_at: now + Link::INVITE,
        };
        let invite = Invite {
            tenant,
            role,
            link,
            email,
            made_by,
            made_at: now,
            used: None,
            withdrawn_at: None,
        };
        let content = Content::Invite(invite.into());
        let changed = self.node().set(SERVICE, &id.to_string(), content).await?;
        let link = NewLink {
            url: format!("{}/invite/{}", service.public_url, token.reveal()),
            expires_at: link.expires_at,
            changed,
        };
        Ok((id, link))
    }
}

impl<N: Node> Caller<N> {
    /// The invitations to the tenant that may be used, the newest first.
    ///
    /// # Errors
    ///
    /// As [`Self::team`].
    pub fn invites(&self) -> Result<Vec<(InviteId, Arc<Invite>)>, Refusal> {
        self.needs_act(Act::See)?;
        let tenant = self.needs_tenant()?.to_string();
        let now = super::now();
        let node = self.limiter.node();
        let records = node.records(Record::Invite, &tenant, None, usize::MAX);
        let invites = records.into_iter().filter_map(|(name, content)| {
            let invite = content.invite()?.clone();
            let is_open = invite.state(now) == InviteState::Open && self.limiter.is_backed(&invite);
            is_open.then_some((name.parse().ok()?, invite))
        });
        let mut invites: Vec<_> = invites.collect();
        invites
            .sort_by_key(|(_, invite): &(InviteId, Arc<Invite>)| std::cmp::Reverse(invite.made_at));
        Ok(invites)
    }

    /// Invites somebody to the tenant: whoever brings the link may join, once within seven days. An invitation takes one of the
    /// seats that the plan has.
    ///
    /// # Errors
    ///
    /// [`Kind::Forbidden`] for a role that the caller may not give; [`Kind::PlanLimit`]; and when it could not be kept.
    pub async fn invite(
        &self,
        email: Option<Email>,
        role: Role,
    ) -> Result<(InviteId, NewLink), Refusal> {
        self.may_manage(role)?;
        let tenant = self.needs_tenant()?;
        let service = self.of_service()?;
        if let Some(tenancy) = self.limiter.tenancy() {
            let plan = tenancy.plan();
            let taken = self.limiter.seats_in(tenant).len() + self.invites()?.len();
            if plan.team as usize <= taken {
                return Err(Refusal::plan_limit("people", plan.team, plan));
            }
        }
        let (id, link) = self
            .limiter
            .make_invite(&service, tenant, (role, email), self.name())
            .await?;
        let name = id.to_string();
        let change = Change::new("invite.make", &name).from_to(None, role.name());
        self.note(change).await;
        Ok((id, link))
    }

    /// Withdraws an invitation. Again: the same.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`], also for one of another tenant; [`Kind::Forbidden`] for one to a role that the caller may not give;
    /// and when it could not be kept.
    pub async fn withdraw(&self, id: &str) -> Result<Changed, Refusal> {
        self.needs_act(Act::ManageTeam)?;
        let tenant = self.needs_tenant()?;
        let none = || Refusal::new(Kind::NotFound, "there is no such invitation").at("id");
        let id: InviteId = id.parse().map_err(|_| none())?;
        let name = id.to_string();
        let node = self.limiter.node();
        let record = node.record(Record::Invite, SERVICE, &name);
        let invite = record.as_ref().and_then(Content::invite);
        let invite = invite.filter(|invite| invite.tenant == tenant);
        let role = invite.ok_or_else(none)?.role;
        self.may_manage(role)?;
        let edit = |known: Option<&Content>| {
            let known = known.and_then(Content::invite).ok_or_else(none)?;
            let mut invite = Invite::clone(known);
            invite.withdrawn_at.get_or_insert(super::now());
            Ok::<_, Refusal>(Content::Invite(invite.into()))
        };
        let changed = node.edit(Record::Invite, SERVICE, &name, edit).await?;
        let change = Change::new("invite.withdraw", &name).from_to(role.name(), None);
        self.note(change).await;
        Ok(changed)
    }

    /// Gives somebody who has logged in the seat to which a token leads, once.
    ///
    /// # Errors
    ///
    /// [`Kind::LinkUsed`]; [`Kind::Conflict`] for who belongs to the tenant already; [`Kind::PlanLimit`]; and when it could not be
    /// kept.
    pub async fn accept(
        &self,
        signed_in: &SignedIn,
        token: &str,
    ) -> Result<(Membership, Changed), Refusal> {
        let service = self.of_service()?;
        let used = self.limiter.use_invite(&service, token, signed_in.id);
        let (membership, changed) = used.await?;
        let id = signed_in.id.to_string();
        let change = Change::new("team.join", &id).from_to(None, membership.role.name());
        let (who, tenant) = (Actor::User(signed_in.id), Some(membership.tenant));
        let entry = change.entry(who, tenant, self.address, &service.node);
        self.limiter.note(entry).await;
        Ok((membership, changed))
    }
}
