//! People: who they are, and how they show that they are.

use std::sync::Arc;

use accounts::{
    Actor, Email, Password, PasswordError, PasswordHash, RecoveryCode, ResetToken, Role, Status,
    TenantId, TenantName, User, UserId,
};
use catalogue::{Changed, Kind as Record, NotChanged, SERVICE};

use super::attempts::Attempt;
use super::session::not_valid;
use super::users::{also, email_taken, read_email};
use super::{Begun, Change, Membership, Origin, Service, SignedIn, Signup, TenantChange};
use crate::{Kind, Limiter, Node, Refusal};

/// What a password is to be.
pub const PASSWORD_ACCEPTED: &str = "12 to 128 characters";

/// What people ask who have not logged in, or whoever asks for them.
pub struct People<'a, N> {
    pub(super) limiter: &'a Limiter<N>,
    pub(super) service: &'a Service,
    pub(super) origin: &'a Origin,
}

/// Where whoever signs up is to belong.
#[derive(Clone, Debug)]
pub enum Joins {
    /// To a tenant that is made.
    New(TenantName),
    /// Where the token of an invitation leads.
    Invited(String),
}

/// A session that has begun, with a recovery code that is shown now and never again.
#[derive(Debug)]
pub struct Recovered {
    /// The session.
    pub begun: Begun,
    /// What sets a new password once, when this one is forgotten.
    pub code: RecoveryCode,
    /// Who has not confirmed it.
    pub changed: Changed,
}

/// Somebody who has signed up.
#[derive(Debug)]
pub struct SignedUp {
    /// The session, and the recovery code.
    pub recovered: Recovered,
    /// Where the user belongs.
    pub membership: Membership,
}

impl<'a, N: Node> People<'a, N> {
    /// What is asked from there. `limiter` is that of the file's namespace.
    #[must_use]
    pub const fn new(limiter: &'a Limiter<N>, service: &'a Service, origin: &'a Origin) -> Self {
        Self {
            limiter,
            service,
            origin,
        }
    }

    /// Makes a user, in a tenant that is made or to which he was invited.
    ///
    /// # Errors
    ///
    /// [`Kind::SignupClosed`], [`Kind::InvalidRequest`], [`Kind::LinkUsed`], [`Kind::TooManyAttempts`], [`Kind::EmailTaken`],
    /// [`Kind::PlanLimit`], and when it could not be kept. There is no such user then.
    pub async fn sign_up(
        &self,
        email: &str,
        password: &str,
        joins: Joins,
    ) -> Result<SignedUp, Refusal> {
        self.check_signup(&joins)?;
        let email = read_email("email", email)?;
        let name = match &joins {
            Joins::New(name) => Some(name),
            Joins::Invited(_) => None,
        };
        let password = choose("password", password, &email, name)?;
        if let Joins::Invited(token) = &joins {
            self.limiter.check_invite(token)?;
        }
        self.limiter
            .count(&Attempt::to_sign_up(self.origin))
            .await?;
        // Others are asked of what this node does not know, so often and no more: strangers would take that away from all.
        if let Joins::Invited(token) = &joins {
            self.limiter.open_invite(token).await?;
        }
        if self.limiter.holder(&email).is_some() {
            return Err(email_taken());
        }
        let hash = self.hash(password).await?;
        let now = super::now();
        let id = UserId::new(super::random());
        let code = RecoveryCode::draw(&super::random());
        let mut user = User::new(now, email.clone());
        user.password.set(now, Some(hash));
        user.recovery.set(now, Some(code.hash()));
        let user = Arc::new(user);
        let mut changed = self.limiter.keep_user(id, &user).await?;
        let joined = self.join_first(id, &email, joins).await;
        let (membership, joined) = match joined {
            Ok(joined) => joined,
            Err(refusal) => {
                // Nobody has heard of the user yet.
                self.limiter.undo_user(id, &email).await;
                return Err(refusal);
            }
        };
        also(&mut changed, joined);
        let begun = self.limiter.begin(self.service, self.origin, (id, user));
        let begun = begun.await;
        Ok(SignedUp {
            recovered: Recovered {
                begun,
                code,
                changed,
            },
            membership,
        })
    }

