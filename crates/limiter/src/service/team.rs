//! Who belongs to a tenant: seats, invitations, and links for a teammate who has forgotten a password.

use std::sync::Arc;

use accounts::{
    Act, Email, Invite, InviteId, InviteState, InviteToken, Link, ResetLink, ResetToken, Role,
    Seat, Status, TenantId, UnixSecs, User, UserId, keeps_an_owner,
};
use catalogue::{Changed, Content, Kind as Record, SERVICE};

use super::people::{also, link_used, no_user};
use super::{Caller, Change, Membership, Rights, Service, SignedIn};
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

/// Somebody who belongs to a tenant.
#[derive(Clone, Debug)]
pub struct Teammate {
    /// Who.
    pub id: UserId,
    /// What is known of him.
    pub user: Arc<User>,
    /// What he is in the tenant.
    pub role: Role,
    /// Since when he belongs to it.
    pub joined_at: UnixSecs,
}

/// The name of the record of a seat.
fn seat_name(tenant: TenantId, user: UserId) -> String {
    format!("{tenant}/{user}")
}

impl<N: Node> Limiter<N> {
    /// What a user is in a tenant. `None`: he does not belong to it.
    pub(super) fn role(&self, tenant: TenantId, user: UserId) -> Option<Role> {
        let name = seat_name(tenant, user);
        let record = self.node().record(Record::Seat, SERVICE, &name)?;
        record.seat()?.role
    }

    /// The seats of a user, also in tenants that are closed.
    pub(super) fn seats_of(&self, user: UserId) -> Vec<(TenantId, Role)> {
        let node = self.node();
        let records = node.records(Record::Seat, &user.to_string(), None, usize::MAX);
        let seats = records.into_iter().filter_map(|(name, content)| {
            let (tenant, _) = name.split_once('/')?;
            Some((tenant.parse().ok()?, content.seat()?.role?))
        });
        let mut seats: Vec<_> = seats.collect();
        seats.sort();
        seats
    }

    /// The places of a user in tenants that are not closed, in the order of their ids.
    #[must_use]
    pub fn memberships(&self, user: UserId) -> Vec<Membership> {
        let seats = self.seats_of(user).into_iter();
        let memberships = seats.filter_map(|(id, role)| {
            let tenant = self.tenant(id).ok()?;
            (tenant.status != Status::Closed).then(|| Membership {
                tenant: id,
                name: tenant.name.get().clone(),
                role,
            })
        });
        memberships.collect()
    }

    /// The seats of a tenant.
    fn seats_in(&self, tenant: TenantId) -> Vec<(UserId, Role, UnixSecs)> {
        let node = self.node();
        let records = node.records(Record::Seat, &tenant.to_string(), None, usize::MAX);
        let seats = records.into_iter().filter_map(|(name, content)| {
            let (_, user) = name.split_once('/')?;
            let seat = content.seat()?;
            Some((user.parse().ok()?, seat.role?, seat.joined_at))
        });
        seats.collect()
    }

    /// Gives a user a seat.
    pub(super) async fn seat(
        &self,
        tenant: TenantId,
        user: UserId,
        role: Role,
    ) -> Result<Changed, Refusal> {
        let name = seat_name(tenant, user);
        let now = super::now();
        let edit = |known: Option<&Content>| {
            let known = known.and_then(Content::seat);
            let joined_at = known.map_or(now, |seat| seat.joined_at);
            let role = Some(role);
            Ok::<_, Refusal>(Content::Seat(Seat { role, joined_at }))
        };
        let node = self.node();
        node.edit(Record::Seat, SERVICE, &name, edit).await
    }

