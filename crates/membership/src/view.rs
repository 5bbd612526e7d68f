//! The members that a node believes alive.

use delta_crdt::ReplicaId;

use crate::council::CouncilId;
use crate::digest::Digest;

/// What a node believes of a member, from its own evidence alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// Answers.
    Alive,
    /// Its connection closed, or it has been silent for a while. Still in the view.
    Suspect,
    /// Answers, and hands its shards off.
    Leaving,
    /// Gone, or silent for longer than a lease.
    Dead,
}

impl Status {
    /// Whether a member of this status is asked and waited for.
    #[must_use]
    pub fn in_view(self) -> bool {
        self != Self::Dead
    }
}

/// A member of a view.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Seen {
    /// Which incarnation.
    pub replica: ReplicaId,
    /// Its name; places it on the ring.
    pub name: String,
    /// Its zone, if zones are named.
    pub zone: Option<String>,
    /// Whether shards should be placed on it.
    pub takes_shards: bool,
    /// Whether others are to be preferred, because its clock is off.
    pub aside: bool,
    /// Whether it knows what a majority knows, so that its promise can be had. Not before it says so, of a newcomer under
    /// `quorum`.
    pub remembers: bool,
    /// Whether it holds a majority under `quorum`, where others may reach it who do not have the same. Else true.
    pub holds_quorum: bool,
}

/// The live members, this node included, in the order of their replica ids.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    members: Vec<Seen>,
    /// Everyone who counts towards a majority, dead or alive, in order.
    belonging: Vec<ReplicaId>,
    council: CouncilId,
    /// How many count, those among them whom nobody has met yet.
    counting: usize,
}

impl View {
    pub(crate) fn new(
        mut members: Vec<Seen>,
        mut belonging: Vec<ReplicaId>,
        council: CouncilId,
        counting: usize,
    ) -> Self {
        members.sort_by_key(|seen| seen.replica);
        belonging.sort_unstable();
        Self {
            members,
            belonging,
            council,
            counting,
        }
    }

    /// The live members.
    #[must_use]
    pub fn members(&self) -> &[Seen] {
        &self.members
    }

    /// Whether `replica` is believed alive.
    #[must_use]
    pub fn contains(&self, replica: ReplicaId) -> bool {
        self.seen(replica).is_some()
    }

    /// The live members other than `me`.
    pub fn others(&self, me: ReplicaId) -> impl Iterator<Item = ReplicaId> {
        self.members
            .iter()
            .map(|seen| seen.replica)
            .filter(move |&replica| replica != me)
    }

    /// Whether `replica` is believed alive, and knows what a majority knows.
    #[must_use]
    pub fn remembers(&self, replica: ReplicaId) -> bool {
        self.seen(replica).is_some_and(|seen| seen.remembers)
    }

    /// Whether `replica` is believed alive and, by its own word, could open a shard now.
    #[must_use]
    pub fn may_open(&self, replica: ReplicaId) -> bool {
        let seen = self.seen(replica);
        seen.is_some_and(|seen| seen.remembers && seen.holds_quorum)
    }

    fn seen(&self, replica: ReplicaId) -> Option<&Seen> {
        let place = |seen: &Seen| seen.replica;
        let place = self.members.binary_search_by_key(&replica, place);
        place.ok().map(|place| &self.members[place])
    }

    /// How many of all members, the dead counted, make a majority.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.counting / 2 + 1
    }

    /// Whether `replica` counts towards a majority. A newcomer under `quorum` does once a majority has agreed.
    #[must_use]
    pub fn counts(&self, replica: ReplicaId) -> bool {
        self.belonging.binary_search(&replica).is_ok()
    }

    /// Whether those who agree are a majority.
    #[must_use]
    pub fn is_majority(&self, agrees: impl Fn(ReplicaId) -> bool) -> bool {
        let agreeing = self.belonging.iter().filter(|&&member| agrees(member));
        self.majority() <= agreeing.count()
    }

    /// Which composition of those who count.
    #[must_use]
    pub fn council(&self) -> CouncilId {
        self.council
    }

    /// Everyone who counts towards a majority and has neither left nor been forgotten, dead or alive, each under its
    /// newest incarnation.
    #[must_use]
    pub fn belonging(&self) -> &[ReplicaId] {
        &self.belonging
    }

    /// Whether `replica` may yet come back with what it holds: it is alive, or silent and not replaced by a newer
    /// incarnation, which starts with nothing.
    #[must_use]
    pub fn may_return(&self, replica: ReplicaId) -> bool {
        self.contains(replica) || self.belonging.binary_search(&replica).is_ok()
    }

    /// The members that shards are placed on, in two groups: those to choose from, and those whose clocks are off.
    ///
    /// The second hold copies where there are too few of the first, and own shards only where there is nobody else.
    #[must_use]
    pub fn placed(&self) -> [Vec<&Seen>; 2] {
        let takers = self.members.iter().filter(|seen| seen.takes_shards);
        let (aside, preferred) = takers.partition(|seen| seen.aside);
        [preferred, aside]
    }

    /// Names the view: equal views have equal digests, whatever build computed them.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut digest = Digest::new(b"weir view/0\0\0\0\0\0");
        for seen in &self.members {
            digest.number(seen.replica.0);
            digest.text(&seen.name);
            digest.optional(seen.zone.as_deref());
            digest.number(seen.takes_shards);
            digest.number(seen.aside);
        }
        digest.finish()
    }
}
