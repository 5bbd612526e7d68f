//! Operators, and what they do for users.

use std::sync::Arc;

use accounts::{Email, Role, TenantId, UnixSecs, User, UserId};
use catalogue::{Changed, Content, Kind as Record, SERVICE};

use super::users::{also, no_user};
use super::{Caller, Change, NewLink};
use crate::{Kind, Limiter, Node, Refusal};

/// Somebody who runs the cluster.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Who.
    pub id: UserId,
    /// What is known of him.
    pub user: Arc<User>,
    /// Since when.
    pub since: UnixSecs,
}

/// The owner that a tenant was given.
#[derive(Clone, Debug)]
pub struct NewOwner {
    /// Who, if he is the owner now: the link is for setting a password. `None`: whoever has the address has a password; the link
    /// is an invitation.
    pub id: Option<UserId>,
    /// For the owner.
    pub link: NewLink,
}

/// What an operator does to a user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserAct {
    /// All sessions end.
    EndSessions,
    /// Nobody can log in any more, and all sessions end.
    Disable,
    /// The user can log in again.
    Enable,
}

impl UserAct {
    const fn what(self) -> &'static str {
        match self {
            Self::EndSessions => "user.end-sessions",
            Self::Disable => "user.disable",
            Self::Enable => "user.enable",
        }
    }
}

impl<N: Node> Limiter<N> {
    /// Whether any user is an operator.
    #[must_use]
    pub fn has_operators(&self) -> bool {
        let records = self.node().records(Record::Operator, SERVICE, None, 1);
        !records.is_empty()
    }

    /// Whether a user is an operator.
    #[must_use]
    pub fn is_operator(&self, id: UserId) -> bool {
        let record = self
            .node()
            .record(Record::Operator, SERVICE, &id.to_string());
        record.is_some()
    }

    /// The user who has this address: made now, without a password, if nobody has.
    async fn user_called(&self, email: &Email) -> Result<(UserId, Arc<User>, Changed), Refusal> {
        let known = self.holder(email);
        if let Some((id, user)) = known.and_then(|id| Some((id, self.user(id)?))) {
            return Ok((id, user, Changed::default()));
        }
        let id = UserId::new(super::random());
        let user = Arc::new(User::new(super::now(), email.clone()));
        let mut changed = self.keep_user(id, &user).await?;
        match self.claim(email, id).await {
            Ok(claimed) => also(&mut changed, claimed),
            Err(refusal) => {
                self.undo_user(id, email).await;
                return Err(refusal);
            }
        }
        Ok((id, user, changed))
    }
}

impl<N: Node> Caller<N> {
    /// All operators who are users, in the order in which they became it.
    ///
    /// # Errors
    ///
    /// [`Kind::Forbidden`].
    pub fn operators(&self) -> Result<Vec<Operator>, Refusal> {
        self.needs_operator()?;
        let node = self.limiter.node();
        let records = node.records(Record::Operator, SERVICE, None, usize::MAX);
        let operators = records.into_iter().filter_map(|(name, content)| {
            let Content::Operator(since) = content else {
                return None;
            };
            let id = name.parse().ok()?;
            let user = self.limiter.user(id)?;
            Some(Operator { id, user, since })
        });
        let mut operators: Vec<_> = operators.collect();
        operators.sort_by_key(|operator| (operator.since, operator.id));
        Ok(operators)
    }

