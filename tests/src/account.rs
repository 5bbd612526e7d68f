//! What clients were told against what the cluster remembers.

use std::collections::BTreeMap;

use crate::load::{Hit, Outcome, Target};
use crate::node::Node;

/// One target's books.
#[derive(Clone, Copy, Default, Debug)]
pub struct Account {
    /// Hits that clients were told are counted.
    pub admitted: u64,
    /// Hits that clients were told are not counted, being over the limit.
    pub denied: u64,
    /// Hits of which clients do not know.
    pub unknown: u64,
    /// Hits that the cluster counts now.
    pub counted: u64,
}

impl Account {
    /// Admitted, and no longer counted.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.admitted.saturating_sub(self.counted)
    }

    /// Counted, and sent by nobody.
    #[must_use]
    pub fn invented(&self) -> u64 {
        self.counted.saturating_sub(self.admitted + self.unknown)
    }
}

/// Settles the books of every target of `hits`, of which each costs 1, with what `node` says now.
#[must_use]
pub fn account(node: &Node, hits: &[Hit]) -> BTreeMap<Target, Account> {
    let mut accounts = BTreeMap::<Target, Account>::new();
    for hit in hits {
        let account = accounts.entry(hit.target.clone()).or_default();
        match &hit.outcome {
            Outcome::Admitted => account.admitted += 1,
            Outcome::Denied => account.denied += 1,
            // A refusal may say that it does not know whether the hit was counted.
            Outcome::Refused(..) | Outcome::Unanswered(_) => account.unknown += 1,
        }
    }
    for (target, account) in &mut accounts {
        account.counted = node.counted(&target.limit, &target.key);
    }
    accounts
}
