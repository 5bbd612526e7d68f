//! Operators who look at a tenant in which they have no seat: that they do stands in its audit.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use accounts::SessionId;

use super::audit::Change;
use super::{Caller, Rights};
use crate::Node;

/// Sessions that are remembered: more operators than a cluster has. Beyond them all are forgotten, and written down once more when
/// they come again.
const REMEMBERED_MAX: usize = 256;

/// The sessions that have opened one tenant on this node.
#[derive(Default)]
pub(super) struct Opened(Mutex<BTreeSet<SessionId>>);

impl Opened {
    /// Whether this is the first time.
    fn is_first(&self, id: SessionId) -> bool {
        let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if REMEMBERED_MAX <= opened.len() {
            opened.clear();
        }
        opened.insert(id)
    }
}

impl<N: Node> Caller<N> {
    /// Writes down that an operator who has logged in looks at a tenant in which he has no seat: once for each session and node,
    /// and not of anybody else.
    pub async fn note_opened(&self) {
        let (Some(signed_in), Some(tenancy)) = (&self.signed_in, self.limiter.tenancy()) else {
            return;
        };
        let Rights::User {
            id,
            is_operator: true,
            ..
        } = self.rights
        else {
            return;
        };
        if self.limiter.role(tenancy.id, id).is_none()
            && tenancy.opened.is_first(signed_in.session.id())
        {
            let target = tenancy.id.to_string();
            self.note(Change::new("tenant.open", &target)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let opened = Opened::default();
        let id = |number: usize| {
            let bytes = (number as u128).to_be_bytes();
            SessionId::new(bytes[6..].try_into().expect("ten bytes"))
        };
        for number in 0..REMEMBERED_MAX {
            assert!(opened.is_first(id(number)));
        }
        // The next one makes room, and is remembered itself.
        assert!(opened.is_first(id(1_000)) && !opened.is_first(id(1_000)));
        assert_eq!(opened.0.lock().unwrap().len(), 1);
    }
}