    /// Makes whoever has this address an operator, with a link by which he sets a password. That somebody registered it proves
    /// nothing: of an account which was there before nothing but the link opens it from now on. Of an operator it is a link and
    /// no more.
    ///
    /// # Errors
    ///
    /// [`Kind::Forbidden`], and when it could not be kept. The account may be shut then until this is asked again.
    pub async fn make_operator(&self, email: &Email) -> Result<(UserId, NewLink), Refusal> {
        self.needs_operator()?;
        let service = self.of_service()?;
        let (id, _, mut changed) = self.limiter.user_called(email).await?;
        let mut first: fn(&mut User) = |_| {};
        if !self.limiter.is_operator(id) {
            first = |user| user.shut(super::now());
            // Before it may do anything; and once more with the link, since a teammate may make one in between.
            let shut = |user: &mut User| {
                first(user);
                Ok(())
            };
            let (_, shut) = self.limiter.edit_user(id, shut).await?;
            also(&mut changed, shut);
        }
        let now = super::now();
        let edit = |known: Option<&Content>| {
            let since = match known {
                Some(Content::Operator(since)) => *since,
                _ => now,
            };
            Ok::<_, Refusal>(Content::Operator(since))
        };
        let name = id.to_string();
        let node = self.limiter.node();
        let made = node.edit(Record::Operator, SERVICE, &name, edit).await?;
        also(&mut changed, made);
        let mut link = self.limiter.reset_link(&service, id, first).await?;
        also(&mut link.changed, changed);
        let change = Change::new("operator.make", &name).from_to(None, email.as_str());
        self.note(change).await;
        Ok((id, link))
    }

    /// Makes an operator, by id or address, a user like others.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`], [`Kind::Forbidden`], and when it could not be kept.
    pub async fn remove_operator(&self, called: &str) -> Result<Changed, Refusal> {
        self.needs_operator()?;
        let none = || Refusal::new(Kind::NotFound, "there is no such operator").at("id");
        let id = match called.parse::<UserId>() {
            Ok(id) => id,
            Err(_) => {
                let email: Email = called.parse().map_err(|_| none())?;
                self.limiter.holder(&email).ok_or_else(none)?
            }
        };
        let name = id.to_string();
        let node = self.limiter.node();
        let removed = node.remove(Record::Operator, SERVICE, &name).await?;
        let changed = removed.ok_or_else(none)?;
        self.note(Change::new("operator.remove", &name)).await;
        Ok(changed)
    }

    /// Makes a link by which whoever has this address sets a new password.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`], [`Kind::Forbidden`], and when it could not be kept.
    pub async fn user_reset_link(&self, email: &Email) -> Result<NewLink, Refusal> {
        self.needs_operator()?;
        let service = self.of_service()?;
        let id = self.called(email)?;
        let link = self.limiter.reset_link(&service, id, |_| {}).await?;
        self.note(Change::new("user.reset-link", &id.to_string()))
            .await;
        Ok(link)
    }

    /// Does this to whoever has this address.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`], [`Kind::Forbidden`], and when it could not be kept.
    pub async fn act_on_user(&self, email: &Email, act: UserAct) -> Result<Changed, Refusal> {
        self.needs_operator()?;
        let id = self.called(email)?;
        let edit = |user: &mut User| {
            match act {
                UserAct::EndSessions => user.end_sessions(),
                UserAct::Disable => {
                    user.is_disabled = true;
                    user.end_sessions();
                    user.forget_devices();
                }
                UserAct::Enable => user.is_disabled = false,
            }
            Ok(())
        };
        let (_, changed) = self.limiter.edit_user(id, edit).await?;
        self.note(Change::new(act.what(), &id.to_string())).await;
        Ok(changed)
    }

    /// Gives a tenant an owner, by his address: one who has no password yet has the seat at once, with a link by which he sets
    /// one. To whoever has a password the address proves nothing: he takes the seat by the link, as anybody could.
    pub(super) async fn give_owner(
        &self,
        tenant: TenantId,
        email: &Email,
    ) -> Result<NewOwner, Refusal> {
        let service = self.of_service()?;
        let (id, user, mut changed) = self.limiter.user_called(email).await?;
        if user.password.get().is_some() {
            let what = (Role::Owner, Some(email.clone()));
            let invite = self
                .limiter
                .make_invite(&service, tenant, what, self.name());
            let (_, link) = invite.await?;
            return Ok(NewOwner { id: None, link });
        }
        let seated = self.limiter.seat(tenant, id, Role::Owner).await?;
        also(&mut changed, seated);
        let mut link = self.limiter.reset_link(&service, id, |_| {}).await?;
        also(&mut link.changed, changed);
        Ok(NewOwner { id: Some(id), link })
    }

    fn called(&self, email: &Email) -> Result<UserId, Refusal> {
        let holder = self.limiter.holder(email);
        holder.ok_or_else(|| no_user().at("email").with_given(email.as_str()))
    }
}
