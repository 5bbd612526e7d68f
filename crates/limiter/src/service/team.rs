//! Who belongs to a tenant: seats, and links for a teammate who has forgotten a password.

use std::sync::Arc;

use accounts::{
    Act, Link, ResetLink, ResetToken, Role, Seat, Status, TenantId, UnixSecs, User, UserId,
    keeps_an_owner,
};
use catalogue::{Changed, Content, Kind as Record, NotChanged, SERVICE};

use super::users::{also, no_user};
use super::{Caller, Change, Membership, NewLink, Rights, Service};
use crate::{Kind, Limiter, Node, Refusal};

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
    /// When he was last seen, in whichever tenant: to a quarter of an hour, and of the caller himself to five minutes. `None`: he
    /// has not logged in for longer than a session may live.
    pub seen_at: Option<UnixSecs>,
}

/// The name of the record of a seat.
pub(super) fn seat_name(tenant: TenantId, user: UserId) -> String {
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
    pub(super) fn seats_in(&self, tenant: TenantId) -> Vec<(UserId, Role, UnixSecs)> {
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
        let now = super::now();
        let edit = |known: Option<Seat>| {
            let joined_at = known.map_or(now, |seat| seat.joined_at);
            let role = Some(role);
            Ok(Seat { role, joined_at })
        };
        self.edit_seat(tenant, user, edit).await
    }

    /// Gives a user who has this role another, unless it is another by now.
    async fn change_seat(
        &self,
        tenant: TenantId,
        user: UserId,
        (before, after): (Role, Role),
    ) -> Result<Changed, Refusal> {
        let edit = |known: Option<Seat>| match known {
            Some(seat) if seat.role == Some(before) => Ok(Seat {
                role: Some(after),
                ..seat
            }),
            _ => {
                let detail = "somebody else has changed this role or taken it away meanwhile";
                Err(Refusal::new(Kind::Conflict, detail).at("role"))
            }
        };
        self.edit_seat(tenant, user, edit).await
    }

    /// A link that was made for who had less sets no password of who has more: whoever made it would have it all.
    async fn edit_seat(
        &self,
        tenant: TenantId,
        user: UserId,
        edit: impl FnOnce(Option<Seat>) -> Result<Seat, Refusal> + Send,
    ) -> Result<Changed, Refusal> {
        let mut changed = self.close_reset_link(user).await?;
        let name = seat_name(tenant, user);
        let edit = |known: Option<&Content>| {
            let seat = edit(known.and_then(Content::seat))?;
            Ok::<_, Refusal>(Content::Seat(seat))
        };
        let node = self.node();
        let kept = node.edit(Record::Seat, SERVICE, &name, edit).await?;
        also(&mut changed, kept);
        // One that was made in between. After this none is: see `teammate_reset_link`.
        match self.close_reset_link(user).await {
            Ok(closed) => also(&mut changed, closed),
            Err(error) => tracing::warn!(%error, %user, "a link for a password is left open"),
        }
        Ok(changed)
    }

    pub(super) async fn remove_seat(
        &self,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Changed, NotChanged> {
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

    /// Makes a link by which this user sets a password, once within the next hour. An earlier one does not work any more.
    /// `first` is done to the user before.
    pub(super) async fn reset_link(
        &self,
        service: &Service,
        id: UserId,
        first: fn(&mut User),
    ) -> Result<NewLink, Refusal> {
        let now = super::now();
        let token = ResetToken::draw(id, super::random());
        let link = Link {
            secret: token.hash(),
            expires_at: now + Link::RESET,
        };
        let edit = |user: &mut User| {
            first(user);
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
                seen_at: self.seen_at(id),
            })
        });
        let mut team: Vec<_> = team.collect();
        team.sort_by_key(|mate| (mate.joined_at, mate.id));
        Ok(team)
    }

    /// Gives somebody of the tenant another role.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`], [`Kind::Forbidden`] for a role that the caller may not take or give, [`Kind::LastOwner`],
    /// [`Kind::Conflict`] where somebody else has changed it meanwhile, and when it could not be kept.
    pub async fn change_role(&self, id: &str, role: Role) -> Result<(Teammate, Changed), Refusal> {
        let mate = self.teammate(id)?;
        self.may_manage(mate.role)?;
        self.may_manage(role)?;
        let tenant = self.needs_tenant()?;
        let limiter = &self.limiter;
        limiter.check_owner_left(tenant, mate.id, Some(role))?;
        let roles = (mate.role, role);
        let changed = limiter.change_seat(tenant, mate.id, roles).await?;
        let id = mate.id.to_string();
        let change = Change::new("team.role", &id).from_to(mate.role.name(), role.name());
        self.note(change).await;
        Ok((Teammate { role, ..mate }, changed))
    }

    /// Takes the seat of somebody of the tenant away.
    ///
    /// # Errors
    ///
    /// As [`Self::change_role`], but for the conflict.
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
        self.may_reset(&mate)?;
        let service = self.of_service()?;
        let link = self.limiter.reset_link(&service, mate.id, |_| {}).await?;
        // What he has become meanwhile closed the links that there were, and not this one.
        let is_still = self.teammate(id).and_then(|mate| self.may_reset(&mate));
        if let Err(refusal) = is_still {
            self.limiter.close_reset_link(mate.id).await?;
            return Err(refusal);
        }
        let id = mate.id.to_string();
        self.note(Change::new("team.reset-link", &id)).await;
        Ok(link)
    }

    /// Refuses a caller who may not make a link by which this teammate sets a password.
    fn may_reset(&self, mate: &Teammate) -> Result<(), Refusal> {
        let seats = self.limiter.seats_of(mate.id).len();
        let may = match self.rights {
            rights if rights.are_operators() => true,
            Rights::User {
                role: Some(role), ..
            } => role.may_reset(mate.role, seats) && !self.limiter.is_operator(mate.id),
            _ => false,
        };
        if may {
            return Ok(());
        }
        let detail = "only an operator can make this link: ask an operator";
        Err(Refusal::new(Kind::Forbidden, detail).with("role", "operator"))
    }

    /// Somebody of the tenant.
    fn teammate(&self, id: &str) -> Result<Teammate, Refusal> {
        self.needs_act(Act::See)?;
        let none = || no_user().at("id");
        let tenant = self.needs_tenant()?;
        let id: UserId = id.parse().map_err(|_| none())?;
        let node = self.limiter.node();
        let record = node.record(Record::Seat, SERVICE, &seat_name(tenant, id));
        let seat = record.as_ref().and_then(Content::seat).ok_or_else(none)?;
        let role = seat.role.ok_or_else(none)?;
        let user = self.limiter.user(id).ok_or_else(none)?;
        Ok(Teammate {
            id,
            user,
            role,
            joined_at: seat.joined_at,
            seen_at: self.seen_at(id),
        })
    }

    /// When somebody was last seen.
    fn seen_at(&self, id: UserId) -> Option<UnixSecs> {
        let by_himself = self.signed_in.as_ref().filter(|it| it.id == id);
        let by_himself = by_himself.map(|it| it.session.seen_at());
        self.limiter.seen_at(id).max(by_himself)
    }

    /// Refuses a caller who may not take or give this role.
    pub(super) fn may_manage(&self, role: Role) -> Result<(), Refusal> {
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
