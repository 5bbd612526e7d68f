//! The members a cluster has, as facts that every node can join: a map that only grows upwards.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use delta_crdt::ReplicaId;

/// How others reach a member. Opaque to membership, which only passes it on.
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
    /// Unique in the cluster.
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
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Roster {
    members: BTreeMap<String, Member>,
}

impl Roster {
    /// Joins one fact; whether anything changed.
    pub fn join(&mut self, member: &Member) -> bool {
        match self.members.get_mut(&member.name) {
            Some(known) if member.precedence() <= known.precedence() => false,
            Some(known) => {
                *known = member.clone();
                true
            }
            None => {
                self.members.insert(member.name.clone(), member.clone());
                true
            }
        }
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

    /// A digest of all facts; equal rosters have equal digests on nodes of one build.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for member in self.members.values() {
            member.hash(&mut hasher);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, incarnation: u64, replica: u32, standing: Standing) -> Member {
        Member {
            name: name.into(),
            incarnation,
            replica: ReplicaId(replica),
            standing,
            contact: Contact::default(),
        }
    }

    #[test]
    fn joining_facts_in_any_order_gives_the_same_roster() {
        let facts = [
            member("a", 1, 10, Standing::Joined),
            member("a", 1, 10, Standing::Left),
            member("a", 2, 11, Standing::Joined),
            member("a", 2, 12, Standing::Joined),
            member("b", 1, 20, Standing::Forgotten),
            member("b", 1, 20, Standing::Leaving),
        ];
        let mut forwards = Roster::default();
        let mut backwards = Roster::default();
        for fact in &facts {
            forwards.join(fact);
        }
        for fact in facts.iter().rev() {
            backwards.join(fact);
        }
        assert_eq!(forwards, backwards);
        assert_eq!(
            forwards.get("a").map(|a| (a.incarnation, a.replica)),
            Some((2, ReplicaId(12)))
        );
        assert_eq!(forwards.belonging(), 1, "b was forgotten");
        assert!(!forwards.join(&facts[0]), "an old fact changes nothing");
    }
}