    fn check_signup(&self, joins: &Joins) -> Result<(), Refusal> {
        let closed = |detail: &'static str| Err(Refusal::new(Kind::SignupClosed, detail));
        match (self.service.signup, joins) {
            (Signup::Closed, _) => {
                closed("nobody can sign up here: ask whoever runs this service for a tenant")
            }
            (Signup::Invited, Joins::New(_)) => closed(
                "only who was invited can sign up here: ask an owner or admin of your tenant",
            ),
            (Signup::Invited, Joins::Invited(_)) | (Signup::Open, _) => Ok(()),
        }
    }

    /// The address, and the first seat.
    async fn join_first(
        &self,
        id: UserId,
        email: &Email,
        joins: Joins,
    ) -> Result<(Membership, Changed), Refusal> {
        let mut changed = self.limiter.claim(email, id).await?;
        let (membership, joined) = match joins {
            Joins::New(name) => self.make_owned(name, id).await?,
            Joins::Invited(token) => self.limiter.use_invite(self.service, &token, id).await?,
        };
        also(&mut changed, joined);
        let what = "user.sign-up";
        self.note(id, membership.tenant, Change::new(what, &id.to_string()))
            .await;
        Ok((membership, changed))
    }

    /// A tenant of this name, of which this user is the owner.
    async fn make_owned(
        &self,
        name: TenantName,
        owner: UserId,
    ) -> Result<(Membership, Changed), Refusal> {
        let limiter = self.limiter;
        let made = limiter.make_tenant(name.clone(), TenantChange::default());
        let made = made.await?;
        let role = Role::Owner;
        let seated = limiter.seat(made.id, owner, role).await;
        let seated = limiter.keep_if_owned(&self.service.plans, made.id, seated);
        let mut changed = seated.await?;
        also(&mut changed, made.changed);
        let membership = Membership {
            tenant: made.id,
            name,
            role,
        };
        Ok((membership, changed))
    }

    /// Begins a session of whoever has this address and this password. After a split that may be somebody whose address
    /// another has.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidRequest`]; [`Kind::WrongCredentials`] for a user who is unknown, disabled or has another password alike;
    /// [`Kind::TooManyAttempts`], [`Kind::Overloaded`].
    pub async fn login(&self, email: &str, password: String) -> Result<Begun, Refusal> {
        let email = read_email("email", email)?;
        let known = self.limiter.users_of(&email);
        let attempt = self.attempt(&email, &known);
        let verified = async {
            let verified = self.service.hashing.run(move || verify(known, &password));
            let (id, user, renewed) = verified.await?.ok_or_else(wrong)?;
            // Who set another password meanwhile did so to keep this one out.
            match self.limiter.user_of_epoch(id, user.epoch) {
                Some(_) => Ok((id, user, renewed)),
                None => Err(wrong()),
            }
        };
        let (id, user, renewed) = self.limiter.attempted(&attempt, verified).await?;
        if let Some(hash) = renewed {
            let outdated = user.password.clone();
            let renew = self.limiter.edit_user(id, |user| {
                if user.password == outdated {
                    user.password.set(super::now(), Some(hash));
                }
                Ok(())
            });
            // Next time, if not now.
            let _not_kept = renew.await;
        }
        // Of the user whose password it was: what has ended all sessions since has ended this one.
        let begun = self.limiter.begin(self.service, self.origin, (id, user));
        Ok(begun.await)
    }

    /// Sets another password of somebody who has logged in: all his sessions end, and a new one begins.
    ///
    /// # Errors
    ///
    /// [`Kind::WrongCredentials`], [`Kind::InvalidRequest`], [`Kind::TooManyAttempts`], and when it could not be kept.
    pub async fn change_password(
        &self,
        signed_in: &SignedIn,
        current: String,
        new: &str,
    ) -> Result<(Begun, Changed), Refusal> {
        let password = choose("new", new, signed_in.user.email.get(), None)?;
        self.prove(signed_in, current).await?;
        let hash = self.hash(password).await?;
        let edit = |user: &mut User| user.set_password(super::now(), hash);
        let (user, changed) = self.edit_own(signed_in, edit).await?;
        self.note_own(signed_in.id, "user.password").await;
        let begun = self
            .limiter
            .begin(self.service, self.origin, (signed_in.id, user));
        Ok((begun.await, changed))
    }

