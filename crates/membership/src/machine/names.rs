//! Who gets a name: whoever asks, unless its holder lives.

use quota::BootNanos;

use super::{Membership, NameVerdict};
use crate::view::Status;

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

    /// Drops the questions of newcomers that went away before they were answered.
    pub(super) fn drop_old_questions(&mut self, now: BootNanos) {
        let lasts = self.question_lasts();
        self.names_asked.retain(|_, asked| now - *asked < lasts);
    }

    fn question_lasts(&self) -> quota::Nanos {
        self.settings.name_patience.times(4)
    }
}
