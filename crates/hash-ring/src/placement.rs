//! The table that a ring fills.

use crate::Member;

/// For every shard, all members in the order in which they should hold it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    shards: u16,
    members: usize,
    /// `members` ids for each shard, one shard after the other.
    orders: Vec<u32>,
}

impl Placement {
    pub(crate) fn with_capacity(members: usize, shards: u16) -> Self {
        Self {
            shards: 0,
            members,
            orders: Vec::with_capacity(members * usize::from(shards)),
        }
    }

    /// Appends the order of the next shard, given the members as they follow clockwise.
    pub(crate) fn push<'m>(&mut self, clockwise: impl Iterator<Item = &'m Member<'m>>) {
        self.orders
            .extend(spread_over_zones(clockwise).map(|member| member.id));
        self.shards += 1;
    }

    /// How many shards are placed.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// The ids of all members in the order in which they should hold `shard`: first its owner, then its replicas.
    ///
    /// The owner is the first member clockwise, whatever its zone: zones must not move a shard that a join or leave
    /// does not move. Each further place goes to the first member clockwise in a zone that has the fewest places so
    /// far, so a replica stands in another zone than the owner whenever there is one. Hence with zones the member that
    /// should own the shard after the owner's death need not be the first replica: until the shard has been handed to
    /// it, a holder owns it.
    ///
    /// Empty when there are no members.
    ///
    /// # Panics
    ///
    /// If `shard` is not below [`shards`](Self::shards).
    #[must_use]
    pub fn order(&self, shard: u16) -> &[u32] {
        assert!(shard < self.shards, "shard {shard} of {}", self.shards);
        let from = usize::from(shard) * self.members;
        &self.orders[from..from + self.members]
    }

    /// The id of the member that should own `shard`. `None` when there are no members.
    ///
    /// # Panics
    ///
    /// If `shard` is not below [`shards`](Self::shards).
    #[must_use]
    pub fn owner(&self, shard: u16) -> Option<u32> {
        self.order(shard).first().copied()
    }
}

/// Reorders members so that each next one stands in a zone that has the fewest before it.
///
/// Within a zone members stay in clockwise order; the n-th of each zone come before every n+1-th.
fn spread_over_zones<'m>(
    clockwise: impl Iterator<Item = &'m Member<'m>>,
) -> impl Iterator<Item = &'m Member<'m>> {
    let mut seen: Vec<&str> = Vec::new();
    let mut rounds: Vec<(usize, &Member<'_>)> = clockwise
        .map(|member| {
            let Some(zone) = member.zone else {
                return (0, member);
            };
            let round = seen.iter().filter(|&&other| other == zone).count();
            seen.push(zone);
            (round, member)
        })
        .collect();
    rounds.sort_by_key(|&(round, _)| round);
    rounds.into_iter().map(|(_, member)| member)
}