    pub(super) async fn remove_seat(
        &self,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Changed, Refusal> {
        let name = seat_name(tenant, user);
        let removed = self.node().remove(Record::Seat, SERVICE, &name).await?;
        Ok(removed.unwrap_or_default())
    }

    /// Refuses to leave a tenant without an owner, once this user has that role there; `None`: once he is gone.
    pub(super) fn check_owner_left(
        &self,
        tenant: TenantId,
        user: UserId,
        role: Option<Role>,
    ) -> Result<(), Refusal> {
        let was_owner = self.role(tenant, user) == Some(Role::Owner);
        let team = self.seats_in(tenant).into_iter();
        let team = team.map(|(id, role, _)| (id, role));
        match !was_owner || keeps_an_owner(team, user, role) {
            true => Ok(()),
            false => {
                let detail = "this is the last owner of the tenant: make another one first";
                let refusal = Refusal::new(Kind::LastOwner, detail);
                Err(refusal.with("tenant", tenant.to_string()))
            }
        }
    }

    /// Where the token of an invitation leads that may be used now.
    ///
    /// # Errors
    ///
    /// [`Kind::LinkUsed`] for one that was used or withdrawn, has expired or never was alike.
    pub(super) fn open_invite(&self, token: &str) -> Result<(InviteToken, Arc<Invite>), Refusal> {
        let token = InviteToken::parse(token).ok_or_else(link_used)?;
        let name = token.of().to_string();
        let record = self.node().record(Record::Invite, SERVICE, &name);
        let invite = record.as_ref().and_then(Content::invite).cloned();
        let invite = invite.filter(|invite| invite.is_opened_by(super::now(), &token));
        let invite = invite.ok_or_else(link_used)?;
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
        let (token, invite) = self.open_invite(token)?;
        let id = invite.tenant;
        let tenant = self.tenant(id)?;
        if self.role(id, user).is_some() {
            let detail = "this user belongs to the tenant already";
            return Err(Refusal::new(Kind::Conflict, detail));
        }
        let plan = service.plans.of(tenant.plan.get().as_ref());
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
        also(&mut changed, self.seat(id, user, invite.role).await?);
        let membership = Membership {
            tenant: id,
            name: tenant.name.get().clone(),
            role: invite.role,
        };
        Ok((membership, changed))
    }

    /// Makes a link by which this user sets a password, once within the next hour. An earlier one does not work any more.
    pub(super) async fn reset_link(
        &self,
        service: &Service,
        id: UserId,
    ) -> Result<NewLink, Refusal> {
        let now = super::now();
        let token = ResetToken::draw(id, super::random());
        let link = Link {
            secret: token.hash(),
            expires_at: now + Link::RESET,
        };
        let edit = |user: &mut User| {
            user.reset.set(now, ResetLink::Open(link));
            Ok(())
        };
        let (_, changed) = self.edit_user(id, edit).await?;
        Ok(NewLink {
            url: format!("{}/reset/{}", service.public_url, token.reveal()),
            expires_at: link.expires_at,
            changed,
        })
    }
}

impl<N: Node> Caller<N> {
    /// Who belongs to the tenant, in the order in which they joined.
    ///
    /// # Errors
    ///
    /// [`Kind::Forbidden`]; [`Kind::InvalidRequest`] for an operator who acts in none.
    pub fn team(&self) -> Result<Vec<Teammate>, Refusal> {
        self.needs_act(Act::See)?;
        let seats = self.limiter.seats_in(self.needs_tenant()?).into_iter();
        let team = seats.filter_map(|(id, role, joined_at)| {
            let user = self.limiter.user(id)?;
            Some(Teammate {
                id,
                user,
                role,
                joined_at,
            })
        });
        let mut team: Vec<_> = team.collect();
        team.sort_by_key(|mate| (mate.joined_at, mate.id));
        Ok(team)
    }

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
            let is_open = invite.state(now) == InviteState::Open;
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
            made_by: self.name(),
            made_at: now,
            used: None,
            withdrawn_at: None,
        };
        let content = Content::Invite(invite.into());
        let node = self.limiter.node();
        let name = id.to_string();
        let changed = node.set(SERVICE, &name, content).await?;
        let change = Change::new("invite.make", &name).from_to(None, role.name());
        self.note(change).await;
        let link = NewLink {
            url: format!("{}/invite/{}", service.public_url, token.reveal()),
            expires_at: link.expires_at,
            changed,
        };
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
        let entry = change.by_user(signed_in.id, membership.tenant, self.address, &service.node);
        self.limiter.note(entry).await;
        Ok((membership, changed))
    }

    /// Gives somebody of the tenant another role.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`], [`Kind::Forbidden`] for a role that the caller may not take or give, [`Kind::LastOwner`], and when it
    /// could not be kept.
    pub async fn change_role(&self, id: &str, role: Role) -> Result<(Teammate, Changed), Refusal> {
        let mate = self.teammate(id)?;
        self.may_manage(mate.role)?;
        self.may_manage(role)?;
        let tenant = self.needs_tenant()?;
        let limiter = &self.limiter;
        limiter.check_owner_left(tenant, mate.id, Some(role))?;
        let changed = limiter.seat(tenant, mate.id, role).await?;
        let id = mate.id.to_string();
        let change = Change::new("team.role", &id).from_to(mate.role.name(), role.name());
        self.note(change).await;
        Ok((Teammate { role, ..mate }, changed))
    }

    /// Takes the seat of somebody of the tenant away.
    ///
    /// # Errors
    ///
    /// As [`Self::change_role`].
    pub async fn remove_teammate(&self, id: &str) -> Result<Changed, Refusal> {
        let mate = self.teammate(id)?;
        self.may_manage(mate.role)?;
        let tenant = self.needs_tenant()?;
        self.limiter.check_owner_left(tenant, mate.id, None)?;
        let changed = self.limiter.remove_seat(tenant, mate.id).await?;
        let id = mate.id.to_string();
        let change = Change::new("team.remove", &id).from_to(mate.role.name(), None);
        self.note(change).await;
        Ok(changed)
    }

    /// Makes a link by which somebody of the tenant sets a new password.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`]; [`Kind::Forbidden`] for somebody whose role is not below the caller's, who belongs to another tenant
    /// as well, or who is an operator: else one tenant could take a user of another; and when it could not be kept.
    pub async fn teammate_reset_link(&self, id: &str) -> Result<NewLink, Refusal> {
        self.needs_act(Act::ManageTeam)?;
        let mate = self.teammate(id)?;
        let seats = self.limiter.seats_of(mate.id).len();
        let may = match self.rights {
            rights if rights.are_operators() => true,
            Rights::User {
                role: Some(role), ..
            } => role.may_reset(mate.role, seats) && !self.limiter.is_operator(mate.id),
            _ => false,
        };
        if !may {
            let detail = "only an operator can make this link: ask an operator";
            return Err(Refusal::new(Kind::Forbidden, detail).with("role", "operator"));
        }
        let service = self.of_service()?;
        let link = self.limiter.reset_link(&service, mate.id).await?;
        let id = mate.id.to_string();
        self.note(Change::new("team.reset-link", &id)).await;
        Ok(link)
    }

    /// Somebody of the tenant.
    fn teammate(&self, id: &str) -> Result<Teammate, Refusal> {
        let none = || no_user().at("id");
        let id: UserId = id.parse().map_err(|_| none())?;
        let team = self.team()?.into_iter();
        let mut team = team.filter(|mate| mate.id == id);
        team.next().ok_or_else(none)
    }

    /// Refuses a caller who may not take or give this role.
    fn may_manage(&self, role: Role) -> Result<(), Refusal> {
        self.needs_act(Act::ManageTeam)?;
        match self.rights {
            Rights::User {
                role: Some(own),
                is_operator: false,
                ..
            } if !own.may_manage(role) => {
                let detail = "only who has a role above this one may give or take it, and owners that of owners";
                let needed = Role::ALL.into_iter().rev().find(|own| own.may_manage(role));
                let needed = needed.expect("owners may manage everybody");
                Err(Refusal::new(Kind::Forbidden, detail).with("role", needed.name()))
            }
            _ => Ok(()),
        }
    }

    /// What makes this a service for many: whoever has been admitted is of one.
    pub(super) fn of_service(&self) -> Result<Arc<Service>, Refusal> {
        let none = || Refusal::new(Kind::NotFound, "this node is no service for many");
        self.service.clone().ok_or_else(none)
    }
}
