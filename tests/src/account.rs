//! What clients were told against what the cluster remembers.

use std::collections::BTreeMap;

use rehearsal::Account;

use crate::load::{Hit, Outcome, Target};
use crate::node::Node;

/// Settles the books of every target of `hits`, of which each costs 1, with what `node` says now.
#[must_use]
pub fn account(node: &Node, hits: &[Hit]) -> BTreeMap<Target, Account> {
    let mut accounts = BTreeMap::<Target, Account>::new();
    for hit in hits {
        let account = accounts.entry(hit.target.clone()).or_default();
        match &hit.outcome {
            Outcome::Admitted => account.admitted += 1,
            Outcome::Denied => account.denied += 1,
            // Stands in no column: if it is counted all the same, it is invented.
            refused if refused.is_uncounted() => {}
            Outcome::Refused(..) | Outcome::Unanswered(_) => account.unknown += 1,
        }
    }
    let targets: Vec<Target> = accounts.keys().cloned().collect();
    let counts = node.counts(&targets);
    for (account, counted) in accounts.values_mut().zip(counts) {
        account.counted = counted;
    }
    accounts
}