    /// Gives somebody who has logged in another address.
    ///
    /// # Errors
    ///
    /// [`Kind::WrongCredentials`], [`Kind::InvalidRequest`], [`Kind::EmailTaken`], [`Kind::TooManyAttempts`], and when it could
    /// not be kept.
    pub async fn change_email(
        &self,
        signed_in: &SignedIn,
        password: String,
        email: &str,
    ) -> Result<Changed, Refusal> {
        let email = read_email("email", email)?;
        self.prove(signed_in, password).await?;
        let id = signed_in.id;
        // It tells whether another has the address, and is never given back.
        let attempt = Attempt::to_change_email(id);
        self.limiter.count(&attempt).await?;
        let was_own = self.limiter.holder(&email) == Some(id);
        let mut changed = self.limiter.claim(&email, id).await?;
        let mut before = email.clone();
        let edit = |user: &mut User| {
            before = user.email.get().clone();
            user.email.set(super::now(), email.clone());
        };
        match self.edit_own(signed_in, edit).await {
            Ok((_, kept)) => also(&mut changed, kept),
            Err(refusal) => {
                if !was_own {
                    self.limiter.release(&email, id).await;
                }
                return Err(refusal);
            }
        }
        if before != email {
            self.limiter.release(&before, id).await;
        }
        let change = Change::new("user.email", before.as_str());
        let change = change.from_to(before.as_str(), email.as_str());
        self.note_everywhere(id, change).await;
        Ok(changed)
    }

    /// Gives somebody who has logged in another recovery code.
    ///
    /// # Errors
    ///
    /// [`Kind::WrongCredentials`], [`Kind::TooManyAttempts`], and when it could not be kept.
    pub async fn renew_recovery_code(
        &self,
        signed_in: &SignedIn,
        password: String,
    ) -> Result<(RecoveryCode, Changed), Refusal> {
        self.prove(signed_in, password).await?;
        let code = RecoveryCode::draw(&super::random());
        let hash = code.hash();
        let edit = |user: &mut User| user.recovery.set(super::now(), Some(hash));
        let (_, changed) = self.edit_own(signed_in, edit).await?;
        self.note_own(signed_in.id, "user.recovery-code").await;
        Ok((code, changed))
    }

    /// Sets the password of whoever has this address and this recovery code: all sessions end, and the code is another.
    ///
    /// # Errors
    ///
    /// [`Kind::WrongCredentials`], [`Kind::InvalidRequest`], [`Kind::TooManyAttempts`], and when it could not be kept.
    pub async fn recover(
        &self,
        email: &str,
        code: &str,
        password: &str,
    ) -> Result<Recovered, Refusal> {
        let email = read_email("email", email)?;
        let password = choose("password", password, &email, None)?;
        let known = self.limiter.users_of(&email);
        let attempt = self.attempt(&email, &known);
        let recovered = async {
            let code = RecoveryCode::parse(code).ok_or_else(wrong)?;
            let hash = code.hash();
            let opens = |user: &User| {
                let kept = user.recovery.get().as_ref();
                kept.is_some_and(|kept| kept.matches(&hash)) && !user.is_disabled
            };
            let user = known.iter().find(|(_, user)| opens(user));
            let (id, _) = *user.ok_or_else(wrong)?;
            let new = self.hash(password).await?;
            let check = |user: &User| opens(user).then_some(()).ok_or_else(wrong);
            Ok((id, self.set_password(id, new, check).await?))
        };
        let (id, recovered) = self.limiter.attempted(&attempt, recovered).await?;
        self.note_own(id, "user.recover").await;
        Ok(recovered)
    }

    /// Sets the password of whoever has the link with this token: all sessions end, and the recovery code is another.
    ///
    /// # Errors
    ///
    /// [`Kind::LinkUsed`] for a token that was used, has expired or never was alike; [`Kind::InvalidRequest`]: the link is still
    /// good; and when it could not be kept.
    pub async fn reset(&self, token: &str, password: &str) -> Result<Recovered, Refusal> {
        let token = ResetToken::parse(token).ok_or_else(link_used)?;
        let id = token.of();
        let check = |user: &User| {
            let opens = user.is_reset_by(super::now(), &token);
            opens.then_some(()).ok_or_else(link_used)
        };
        let user = self.limiter.user(id).ok_or_else(link_used)?;
        check(&user)?;
        let password = choose("password", password, user.email.get(), None)?;
        let hash = self.hash(password).await?;
        let recovered = self.set_password(id, hash, check).await?;
        self.note_own(id, "user.reset").await;
        Ok(recovered)
    }

