//! Users as records: who they are, and which address is whose.

use std::sync::Arc;

use accounts::{Email, EmailClaim, ResetLink, User, UserId};
use catalogue::{Changed, Content, Kind as Record, NotChanged, SERVICE};

use crate::{Kind, Limiter, Node, Refusal};

/// What an address is to be.
pub const EMAIL_ACCEPTED: &str = "an e-mail address of at most 254 bytes";

/// Users who may have one address after a split, beside the one whose it is.
const LOSERS_MAX: usize = 2;

impl<N: Node> Limiter<N> {
    /// What is known of a user.
    #[must_use]
    pub fn user(&self, id: UserId) -> Option<Arc<User>> {
        let record = self.node().record(Record::User, SERVICE, &id.to_string())?;
        record.user().cloned()
    }

    /// Who has an address.
    #[must_use]
    pub fn holder(&self, email: &Email) -> Option<UserId> {
        let record = self.node().record(Record::Email, SERVICE, email.as_str())?;
        record.email()?.holder()
    }

    /// Who registered this address: first whose it is, then those who lost it after a split.
    pub(super) fn users_of(&self, email: &Email) -> Vec<(UserId, Arc<User>)> {
        let holder = self.holder(email);
        let first = holder.and_then(|id| Some((id, self.user(id)?)));
        let node = self.node();
        let listed = node.records(Record::User, email.as_str(), None, LOSERS_MAX + 1);
        let losers = listed.into_iter().filter_map(|(name, content)| {
            let (id, user) = (name.parse().ok()?, content.user()?.clone());
            (Some(id) != holder).then_some((id, user))
        });
        first.into_iter().chain(losers.take(LOSERS_MAX)).collect()
    }

    pub(super) async fn keep_user(&self, id: UserId, user: &Arc<User>) -> Result<Changed, Refusal> {
        let content = Content::User(Arc::clone(user));
        Ok(self.node().set(SERVICE, &id.to_string(), content).await?)
    }

    /// A user of whom nobody has heard is none again.
    pub(super) async fn undo_user(&self, id: UserId, email: &Email) {
        let node = self.node();
        let removed = node.remove(Record::User, SERVICE, &id.to_string()).await;
        if let Err(error) = removed {
            tracing::warn!(%error, "what was made of a user who could not sign up is left");
        }
        self.release(email, id).await;
    }

    /// Changes a user as he stands now.
    pub(super) async fn edit_user(
        &self,
        id: UserId,
        edit: impl FnOnce(&mut User) -> Result<(), Refusal> + Send,
    ) -> Result<(Arc<User>, Changed), Refusal> {
        let mut kept = None;
        let edit = |known: Option<&Content>| {
            let known = known.and_then(Content::user).ok_or_else(no_user)?;
            let mut user = User::clone(known);
            edit(&mut user)?;
            let user = Arc::new(user);
            kept = Some(Arc::clone(&user));
            Ok::<_, Refusal>(Content::User(user))
        };
        let (node, id) = (self.node(), id.to_string());
        let changed = node.edit(Record::User, SERVICE, &id, edit).await?;
        Ok((kept.expect("what was changed was edited"), changed))
    }

    /// What is known of a user whose sessions of this epoch have not ended.
    pub(super) fn user_of_epoch(&self, id: UserId, epoch: u64) -> Option<Arc<User>> {
        self.user(id).filter(|user| user.epoch == epoch)
    }

    /// No link sets the password of this user any more that is open now.
    pub(super) async fn close_reset_link(&self, id: UserId) -> Result<Changed, Refusal> {
        let is_open = |user: &Arc<User>| *user.reset.get() != ResetLink::Closed;
        if !self.user(id).as_ref().is_some_and(is_open) {
            return Ok(Changed::default());
        }
        let edit = |user: &mut User| {
            user.reset.set(super::now(), ResetLink::Closed);
            Ok(())
        };
        let (_, changed) = self.edit_user(id, edit).await?;
        Ok(changed)
    }

    /// Registers an address for a user.
    ///
    /// # Errors
    ///
    /// [`Kind::EmailTaken`], and when it could not be kept.
    pub(super) async fn claim(&self, email: &Email, id: UserId) -> Result<Changed, Refusal> {
        let now = super::now();
        let edit = |known: Option<&Content>| {
            let claim = match known.and_then(Content::email) {
                Some(claim) => claim.claimed(now, id).ok_or_else(email_taken)?,
                None => EmailClaim::new(now, id),
            };
            Ok::<_, Refusal>(Content::Email(claim))
        };
        let node = self.node();
        node.edit(Record::Email, SERVICE, email.as_str(), edit)
            .await
    }

    /// Lets go of an address that a user has. What is not kept leaves it to him: nobody else can register it then.
    pub(super) async fn release(&self, email: &Email, id: UserId) {
        if let Err(error) = self.give_up(email, id).await {
            tracing::warn!(%error, "an address could not be released");
        }
    }

    /// Lets go of an address, if a user has it.
    ///
    /// # Errors
    ///
    /// When it could not be kept: he has it still.
    pub(super) async fn give_up(&self, email: &Email, id: UserId) -> Result<Changed, NotChanged> {
        if self.holder(email) != Some(id) {
            return Ok(Changed::default());
        }
        let now = super::now();
        let edit = |known: Option<&Content>| {
            let nobody = EmailClaim::of_parts(0, now, None);
            let known = known.and_then(Content::email);
            let released = known.map_or(nobody, |claim| claim.released(now, id));
            Ok::<_, NotChanged>(Content::Email(released))
        };
        let node = self.node();
        node.edit(Record::Email, SERVICE, email.as_str(), edit)
            .await
    }
}

/// Adds who has not confirmed another change of the same request.
pub(super) fn also(changed: &mut Changed, other: Changed) {
    changed.pending.extend(other.pending);
    changed.pending.sort_unstable();
    changed.pending.dedup();
}

/// Reads an address that was given in this field.
///
/// # Errors
///
/// [`Kind::InvalidRequest`].
pub fn read_email(field: &'static str, given: &str) -> Result<Email, Refusal> {
    given
        .parse()
        .map_err(|_| Refusal::field(field, given, EMAIL_ACCEPTED))
}

pub(super) fn email_taken() -> Refusal {
    Refusal::new(Kind::EmailTaken, "another user has this address").at("email")
}

pub(super) fn no_user() -> Refusal {
    Refusal::new(Kind::NotFound, "there is no such user")
}
