//! The members a cluster has, as facts that every node can join: a map that only grows upwards.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use delta_crdt::ReplicaId;

use crate::digest::Digest;

/// How others reach a member. Opaque to membership, which only passes it on and compares it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Contact {
    /// Address of the node-to-node traffic, `ADDR:PORT`.
    pub cluster: String,
    /// Address of the HTTP front, `ADDR:PORT`.
    pub http: String,
    /// Where the node stands; replicas prefer another zone. `None` when zones are not named.
    pub zone: Option<String>,
}

/// What a member says, or others say, about its belonging. Later variants override earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Standing {
    /// Belongs, dead or alive.
    Joined,
    /// Hands its shards off and takes no new ones.
    Leaving,
    /// Left politely: it decides nothing any more.
    Left,
    /// Declared gone for good by an operator (`weir forget`).
    Forgotten,
}

/// One member under one incarnation.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Member {
    /// Unique in the cluster, and not empty.
    pub name: String,
    /// Grows with each start under this name.
    pub incarnation: u64,
    /// Names this incarnation in terms and dots.
    pub replica: ReplicaId,
    /// Its belonging.
    pub standing: Standing,
    /// Where it is reached.
    pub contact: Contact,
}

impl Member {
    /// Whether it counts towards a majority: everyone who has neither left nor been forgotten.
    #[must_use]
    pub fn belongs(&self) -> bool {
        self.standing < Standing::Left
    }

    fn precedence(&self) -> (u64, ReplicaId, Standing) {
        (self.incarnation, self.replica, self.standing)
    }
}

/// Every member by name, each under its newest incarnation.
///
/// Joining two rosters commutes, associates and is idempotent: per name the higher incarnation wins,
/// a tie goes to the higher replica id (two seeds admitted the same name at once: one newcomer is
/// fenced), then the later standing.
///
/// Who left stays listed for as long as somebody may not know it, and then goes (`retire`). Of all who went one
/// number remains, the highest incarnation: a name that is not listed is given a higher one, so that whoever had it
/// before is fenced as if it were remembered. The number travels as a fact under the empty name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Roster {
    members: BTreeMap<String, Member>,
    retired: u64,
    digest: KnownDigest,
}

/// The digest of a roster that has not changed since it was asked for: every heartbeat tells it and compares another's.
#[derive(Clone, Debug, Default)]
struct KnownDigest(OnceLock<u64>);

/// Says nothing of a roster that the roster does not say.
impl PartialEq for KnownDigest {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for KnownDigest {}

impl Roster {
    /// Joins one fact; whether anything changed.
    ///
    /// That somebody left whom this roster does not list is news only above the highest incarnation that went: below it,
    /// somebody else has not retired it yet.
    pub fn join(&mut self, fact: &Member) -> bool {
        let is_news = self.take(fact);
        if is_news {
            self.digest = KnownDigest::default();
        }
        is_news
    }

    fn take(&mut self, fact: &Member) -> bool {
        if fact.name.is_empty() {
            let is_news = self.retired < fact.incarnation;
            self.retired = self.retired.max(fact.incarnation);
            return is_news;
        }
        match self.members.get_mut(&fact.name) {
            Some(known) if fact.precedence() <= known.precedence() => false,
            Some(known) => {
                *known = fact.clone();
                true
            }
            None if !fact.belongs() && fact.incarnation <= self.retired => false,
            None => {
                self.members.insert(fact.name.clone(), fact.clone());
                true
            }
        }
    }

    /// Lists a member no longer.
    pub(crate) fn retire(&mut self, name: &str) {
        if let Some(member) = self.members.remove(name) {
            self.retired = self.retired.max(member.incarnation);
            self.digest = KnownDigest::default();
        }
    }

    /// All that is to be told to somebody who knows nothing.
    #[must_use]
    pub fn facts(&self) -> Vec<Member> {
        let retired = (self.retired != 0).then(|| Member {
            name: String::new(),
            incarnation: self.retired,
            replica: ReplicaId(0),
            standing: Standing::Left,
            contact: Contact::default(),
        });
        self.members.values().cloned().chain(retired).collect()
    }

    /// Higher than any incarnation that was seen under `name`.
    #[must_use]
    pub fn next_incarnation(&self, name: &str) -> u64 {
        let seen = self.get(name).map_or(0, |member| member.incarnation);
        seen.max(self.retired) + 1
    }

    /// The member of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Member> {
        self.members.get(name)
    }

    /// The member whose current incarnation is `replica`.
    #[must_use]
    pub fn by_replica(&self, replica: ReplicaId) -> Option<&Member> {
        self.members
            .values()
            .find(|member| member.replica == replica)
    }

    /// All members in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// How many members count towards a majority.
    #[must_use]
    pub fn belonging(&self) -> usize {
        self.members
            .values()
            .filter(|member| member.belongs())
            .count()
    }

    /// A digest of who belongs, under which incarnation, standing and contact, and of the highest incarnation that went.
    ///
    /// Who left is not in it: two rosters agree when neither lists anybody whom the other knows to have left. Part of the
    /// peer protocol, byte for byte.
    #[must_use]
    pub fn digest(&self) -> u64 {
        *self.digest.0.get_or_init(|| self.digest_now())
    }

    fn digest_now(&self) -> u64 {
        let mut digest = Digest::new(b"weir roster/0\0\0\0");
        for member in self.members.values().filter(|member| member.belongs()) {
            digest.text(&member.name);
            digest.number(member.incarnation);
            digest.number(member.replica.0);
            digest.number(member.standing == Standing::Leaving);
            digest.text(&member.contact.cluster);
            digest.text(&member.contact.http);
            digest.optional(member.contact.zone.as_deref());
        }
        digest.number(self.retired);
        digest.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_let_go_changes_the_digest() {
        let ada = Member {
            name: "ada".into(),
            incarnation: 3,
            replica: ReplicaId(1),
            standing: Standing::Left,
            contact: Contact::default(),
        };
        let (mut roster, mut other) = (Roster::default(), Roster::default());
        roster.join(&ada);
        let listed = roster.digest();
        roster.retire("ada");
        assert_ne!(roster.digest(), listed);
        other.join(&roster.facts()[0]);
        assert_eq!(roster.digest(), other.digest());
    }
}
