//! The strategy `local`: every node decides on its own count, and tells all others what it counted.

use std::collections::BTreeSet;

use delta_crdt::{Cell, Cells, Digest, Dot, ReplicaId, Term};
use quota::{Cost, Decision, KeyHash, Limit, Nanos, UnixNanos};

/// How long a key that is full again is remembered, so that late news of it is not taken for new hits.
///
/// Longer than news takes: a broadcast is repaired by anti-entropy within a second, and a member that was silent for
/// two is dead. Ten seconds cover a stopped process or a link that flaps.
const LINGER: Nanos = Nanos::from_secs(10);

/// Keys written since the last broadcast that are listed before they are sorted out. One flush of 5 ms at 800 000
/// hits a second.
const UNTOLD_LISTED_MAX: usize = 4_096;

/// Keys of which others told something, and whose next hit here is looked at for overshoot. It is a measurement: of
/// more keys than this, some go unmeasured.
const HEARD_MAX: usize = 4_096;

/// What one node knows of the hits on some keys: its own, and those it was told of.
///
/// A hit is decided by the count here, at once, and nobody is asked. What was counted is told to every member, as
/// deltas that may be lost, repeated and reordered; [`Self::digest`] finds what was lost. So a key overshoots by what the
/// others admit between their count and its arrival here, and by nothing else: all hits that this node knows of go
/// through the algorithm. Nodes that cannot hear each other each admit up to the limit.
///
/// The driver calls [`Self::untold`] every few milliseconds and sends what it gets to all members, hands what comes in to
/// [`Self::on_told`], and calls [`Self::expire`] on a slow timer. `now` is cluster time, and may stand still or go back by
/// the skew.
#[derive(Debug)]
pub struct Tally {
    cells: Cells,
    me: Term,
    written: u64,
    untold: Vec<KeyHash>,
    heard: BTreeSet<KeyHash>,
}

/// A decision, and what was learned on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tallied {
    /// The answer.
    pub decision: Decision,
    /// Units by which this key was found beyond its burst, at the first hit after others told of it. Zero when it was
    /// within.
    pub overshoot: u64,
}

impl Tally {
    /// An empty tally of the incarnation `me`, which no other tally of these keys may have.
    #[must_use]
    pub fn new(me: ReplicaId) -> Self {
        Self {
            cells: Cells::of_many_writers(LINGER),
            me: Term {
                number: 1,
                replica: me,
            },
            written: 0,
            untold: Vec::new(),
            heard: BTreeSet::new(),
        }
    }

    /// Decides one hit, and counts it if it passes. A cost of 0 peeks.
    #[inline]
    pub fn hit(&mut self, now: UnixNanos, key: KeyHash, limit: &Limit, cost: Cost) -> Tallied {
        let overshoot = match !self.heard.is_empty() && self.heard.remove(&key) {
            true => self.overshoot(now, key, limit),
            false => 0,
        };
        let decision = self.write(key, |cells, dot| cells.hit(now, key, limit, cost, dot));
        Tallied {
            decision,
            overshoot,
        }
    }

    /// Gives back up to `cost` units. Never below empty.
    pub fn refund(&mut self, now: UnixNanos, key: KeyHash, limit: &Limit, cost: Cost) -> Decision {
        self.write(key, |cells, dot| cells.refund(now, key, limit, cost, dot))
    }

    /// Makes the key full, as far as its hits are known here.
    pub fn reset(&mut self, now: UnixNanos, key: KeyHash, limit: &Limit) -> Decision {
        self.write(key, |cells, dot| cells.reset(now, key, limit, dot))
    }

    /// Takes what was counted here since the last call, each key once. To be sent to every member.
    #[must_use]
    pub fn untold(&mut self) -> Vec<(KeyHash, Cell)> {
        let mut keys = std::mem::take(&mut self.untold);
        keys.sort_unstable();
        keys.dedup();
        let cells = keys.into_iter();
        cells
            .filter_map(|key| Some((key, self.cells.get(key)?)))
            .collect()
    }

    /// Whether there is anything that the others were not told.
    #[must_use]
    pub fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// Takes in what another node knows of `key`. Whether it was news.
    ///
    /// May be repeated, and come in any order.
    pub fn on_told(&mut self, now: UnixNanos, key: KeyHash, cell: Cell) -> bool {
        let joined = self.cells.join(now, key, cell);
        if joined.changed && self.heard.len() < HEARD_MAX {
            self.heard.insert(key);
        }
        joined.changed
    }

    /// What is known here, in short. Equal on two nodes that know the same.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.cells.digest()
    }

    /// What is known of the keys in these buckets of the digest; bucket n is bit n. Looks at every key.
    pub fn buckets(&self, buckets: u16) -> impl Iterator<Item = (KeyHash, Cell)> {
        let chosen = (0..Digest::BUCKETS as u8).filter(move |bucket| buckets & 1 << bucket != 0);
        chosen.flat_map(|bucket| self.cells.bucket(bucket))
    }

    /// Forgets keys that have been full for long, looking at no more than `budget` keys. How many went.
    pub fn expire(&mut self, now: UnixNanos, budget: usize) -> usize {
        self.cells.expire(now, budget)
    }

    /// Forgets so many keys and bytes, those keys first of which least is lost. How many went that had not expired.
    ///
    /// The others are not told: each node has its own cap, and counts by itself.
    pub fn evict(&mut self, now: UnixNanos, keys: usize, bytes: usize) -> usize {
        self.cells.evict(now, keys, bytes).len()
    }

    /// Bytes that the keys take.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.cells.held_bytes()
    }

    /// Keys that are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether no key is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    fn overshoot(&self, now: UnixNanos, key: KeyHash, limit: &Limit) -> u64 {
        let used = self.cells.used(now, key, limit);
        used.saturating_sub(u64::from(limit.burst()))
    }

    #[inline]
    fn write(
        &mut self,
        key: KeyHash,
        write: impl FnOnce(&mut Cells, Dot) -> delta_crdt::Written,
    ) -> Decision {
        let dot = Dot::new(self.me, self.written + 1);
        let written = write(&mut self.cells, dot);
        if written.changed {
            self.written += 1;
            self.note_untold(key);
        }
        written.decision
    }

    #[inline]
    fn note_untold(&mut self, key: KeyHash) {
        if self.untold.last() == Some(&key) {
            return;
        }
        if UNTOLD_LISTED_MAX <= self.untold.len() {
            self.untold.sort_unstable();
            self.untold.dedup();
        }
        self.untold.push(key);
    }
}
