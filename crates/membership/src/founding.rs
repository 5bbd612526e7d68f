//! What becomes of a node that nobody lets in: it founds a cluster, waits for another newcomer to found it, or goes on
//! looking.
//!
//! Newcomers that look for each other tell whether they would found a cluster, and whom they follow: the one of those
//! they have met whose name sorts first. Of several that would, that one founds, and the others join it.
//!
//! A newcomer whose disk has the members of a cluster that is no more, all of whose nodes were stopped or killed, waits for
//! these before it founds another in its place: they may know better what was counted. Newcomers that remember such members
//! go before those that do not.

use std::collections::{BTreeMap, BTreeSet};

use quota::{BootNanos, Nanos};

use crate::view::View;

/// What a newcomer said is believed for so long. Longer than a round of questions, which a silent address makes last
/// 1.5 s.
const FRESH: Nanos = Nanos::from_secs(5);

/// How long newcomers that were met have to join the cluster that one of them founds: a round of questions and a heartbeat,
/// with one address that is silent.
const NEWCOMERS_JOIN: Nanos = Nanos::from_secs(3);

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
    remembers: bool,
}

/// What a newcomer knows of the cluster that it was in.
#[derive(Debug)]
struct Last {
    /// Who counted, itself among them unless it had another name.
    members: BTreeSet<String>,
    /// How long it waits for all of them.
    wait: Nanos,
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
    /// `None`: it remembers none.
    last: Option<Last>,
    /// Somebody was there in this round who did not say no.
    somebody: bool,
    /// And was in a cluster.
    cluster: bool,
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
            last: None,
            somebody: false,
            cluster: false,
        }
    }

    /// The same node, which was in a cluster of these members before. It waits for all of them for so long; under `quorum`
    /// it founds nothing without a majority of them however long it waits.
    #[must_use]
    pub fn remembering(mut self, members: impl IntoIterator<Item = String>, wait: Nanos) -> Self {
        let members: BTreeSet<String> = members.into_iter().collect();
        self.last = (!members.is_empty()).then_some(Last { members, wait });
        self
    }

    /// Whether this node knows who was in the cluster before.
    #[must_use]
    pub fn remembers(&self) -> bool {
        self.last.is_some()
    }

    /// Whether this node would found a cluster. One that must join one never does.
    #[must_use]
    pub fn founds(&self) -> bool {
        let may_found = match &self.last {
            Some(last) => !self.rules.quorum || last.members.contains(&self.me),
            None => !self.rules.quorum || !self.rules.has_seeds || self.rules.expect.is_some(),
        };
        !self.rules.asks && may_found
    }

    /// Whom this node expects to found the cluster. `None`: nobody that it has met would, or it would count for nothing
    /// there.
    #[must_use]
    pub fn follows(&self, now: BootNanos) -> Option<&str> {
        if self.rules.asks {
            return None;
        }
        let me = self
            .founds()
            .then_some((self.me.as_str(), self.remembers()));
        let others = self.fresh(now).filter(|(_, newcomer)| newcomer.founds);
        let all = others.map(|(name, newcomer)| (name, newcomer.remembers));
        let first = all
            .chain(me)
            .min_by_key(|&(name, remembers)| (!remembers, name));
        first.map(|(name, _)| name)
    }

    /// A newcomer answered: whether it would found a cluster, and whom it follows.
    pub fn on_newcomer(&mut self, now: BootNanos, name: &str, founds: bool, follows: Option<&str>) {
        let newcomer = Newcomer {
            at: now,
            founds,
            follows: follows.map(str::to_owned),
            remembers: false,
        };
        self.met.insert(name.to_owned(), newcomer);
    }

    /// That newcomer has just said that it remembers who was in the cluster before.
    pub fn on_remembering(&mut self, name: &str) {
        if let Some(newcomer) = self.met.get_mut(name) {
            newcomer.remembers = true;
        }
    }

    /// Somebody is there who could not answer in time, or will in a moment. A cluster founded beside it would have to
    /// be mended.
    pub fn on_somebody(&mut self) {
        self.somebody = true;
    }

    /// A member of a cluster will let this node in in a moment: there is no other to be founded beside it, whoever else was
    /// met.
    pub fn on_cluster(&mut self) {
        self.cluster = true;
    }

    /// The newcomers that were met a moment ago.
    #[must_use]
    pub fn met(&self, now: BootNanos) -> Vec<String> {
        let fresh = self.fresh(now);
        fresh.map(|(name, _)| name.to_owned()).collect()
    }

    /// Who counts from the first moment on, if this node founds a cluster: itself, and those that follow it where so many
    /// were expected. Where this node remembers who counted before, those.
    #[must_use]
    pub fn founders(&self, now: BootNanos) -> Vec<String> {
        if let Some(last) = &self.last {
            let me = [&self.me]
                .into_iter()
                .filter(|me| !last.members.contains(*me));
            return last.members.iter().chain(me).cloned().collect();
        }
        let followers = self.followers(now).map(str::to_owned);
        let followers = followers.filter(|_| self.rules.expect.is_some());
        followers.chain([self.me.clone()]).collect()
    }

    /// Whom this node waits for once it is in a cluster that is new itself. `None`: for nobody.
    ///
    /// One that remembers the last members, and has met newcomers like itself, takes no part in deciding before these are
    /// members, too: each may know better what was counted.
    #[must_use]
    pub fn beginning(&self, now: BootNanos) -> Option<Beginning> {
        let names = self.met(now);
        (self.remembers() && !names.is_empty()).then(|| Beginning {
            names,
            until: now + NEWCOMERS_JOIN,
        })
    }

    /// Ends a round.
    pub fn step(&mut self, now: BootNanos) -> FoundingStep {
        let somebody = std::mem::take(&mut self.somebody);
        if std::mem::take(&mut self.cluster) {
            return FoundingStep::Look;
        }
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
        let waits = match (&self.last, expect) {
            (Some(last), _) => {
                let was_alone = last.members.len() == 1;
                let is_slow = somebody || (has_seeds && was_alone);
                let may_be_others = !quorum && is_slow && looked_for < patience;
                may_be_others || self.waits_for(last, now, looked_for)
            }
            // Whoever is there and slow may be one of them.
            (None, Some(expected)) => self.followers(now).count() + 1 < expected,
            (None, None) if quorum => has_seeds || somebody,
            (None, None) => looked_for < patience && (has_seeds || somebody),
        };
        if !is_first || waits || looked_for < look_around {
            return FoundingStep::Look;
        }
        FoundingStep::Found
    }

    /// Whether those who were members before are to be waited for.
    fn waits_for(&self, last: &Last, now: BootNanos, waited: Nanos) -> bool {
        let (members, met) = (&last.members, self.met(now));
        let is_there = |name: &&String| **name == self.me || met.contains(name);
        let lacks_some = !members.iter().all(|name| is_there(&name));
        // One that does not remember has lost its disk, and what only that one had: it is no part of a majority that has
        // everything.
        let knows = |name: &str| self.met.get(name).is_some_and(|it| it.remembers);
        let followers: Vec<&str> = self.followers(now).filter(|it| knows(it)).collect();
        let follows = |name: &&String| **name == self.me || followers.contains(&name.as_str());
        let majority = members.len() / 2 + 1;
        let lacks_majority = members.iter().filter(follows).count() < majority;
        (lacks_some && waited < last.wait) || (self.rules.quorum && lacks_majority)
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

/// Whom a node waits for that has just come into a cluster, which is new itself.
#[derive(Debug)]
pub struct Beginning {
    names: Vec<String>,
    until: BootNanos,
}

impl Beginning {
    /// Whether some of the newcomers that were met are no members yet, and have not had their time.
    #[must_use]
    pub fn waits(&self, now: BootNanos, view: &View) -> bool {
        let is_met = |name: &String| view.members().iter().any(|seen| seen.name == *name);
        now < self.until && !self.names.iter().all(is_met)
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
