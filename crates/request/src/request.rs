//! The machine of one request.

use coordinator::{Answer, NoDecision};
use delta_crdt::ReplicaId;
use quota::{BootNanos, Decision, Nanos};
use shard::{HitId, Operation};

use crate::{Outlook, Said, Subject};

/// How long a hit may take, and all hits of a batch together: longer than the two seconds after which a silent owner is
/// replaced, shorter than what a shard remembers of admitted ids.
pub const DEADLINE: Nanos = Nanos::from_millis(3_500);

/// How long one attempt waits for the node that it asks. A paused owner is found out by its lease, not by this; a
/// verdict that was lost is repeated under the same id.
pub const ATTEMPT: Nanos = Nanos::from_millis(600);

/// How long to wait for news of a shard before looking again anyway.
pub const LOOK_AGAIN: Nanos = Nanos::from_millis(20);

/// What to tell a client whose hit found nobody: a takeover is over by then.
const RETRY_AFTER: Nanos = Nanos::from_secs(1);

/// Nodes asked between two pauses: the owner, one that it named instead, and members to pass the hit on. Two cut links
/// leave at least one good member among three.
const ASKED_MAX: usize = 5;

/// What a driver has to do next. It does it and tells the request what came of it, or that it took too long, and asks
/// again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Put it to this node's own shard: [`decide`](crate::decide), then [`Request::on_said`] or [`Request::on_held`].
    DecideHere {
        /// The request's id.
        id: HitId,
    },
    /// Send it to another node: then [`Request::on_said`], [`Request::on_unsent`] or [`Request::on_unanswered`].
    Ask {
        /// Whom.
        to: ReplicaId,
        /// To decide it, or to pass it on.
        way: Way,
        /// How long to wait for what it says.
        at_most: Nanos,
    },
    /// Wait for the answer that is held here: then [`Request::on_said`], or nothing when it took longer.
    AwaitHeld {
        /// How long.
        at_most: Nanos,
    },
    /// Wait until the owner or the role of this node changes for the shard, then go on.
    Wait {
        /// No longer than this.
        at_most: Nanos,
    },
    /// The end: tell the caller.
    Tell(Result<Answer, NoDecision>),
}

/// What a node is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// To decide the hit.
    Direct,
    /// To pass it on to its owner, which this node does not reach: see [`relay`](crate::relay).
    Relay {
        /// The owner, as far as is known here.
        owner: ReplicaId,
    },
}

/// Why an attempt did not leave this node. It was not counted, and will not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsent {
    /// There is no connection, or as much is being passed on as may be.
    Unreached,
    /// Too much waits for that node.
    Full,
}

/// Whether an attempt may have left something counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trace {
    /// Nothing was counted, for certain.
    None,
    /// An attempt left this node, or was decided, and nobody said what came of it.
    Perhaps,
}

/// One hit, refund or reset with an id, from its first attempt to what the caller is told.
///
/// Call order: [`Self::next`] says what to do; do it, report it by the one of the `on_*` that [`Next`] names, and ask
/// again until it says [`Next::Tell`]. At most one attempt is under way at any time; what comes of an earlier one that
/// was reported as unanswered is not reported any more.
///
/// ```text
/// asked ─▶ owner here ──────▶ decide ─┬─▶ decided ─▶ told
///    ▲     owner elsewhere ─▶ ask it ─┤
///    │     not reached ─────▶ relay ──┼─▶ elsewhere ─▶ ask that one
///    │     nobody known               └─▶ busy, silent, unsent
///    └──── wait: news of the shard, or 20 ms ◀──┘        after the deadline: not counted, or unknown
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Who carries it: not always who named it.
    me: ReplicaId,
    subject: Subject,
    id: HitId,
    deadline: BootNanos,
    trace: Trace,
    decided: Option<Decision>,
    /// What the last node said about the owner is newer than the table.
    hint: Option<ReplicaId>,
    is_held: bool,
    is_shed: bool,
    /// The last attempt was in vain for a reason that time mends.
    must_rest: bool,
    asked: [Option<(ReplicaId, bool)>; ASKED_MAX],
}

impl Request {
    /// A request that `me` carries and gives up at `deadline`, under an id that whoever named it gives to no other.
    #[must_use]
    pub fn new(me: ReplicaId, subject: Subject, id: HitId, deadline: BootNanos) -> Self {
        Self {
            me,
            subject,
            id,
            deadline,
            trace: Trace::None,
            decided: None,
            hint: None,
            is_held: false,
            is_shed: false,
            must_rest: false,
            asked: [None; ASKED_MAX],
        }
    }

    /// What is asked.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Under which id.
    #[must_use]
    pub fn id(&self) -> HitId {
        self.id
    }