    async fn set_password(
        &self,
        id: UserId,
        hash: PasswordHash,
        check: impl Fn(&User) -> Result<(), Refusal> + Send + Sync,
    ) -> Result<Recovered, Refusal> {
        let code = RecoveryCode::draw(&super::random());
        let recovery = code.hash();
        let edit = |user: &mut User| {
            // It may have been used since it was looked at.
            check(user)?;
            let now = super::now();
            user.set_password(now, hash);
            user.recovery.set(now, Some(recovery));
            // Whoever knew the password may have logged in with a browser of his own.
            user.forget_devices();
            Ok(())
        };
        let (user, changed) = self.limiter.edit_user(id, edit).await?;
        let begun = self.limiter.begin(self.service, self.origin, (id, user));
        Ok(Recovered {
            begun: begun.await,
            code,
            changed,
        })
    }

    /// Ends all sessions of somebody.
    ///
    /// # Errors
    ///
    /// When it could not be kept: they go on then.
    pub async fn end_all_sessions(&self, id: UserId) -> Result<Changed, Refusal> {
        let edit = |user: &mut User| {
            user.end_sessions();
            Ok(())
        };
        let (_, changed) = self.limiter.edit_user(id, edit).await?;
        self.note_own(id, "user.end-sessions").await;
        Ok(changed)
    }

    /// Deletes somebody who has logged in, with all his seats.
    ///
    /// # Errors
    ///
    /// [`Kind::WrongCredentials`]; [`Kind::LastOwner`] of a tenant that is not closed; [`Kind::TooManyAttempts`]; and when it
    /// could not be kept: he is there still, and may ask again. What was taken away by then stays so, as the refusal tells.
    pub async fn delete(&self, signed_in: &SignedIn, password: String) -> Result<Changed, Refusal> {
        self.prove(signed_in, password).await?;
        let id = signed_in.id;
        for (tenant, _) in self.limiter.seats_of(id) {
            self.check_may_leave(tenant, id)?;
        }
        self.still(signed_in)?;
        let mut changed = Changed::default();
        let mut has_left = false;
        for (tenant, _) in self.limiter.seats_of(id) {
            // Another owner may have gone while the seats before were taken away.
            self.check_may_leave(tenant, id)?;
            let removed = self.limiter.remove_seat(tenant, id).await;
            also(
                &mut changed,
                removed.map_err(|it| not_deleted(it, has_left))?,
            );
            has_left = true;
            self.note(id, tenant, Change::new("user.delete", &id.to_string()))
                .await;
        }
        let email = self.still(signed_in)?.email.get().clone();
        has_left |= self.limiter.is_operator(id);
        let removed = self.remove_account(id, &email).await;
        also(
            &mut changed,
            removed.map_err(|it| not_deleted(it, has_left))?,
        );
        Ok(changed)
    }

    /// Removes who has no seat any more. He keeps his address as long as he is there.
    async fn remove_account(&self, id: UserId, email: &Email) -> Result<Changed, NotChanged> {
        let (node, name) = (self.limiter.node(), id.to_string());
        let removed = node.remove(Record::Operator, SERVICE, &name).await?;
        let mut changed = removed.unwrap_or_default();
        // Before he is gone: of who is not there any more nobody could ever register it.
        also(&mut changed, self.limiter.give_up(email, id).await?);
        match node.remove(Record::User, SERVICE, &name).await {
            Ok(removed) => also(&mut changed, removed.unwrap_or_default()),
            Err(error) => {
                if let Err(error) = self.limiter.claim(email, id).await {
                    tracing::warn!(%error, user = %id, "a user who could not be deleted has lost his address");
                }
                return Err(error);
            }
        }
        Ok(changed)
    }

    /// Refuses to leave a tenant without an owner, unless it is closed.
    fn check_may_leave(&self, tenant: TenantId, id: UserId) -> Result<(), Refusal> {
        let known = self.limiter.tenant(tenant);
        match known.is_ok_and(|tenant| tenant.status == Status::Closed) {
            true => Ok(()),
            false => self.limiter.check_owner_left(tenant, id, None),
        }
    }

    /// Refuses somebody who has logged in and does not know his password.
    async fn prove(&self, signed_in: &SignedIn, password: String) -> Result<(), Refusal> {
        let known = vec![(signed_in.id, self.still(signed_in)?)];
        let attempt = self.attempt(signed_in.user.email.get(), &known);
        let verified = async {
            let verified = self.service.hashing.run(move || verify(known, &password));
            verified.await?.map(drop).ok_or_else(wrong)
        };
        self.limiter.attempted(&attempt, verified).await
    }

