//! Sessions: whose a cookie is, and beginning and ending them.

use std::sync::Arc;

use accounts::{
    Device, FormToken, KnownSession, Role, Session, SessionId, TenantId, TenantName, UnixSecs,
    User, UserId,
};
use catalogue::{Changed, Content, Kind as Record, SERVICE};
use coordinator::Readiness;

use super::{Origin, Service};
use crate::{Kind, Limiter, Node, Refusal};

/// Most sessions of a user that go on and are listed: far more than anybody has browsers, and on every node some 20 KiB.
const SESSIONS_MAX: usize = 100;

/// Somebody who has logged in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who.
    pub id: UserId,
    /// What is known of him.
    pub user: Arc<User>,
    /// By what he is known.
    pub session: Session,
    /// Another has the address of this user, who registered it later on one side of a split: he is to choose another.
    pub has_conflict: bool,
}

impl SignedIn {
    /// Refuses who is to choose another address first.
    ///
    /// # Errors
    ///
    /// [`Kind::EmailConflict`].
    pub fn check_conflict(&self) -> Result<(), Refusal> {
        match self.has_conflict {
            false => Ok(()),
            true => {
                let detail = "another user has your address: choose another one first";
                Err(Refusal::new(Kind::EmailConflict, detail).at("email"))
            }
        }
    }

    /// What a request that changes something has to bring beside the cookie.
    #[must_use]
    pub fn form_token(&self, service: &Service) -> FormToken {
        service.keys.form_token(&self.session)
    }

    /// The cookie of the session, used now. `None`: it was used a short while ago, and stays as it is.
    #[must_use]
    pub fn seen_again(&self, service: &Service) -> Option<String> {
        let session = self.session.seen(super::now())?;
        Some(service.keys.sign(&session))
    }

    /// When the session ends if it is not used.
    #[must_use]
    pub fn expires_at(&self, service: &Service) -> UnixSecs {
        self.session.expires_at(service.spans)
    }
}

/// A session that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Whose it is.
    pub signed_in: SignedIn,
    /// What its browser is to keep as a cookie.
    pub cookie: String,
    /// What its browser is to keep beyond the session: it has logged in before.
    pub device: String,
}

/// The place of a user in a tenant, as he sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Membership {
    /// Which tenant.
    pub tenant: TenantId,
    /// What it is called.
    pub name: TenantName,
    /// What the user is there.
    pub role: Role,
}

impl<N: Node> Limiter<N> {
    /// Whose session it is: the first of these cookies that the cluster has signed. One that another site planted under the
    /// same name takes nobody's session away.
    pub(super) fn signed_in(
        &self,
        service: &Service,
        cookies: &[&str],
    ) -> Result<SignedIn, Refusal> {
        let now = super::now();
        let signed = cookies.iter().find_map(|text| service.keys.read(text));
        let session = signed.ok_or_else(not_valid)?;
        let id = session.user();
        let Some(user) = self.user(id) else {
            return Err(match self.node().readiness() {
                Readiness::Joining => Refusal::joining(),
                _ => not_valid(),
            });
        };
        let name = session.id().to_string();
        session
            .check(now, service.spans, &user, self.has_ended(&name))
            .map_err(|_| not_valid())?;
        Ok(SignedIn {
            id,
            has_conflict: self.holder(user.email.get()) != Some(id),
            user,
            session,
        })
    }

    /// Begins a session of this user.
    pub(super) async fn begin(
        &self,
        service: &Service,
        origin: &Origin,
        (id, user): (UserId, Arc<User>),
    ) -> Begun {
        let now = super::now();
        let session = Session::new(now, id, &user, super::random());
        let device = Device::new(id, &user, super::random());
        let known = KnownSession::new(&session, service.spans.max, origin.address, &origin.agent);
        let name = session.id().to_string();
        let content = Content::Session(known.into());
        if let Err(error) = self.node().set(SERVICE, &name, content).await {
            // It is valid all the same, and missing in the list alone: the small side of a split lets people in.
            tracing::warn!(%error, "a session could not be listed");
        }
        self.end_oldest(&session).await;
        Begun {
            cookie: service.keys.sign(&session),
            device: service.keys.sign_device(&device),
            signed_in: SignedIn {
                id,
                has_conflict: self.holder(user.email.get()) != Some(id),
                user,
                session,
            },
        }
    }