    /// What to do now.
    #[must_use]
    pub fn next(&mut self, now: BootNanos, outlook: &impl Outlook) -> Next {
        if let Some(decision) = self.decided {
            return Next::Tell(Ok(decision.into()));
        }
        let retry_after = RETRY_AFTER;
        if outlook.is_stopping() {
            return self.give_up(NoDecision::Draining { retry_after });
        }
        let unavailable = NoDecision::Unavailable { retry_after };
        let left = self.deadline - now;
        if left == Nanos::ZERO || outlook.lacks_quorum() {
            return self.give_up(unavailable);
        }
        if self.is_shed && self.trace == Trace::None {
            return self.give_up(NoDecision::Overloaded { retry_after });
        }
        let at_most = LOOK_AGAIN.min(left);
        match self.attempt(outlook) {
            Some(Next::Ask { to, way, .. }) => Next::Ask {
                to,
                way,
                at_most: ATTEMPT.min(left),
            },
            Some(attempt) => attempt,
            None if self.is_held => Next::AwaitHeld { at_most },
            None => {
                self.asked = [None; ASKED_MAX];
                Next::Wait { at_most }
            }
        }
    }

    /// The node that was asked, this one included, said so.
    pub fn on_said(&mut self, said: Said) {
        self.is_held = false;
        match said {
            Said::Decided(decision) => self.decided = Some(decision),
            Said::Elsewhere(owner) => {
                // When it is said to be this node, which was not so a moment ago, news is under way.
                self.hint = owner.filter(|&owner| owner != self.me);
                self.must_rest = self.hint.is_none();
            }
            Said::Busy => self.must_rest = true,
            Said::Unsure => self.on_unanswered(),
            Said::Unreached => {}
        }
    }

    /// It was decided here, and its answer is held until a replica has it.
    pub fn on_held(&mut self) {
        self.is_held = true;
        self.leave_trace();
    }

    /// The attempt did not leave this node.
    pub fn on_unsent(&mut self, unsent: Unsent) {
        self.is_shed = unsent == Unsent::Full;
        self.must_rest |= self.is_shed;
    }

    /// The attempt left this node, and nobody said in time what came of it.
    pub fn on_unanswered(&mut self) {
        self.leave_trace();
        self.must_rest = true;
    }

    fn leave_trace(&mut self) {
        if self.subject.counts() {
            self.trace = Trace::Perhaps;
        }
    }

    /// The next attempt. `None`: there is none worth making before something changes.
    fn attempt(&mut self, outlook: &impl Outlook) -> Option<Next> {
        if self.is_held {
            return None;
        }
        if std::mem::take(&mut self.must_rest) {
            return None;
        }
        let me = outlook.me();
        let owner = self
            .hint
            .take()
            .or_else(|| outlook.owner(self.subject.shard));
        let owner = owner?;
        if owner == me {
            let is_first = self.begin(me, false);
            return is_first.then_some(Next::DecideHere { id: self.id });
        }
        if outlook.reaches(owner) && self.begin(owner, false) {
            return Some(ask(owner, Way::Direct));
        }
        let may_relay =
            |&by: &ReplicaId| by != owner && outlook.reaches(by) && outlook.may_detour(owner, by);
        // Each request begins with another member, so that they share what is passed on.
        let others = outlook.others().count().max(1) as u64;
        let first = (self.id.sequence % others) as usize;
        let in_turn = outlook.others().skip(first);
        let mut in_turn = in_turn
            .chain(outlook.others().take(first))
            .filter(may_relay);
        let by = in_turn.find(|&by| self.begin(by, true))?;
        Some(ask(by, Way::Relay { owner }))
    }

    /// Notes that `node` is asked. `false`: it has been since the last pause, or enough others have.
    fn begin(&mut self, node: ReplicaId, is_relay: bool) -> bool {
        let entry = Some((node, is_relay));
        if self.asked.contains(&entry) {
            return false;
        }
        let free = self.asked.iter_mut().find(|asked| asked.is_none());
        free.map(|free| *free = entry).is_some()
    }

    /// Tells `uncounted` if that is certain.
    fn give_up(&self, uncounted: NoDecision) -> Next {
        let error = match self.trace {
            Trace::None => uncounted,
            Trace::Perhaps => NoDecision::Unknown {
                retry_after: RETRY_AFTER,
            },
        };
        Next::Tell(self.subject.without_decision(error))
    }
}

impl Subject {
    /// What the caller is told when no decision can be had: for a hit, the limit's fail mode.
    ///
    /// # Errors
    ///
    /// `error`, where the limit fails closed.
    pub fn without_decision(&self, error: NoDecision) -> Result<Answer, NoDecision> {
        match self.operation {
            Operation::Hit(cost) => self.on_failure.answer(&self.limit, cost, error),
            Operation::Refund(_) | Operation::Reset => Err(error),
        }
    }

    /// What the caller is told when too many hits of this node wait already: this one was not tried.
    ///
    /// # Errors
    ///
    /// [`NoDecision::Overloaded`], where the limit fails closed.
    pub fn shed(&self) -> Result<Answer, NoDecision> {
        self.without_decision(NoDecision::Overloaded {
            retry_after: RETRY_AFTER,
        })
    }
}

const fn ask(to: ReplicaId, way: Way) -> Next {
    Next::Ask {
        to,
        way,
        at_most: ATTEMPT,
    }
}
