//! Who gets a name: whoever asks, unless its holder lives.

use delta_crdt::ReplicaId;
use quota::{BootNanos, Nanos};

use super::{Membership, NameVerdict};
use crate::view::Status;

/// How long a name that went is withheld at most, where it would stop the others: two leases, which its being taken out of the
/// council takes, and the handoff or takeover of the shard that goes with the right to do so.
const WITHHELD_FOR: Nanos = Nanos::from_secs(5);

impl Membership {
    /// A newcomer that listens at `address` asks for a name. Poll until it is no longer [`NameVerdict::Asking`].
    ///
    /// A newcomer at the very address of a holder that is not connected any more proves that the holder's process is gone,
    /// for two cannot listen on one address. While the holder is still connected it is asked all the same: two hosts may
    /// have been told to advertise one address.
    pub fn on_name_wanted(&mut self, now: BootNanos, name: &str, address: &str) -> NameVerdict {
        let granted = NameVerdict::Granted {
            incarnation: self.roster.next_incarnation(name),
        };
        let Some(holder) = self.roster.get(name) else {
            return granted;
        };
        let replica = holder.replica;
        if replica == self.me.replica {
            return NameVerdict::Taken;
        }
        let belongs = holder.belongs();
        let is_its_place = !address.is_empty() && holder.contact.cluster == address;
        if belongs && is_its_place && self.status(replica) != Some(Status::Alive) {
            self.on_process_gone(now, replica);
        }
        if !belongs && self.would_stop(now, name) {
            return NameVerdict::Asking;
        }
        let peer = self.peers.get(&replica);
        if !belongs || peer.is_none_or(|peer| peer.gone_at.is_some()) {
            self.names_asked.remove(name);
            return granted;
        }
        let answered = peer.and_then(|peer| peer.answered);
        let asked = match self.names_asked.get(name) {
            // An old question, of an earlier newcomer, says nothing about now.
            Some(&asked) if now - asked < self.question_lasts() => asked,
            _ => {
                self.names_asked.insert(name.into(), now);
                self.send_heartbeat(now, replica);
                now
            }
        };
        if answered.is_some_and(|answered| asked <= answered) {
            self.names_asked.remove(name);
            NameVerdict::Taken
        } else if self.settings.name_patience <= now - asked {
            self.names_asked.remove(name);
            granted
        } else {
            NameVerdict::Asking
        }
    }

    /// Whether the others would decide no longer if a name that went came back now, and are about to agree that it does not
    /// count: then it had better stay away for as long as that takes.
    ///
    /// While the council names it, it counts as soon as it belongs again, and whoever comes back has forgotten what a majority
    /// knew. Beside one that is dead too few may be left that remember: they need the dead one then, and went on without
    /// before.
    fn would_stop(&self, now: BootNanos, name: &str) -> bool {
        let Some(council) = &self.council else {
            return false;
        };
        let went = self.departed.get(name);
        let is_withheld = went.is_some_and(|&went| now - went < WITHHELD_FOR);
        if !is_withheld || !council.names.contains(name) {
            return false;
        }
        let counting = council.names.iter().filter(|name| !self.is_gone(name));
        let counting = counting.count() + 1;
        let view = &self.view;
        let remembers = |&&member: &&ReplicaId| match member == self.me.replica {
            true => self.recalled,
            false => view.remembers(member),
        };
        let remembering = view.belonging().iter().filter(remembers).count();
        remembering <= counting / 2
    }

    /// Drops the questions of newcomers that went away before they were answered.
    pub(super) fn drop_old_questions(&mut self, now: BootNanos) {
        let lasts = self.question_lasts();
        self.names_asked.retain(|_, asked| now - *asked < lasts);
    }

    fn question_lasts(&self) -> quota::Nanos {
        self.settings.name_patience.times(4)
    }
}
