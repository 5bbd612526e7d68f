//! What becomes of a node that nobody lets in: it founds a cluster, waits for another newcomer to found it, or goes on
//! looking.
//!
//! Newcomers that look for each other tell whether they would found a cluster, and whom they follow: the one of those
//! they have met whose name sorts first. Of several that would, that one founds, and the others join it.

use std::collections::BTreeMap;

use quota::{BootNanos, Nanos};

/// What a newcomer said is believed for so long. Longer than a round of questions, which a silent address makes last
/// 1.5 s.
const FRESH: Nanos = Nanos::from_secs(5);

/// How a node may come to found a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoundingRules {
    /// It would own nothing: a cluster of it alone decides nothing.
    pub asks: bool,
    /// Only a majority decides: a cluster beside one that cannot be seen would admit what that one has admitted.
    pub quorum: bool,
    /// Whether addresses were given at which the others should be.
    pub has_seeds: bool,
    /// So many newcomers found a cluster together, this one counted. `None`: one that finds nobody founds it alone.
    pub expect: Option<usize>,
    /// How long a node looks in any case. Nodes that are started at the same moment find each other in it.
    pub look_around: Nanos,
    /// How long a node waits for the addresses that it was given, where it may go on alone.
    pub patience: Nanos,
}

/// What to do after a round of questions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FoundingStep {
    /// Ask again.
    Look,
    /// Found a cluster: the other newcomers will join it.
    Found,
}

#[derive(Debug)]
struct Newcomer {
    at: BootNanos,
    founds: bool,
    follows: Option<String>,
}

/// A newcomer's knowledge of the others.
///
/// After each round of questions, and after telling it who answered, ask [`Founding::step`].
#[derive(Debug)]
pub struct Founding {
    me: String,
    rules: FoundingRules,
    started: BootNanos,
    met: BTreeMap<String, Newcomer>,
    /// Somebody was there in this round who did not say no.
    somebody: bool,
}

impl Founding {
    /// A node of that name begins to look.
    #[must_use]
    pub fn new(now: BootNanos, me: &str, rules: FoundingRules) -> Self {
        Self {
            me: me.to_owned(),
            rules,
            started: now,
            met: BTreeMap::new(),
            somebody: false,
        }
    }

    /// Whether this node would found a cluster. One that must join one never does.
    #[must_use]
    pub fn founds(&self) -> bool {
        let must_join = self.rules.quorum && self.rules.has_seeds && self.rules.expect.is_none();
        !self.rules.asks && !must_join
    }

    /// Whom this node expects to found the cluster. `None`: nobody that it has met would, or it would count for nothing
    /// there.
    #[must_use]
    pub fn follows(&self, now: BootNanos) -> Option<&str> {
        if self.rules.asks {
            return None;
        }
        let me = self.founds().then_some(self.me.as_str());
        let others = self.fresh(now).filter(|(_, newcomer)| newcomer.founds);
        others.map(|(name, _)| name).chain(me).min()
    }

    /// A newcomer answered: whether it would found a cluster, and whom it follows.
    pub fn on_newcomer(&mut self, now: BootNanos, name: &str, founds: bool, follows: Option<&str>) {
        let newcomer = Newcomer {
            at: now,
            founds,
            follows: follows.map(str::to_owned),
        };
        self.met.insert(name.to_owned(), newcomer);
    }

    /// Somebody is there who could not answer in time, or will in a moment. A cluster founded beside it would have to
    /// be mended.
    pub fn on_somebody(&mut self) {
        self.somebody = true;
    }

    /// The newcomers that were met a moment ago.
    #[must_use]
    pub fn met(&self, now: BootNanos) -> Vec<String> {
        let fresh = self.fresh(now);
        fresh.map(|(name, _)| name.to_owned()).collect()
    }

    /// Who counts from the first moment on, if this node founds a cluster: itself, and those that follow it where so many
    /// were expected.
    #[must_use]
    pub fn founders(&self, now: BootNanos) -> Vec<String> {
        let followers = self.followers(now).map(str::to_owned);
        let followers = followers.filter(|_| self.rules.expect.is_some());
        followers.chain([self.me.clone()]).collect()
    }

    /// Ends a round.
    pub fn step(&mut self, now: BootNanos) -> FoundingStep {
        let somebody = std::mem::take(&mut self.somebody);
        let looked_for = now - self.started;
        let FoundingRules {
            quorum,
            has_seeds,
            expect,
            look_around,
            patience,
            ..
        } = self.rules;
        let is_first = self.follows(now) == Some(&self.me);
        let waits = match expect {
            // Whoever is there and slow may be one of them.
            Some(expected) => self.followers(now).count() + 1 < expected,
            None if quorum => has_seeds || somebody,
            None => looked_for < patience && (has_seeds || somebody),
        };
        if !is_first || waits || looked_for < look_around {
            return FoundingStep::Look;
        }
        FoundingStep::Found
    }

    fn followers(&self, now: BootNanos) -> impl Iterator<Item = &str> {
        let fresh = self.fresh(now);
        let followers = fresh.filter(|(_, it)| it.follows.as_deref() == Some(&self.me));
        followers.map(|(name, _)| name)
    }

    fn fresh(&self, now: BootNanos) -> impl Iterator<Item = (&str, &Newcomer)> {
        let fresh = self.met.iter();
        fresh
            .filter(move |(_, newcomer)| now - newcomer.at < FRESH)
            .map(|(name, newcomer)| (name.as_str(), newcomer))
    }
}

/// The first word about addresses at which nobody answers, after the second in which nodes that start together find
/// each other.
const FIRST_WORD: Nanos = Nanos::from_secs(1);

/// Between two words about it.
const NEXT_WORD: Nanos = Nanos::from_secs(30);

/// When to say that nobody answers.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    since: BootNanos,
    said: Option<BootNanos>,
}

impl Silence {
    /// Nobody has answered yet.
    #[must_use]
    pub fn new(now: BootNanos) -> Self {
        Self {
            since: now,
            said: None,
        }
    }

    /// Somebody answered.
    pub fn on_answer(&mut self, now: BootNanos) {
        *self = Self::new(now);
    }

    /// For how long nobody has answered.
    #[must_use]
    pub fn lasts(&self, now: BootNanos) -> Nanos {
        now - self.since
    }

    /// Whether it is to be said now; then not again for half a minute.
    pub fn is_due(&mut self, now: BootNanos) -> bool {
        let due = self
            .said
            .map_or(self.since + FIRST_WORD, |said| said + NEXT_WORD);
        if due <= now {
            self.said = Some(now);
        }
        due <= now
    }
}
