//! What a credential or a session names and this node does not know: another member may.

use catalogue::{Kind as Record, SERVICE};

use super::Access;
use crate::{Limiter, Node};

/// What a credential or a session names and this node does not know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unknown {
    kind: Record,
    name: String,
}

impl Unknown {
    pub(super) const fn new(kind: Record, name: String) -> Self {
        Self { kind, name }
    }
}

impl Access {
    /// What is to be looked up of the cookies of a session before it is refused, or before its user is told that another has
    /// his address. `None`: nothing, that is so for what is known of them.
    pub(super) fn unknown_session<N: Node>(
        &self,
        limiter: &Limiter<N>,
        cookies: &[&str],
    ) -> Option<Unknown> {
        let keys = &self.service()?.keys;
        let session = cookies.iter().find_map(|text| keys.read(text))?;
        let Some(user) = limiter.user(session.user()) else {
            return Some(Unknown::new(Record::User, session.user().to_string()));
        };
        // Registered with him: without it he would seem to have lost it to another.
        let name = user.email.get().to_string();
        let is_known = limiter
            .node()
            .record(Record::Email, SERVICE, &name)
            .is_some();
        (!is_known).then(|| Unknown::new(Record::Email, name))
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