    /// Somebody who has logged in, as he is known now.
    ///
    /// # Errors
    ///
    /// All his sessions have ended since: whoever ended them meant this one too.
    fn still(&self, signed_in: &SignedIn) -> Result<Arc<User>, Refusal> {
        let user = self
            .limiter
            .user_of_epoch(signed_in.id, signed_in.user.epoch);
        user.ok_or_else(not_valid)
    }

    /// Changes the account of somebody who has logged in, unless his sessions have ended since.
    async fn edit_own(
        &self,
        signed_in: &SignedIn,
        edit: impl FnOnce(&mut User) + Send,
    ) -> Result<(Arc<User>, Changed), Refusal> {
        let edit = |user: &mut User| {
            if user.epoch != signed_in.user.epoch {
                return Err(not_valid());
            }
            edit(user);
            Ok(())
        };
        self.limiter.edit_user(signed_in.id, edit).await
    }

    /// An attempt to be one of these users, by a browser with which one of them has logged in before, or by a stranger.
    fn attempt(&self, email: &Email, known: &[(UserId, Arc<User>)]) -> Attempt {
        let devices = self.origin.devices.iter();
        let mut devices = devices.filter_map(|text| self.service.keys.read_device(text));
        let device = devices.find(|device| {
            let mut users = known.iter();
            users.any(|(id, user)| device.is_known(*id, user))
        });
        Attempt::to_log_in(email, self.origin, device.map(|device| device.to_count()))
    }

    async fn hash(&self, password: Password) -> Result<PasswordHash, Refusal> {
        let salt = super::random();
        let hash = move || PasswordHash::new(&password, &salt);
        self.service.hashing.run(hash).await
    }

    /// Writes down what somebody did to his own account, in each tenant in which he has a seat: each may want to know.
    async fn note_own(&self, id: UserId, what: &'static str) {
        self.note_everywhere(id, Change::new(what, &id.to_string()))
            .await;
    }

    async fn note_everywhere(&self, id: UserId, change: Change<'_>) {
        for (tenant, _) in self.limiter.seats_of(id) {
            self.note(id, tenant, change).await;
        }
    }

    async fn note(&self, id: UserId, tenant: TenantId, change: Change<'_>) {
        let address = self.origin.address;
        let entry = change.entry(Actor::User(id), Some(tenant), address, &self.service.node);
        self.limiter.note(entry).await;
    }
}

/// Who of these has this password, and what is to be kept of it instead. As long as for one who has another, if there is
/// nobody.
fn verify(
    known: Vec<(UserId, Arc<User>)>,
    password: &str,
) -> Option<(UserId, Arc<User>, Option<PasswordHash>)> {
    if known.is_empty() {
        let _nobody = User::logs_in(None, password);
    }
    let logs_in = |(_, user): &(UserId, Arc<User>)| User::logs_in(Some(user), password);
    let (id, user) = known.into_iter().find(logs_in)?;
    let hash = user.password.get().as_ref();
    let is_outdated = hash.is_some_and(PasswordHash::is_outdated);
    let renewed = is_outdated.then(|| PasswordHash::renewed(password, &super::random()));
    Some((id, user, renewed))
}

/// Why somebody was not deleted, who may have lost something by then.
fn not_deleted(error: NotChanged, has_left: bool) -> Refusal {
    let refusal = Refusal::from(error);
    match has_left {
        false => refusal,
        true => refusal.told(format!(
            "the user is still there, but has left tenants, or the operators: ask again to delete the rest; {error}"
        )),
    }
}

/// A password that may be chosen. What was given is never told.
fn choose(
    field: &'static str,
    given: &str,
    email: &Email,
    tenant: Option<&TenantName>,
) -> Result<Password, Refusal> {
    Password::choose(given, email, tenant).map_err(|error: PasswordError| {
        let accepted = error.to_string();
        Refusal::invalid(format!("{field} must be {accepted}"))
            .at(field)
            .with_accepted(accepted)
    })
}

/// The same for everything that is wrong, so that nobody learns which users there are.
fn wrong() -> Refusal {
    let detail = "what was given does not open any account";
    Refusal::new(Kind::WrongCredentials, detail)
}

pub(super) fn link_used() -> Refusal {
    let detail = "this link was used, has expired or never was: ask for another";
    Refusal::new(Kind::LinkUsed, detail)
}
