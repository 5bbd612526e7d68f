//! Going on after a panic: what of a machine can still be believed.

use quota::BootNanos;

use super::Membership;

impl Membership {
    /// A machine to go on with when this one panicked in the middle of something.
    ///
    /// Facts are kept: who belongs, and what this node granted, which others rely on. Evidence is not: nobody is
    /// believed alive before it answers again, every lease has to be renewed and begins a new epoch, and nothing is
    /// promised for the span of a lease. Introduce every connected member to it ([`Membership::on_introduced`]).
    #[must_use]
    pub fn restarted(&self, now: BootNanos) -> Self {
        let mut fresh = Self::new(now, self.me.clone(), self.settings, false);
        fresh.leases.is_newcomer = self.leases.is_newcomer;
        fresh.leases.silent_until = now + self.settings.lease + self.settings.drift;
        for (&replica, exchange) in &self.leases.peers {
            let mut kept = *exchange;
            kept.lease.until = BootNanos::default();
            kept.gone = false;
            fresh.leases.peers.insert(replica, kept);
        }
        for fact in self.roster.facts() {
            fresh.join_fact(now, &fact);
        }
        fresh.aside = self.aside;
        fresh.council = self.council.clone();
        fresh.recalled = self.recalled;
        fresh.refresh_view();
        fresh
    }
}