    /// Ends what is beyond [`SESSIONS_MAX`] of the sessions of the user of this one, the oldest first.
    async fn end_oldest(&self, newest: &Session) {
        let (node, newest_name) = (self.node(), newest.id().to_string());
        let records = node.records(
            Record::Session,
            &newest.user().to_string(),
            None,
            usize::MAX,
        );
        if records.len() <= SESSIONS_MAX {
            return;
        }
        let known = records.into_iter().filter_map(|(name, content)| {
            let known = content.session()?.clone();
            let goes_on = known.epoch == newest.epoch() && !self.has_ended(&name);
            Some((*name == *newest_name, goes_on, known.made_at, name, known))
        });
        let mut known: Vec<_> = known.collect();
        known.sort_unstable_by(|one, other| other.cmp(one));
        for (_, goes_on, _, name, known) in known.split_off(SESSIONS_MAX) {
            if goes_on {
                let ended = Content::EndedSession(known.ended());
                if let Err(error) = node.set(SERVICE, &name, ended).await {
                    // It stays in the list then, until the next login.
                    tracing::warn!(%error, "the oldest session of a user could not be ended");
                    return;
                }
            }
            if let Err(error) = node.remove(Record::Session, SERVICE, &name).await {
                tracing::warn!(%error, "a session that has ended could not be forgotten");
            }
        }
    }

    fn has_ended(&self, name: &str) -> bool {
        let ended = self.node().record(Record::EndedSession, SERVICE, name);
        ended.is_some()
    }

    /// Ends a session on every node.
    ///
    /// # Errors
    ///
    /// When it could not be kept: the session goes on then.
    pub async fn end_session(&self, session: &Session) -> Result<Changed, Refusal> {
        let name = session.id().to_string();
        let content = Content::EndedSession(session.ended());
        Ok(self.node().set(SERVICE, &name, content).await?)
    }

    /// The sessions of somebody that have not ended, the newest first: at most 100, and what is beyond that ends at the next login.
    #[must_use]
    pub fn sessions(&self, signed_in: &SignedIn) -> Vec<(SessionId, Arc<KnownSession>)> {
        let now = super::now();
        let of_user = signed_in.id.to_string();
        let node = self.node();
        let records = node.records(Record::Session, &of_user, None, usize::MAX);
        let sessions = records.into_iter().filter_map(|(name, content)| {
            let known = content.session()?.clone();
            let goes_on = known.epoch == signed_in.user.epoch && now < known.over_at;
            (goes_on && !self.has_ended(&name)).then_some((name.parse().ok()?, known))
        });
        let mut sessions: Vec<(SessionId, Arc<KnownSession>)> = sessions.collect();
        sessions.sort_by_key(|(_, known)| std::cmp::Reverse(known.made_at));
        // After a split there may be more, until the next login.
        sessions.truncate(SESSIONS_MAX);
        sessions
    }

    /// When somebody was last seen, to a quarter of an hour. `None`: none of his sessions is remembered.
    pub(super) fn seen_at(&self, user: UserId) -> Option<UnixSecs> {
        let node = self.node();
        let records = node.records(Record::Session, &user.to_string(), None, usize::MAX);
        let seen = records
            .iter()
            .filter_map(|(_, content)| Some(content.session()?.seen_at));
        seen.max()
    }

    /// Ends one of the sessions of somebody.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`], also for one of another user, and when it could not be kept.
    pub async fn end_session_of(&self, signed_in: &SignedIn, id: &str) -> Result<Changed, Refusal> {
        let none = || Refusal::new(Kind::NotFound, "there is no such session").at("id");
        let id: SessionId = id.parse().map_err(|_| none())?;
        let sessions = self.sessions(signed_in);
        let known = sessions.iter().find(|(known, _)| *known == id);
        let (_, known) = known.ok_or_else(none)?;
        let content = Content::EndedSession(known.ended());
        Ok(self.node().set(SERVICE, &id.to_string(), content).await?)
    }
}

/// The same for every session that is none, or none any more.
pub(super) fn not_valid() -> Refusal {
    let detail = "this session is not valid: log in again";
    Refusal::new(Kind::Unauthorized, detail).at("Cookie")
}
