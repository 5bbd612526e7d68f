//! What a credential names and this node does not know: another member may.

use accounts::Credential;
use catalogue::{Content, Kind as Record, SERVICE};

use super::Access;
use crate::{Limiter, Node};

/// What a credential names and this node does not know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unknown {
    kind: Record,
    name: String,
}

impl Access {
    /// What is to be [looked up](Limiter::look_up) of a credential that was refused, before it is [admitted](Self::admit) once
    /// more. `None`: nothing, it is refused for what is known of it.
    #[must_use]
    pub fn unknown<N: Node>(
        &self,
        limiter: &Limiter<N>,
        credential: Option<&[u8]>,
    ) -> Option<Unknown> {
        self.service()?;
        let text = std::str::from_utf8(credential?).ok()?;
        let credential = Credential::parse(text)?;
        let id = credential.id().to_string();
        let Some(known) = limiter.node().record(Record::ApiKey, SERVICE, &id) else {
            let (kind, name) = (Record::ApiKey, id);
            return Some(Unknown { kind, name });
        };
        // Made as lately as its first API key.
        let key = Content::api_key(&known)?;
        let (kind, name) = (Record::Tenant, key.tenant.to_string());
        let is_known = limiter.node().record(kind, SERVICE, &name).is_some();
        let is_brought = key.secret.matches(&credential.hash());
        (is_brought && !is_known).then_some(Unknown { kind, name })
    }
}

impl Access {
    /// The same of the cookies of a session that was refused.
    #[must_use]
    pub fn unknown_session<N: Node>(
        &self,
        limiter: &Limiter<N>,
        cookies: &[&str],
    ) -> Option<Unknown> {
        let keys = &self.service()?.keys;
        let session = cookies.iter().find_map(|text| keys.read(text))?;
        let Some(user) = limiter.user(session.user()) else {
            let (kind, name) = (Record::User, session.user().to_string());
            return Some(Unknown { kind, name });
        };
        // Registered with him: without it he would seem to have lost it to another.
        let (kind, name) = (Record::Email, user.email.get().to_string());
        let is_known = limiter.node().record(kind, SERVICE, &name).is_some();
        (!is_known).then_some(Unknown { kind, name })
    }
}

impl<N: Node> Limiter<N> {
    /// Asks another member for a record, once, if this node does not know it.
    pub(super) async fn learn(&self, kind: Record, name: &str) {
        if self.node().record(kind, SERVICE, name).is_none() {
            self.node().look_up(kind, SERVICE, name).await;
        }
    }

    /// Asks another member for it, and says whether this node knows it now. Takes 200 ms at most.
    pub async fn look_up(&self, unknown: &Unknown) -> bool {
        let Unknown { kind, name } = unknown;
        self.node().look_up(*kind, SERVICE, name).await
    }
}
