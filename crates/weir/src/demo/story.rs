//! What the demo does and what has happened in it: a machine without sockets, processes or a clock.
//!
//! The driver hands in events and, often enough, the time ([`Story::on_tick`]), and does the effects that
//! [`Story::next_effect`] leaves, in order. Times are durations since the start of the demo. What is drawn or
//! printed is a function of this.

mod event;
mod log;
mod phase;
mod takeover;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) use self::event::{Effect, Event, Seen};
pub(crate) use self::log::{Log, Speaker};
pub(crate) use self::phase::Phase;
pub(crate) use self::takeover::Takeover;
use super::keys::{KEYS, Key};
use super::ledger::{Ledger, Peek, Totals};
use super::meter::Meter;
use crate::units::{millis, seconds};

/// The nodes, by index.
pub(crate) const NAMES: [&str; NODES] = ["ada", "ben", "cleo"];
pub(crate) const NODES: usize = 3;

/// Hits that are enough for a phase: about four seconds of them, long enough to look at.
const HITS_TO_SEE: u64 = 1_500;
/// An answer that took longer is told, once a phase: a lease, and so longer than a takeover has to wait for anything.
const SLOW: Duration = Duration::from_secs(1);
/// The longest that any phase may take. Twenty times what it takes on a quiet machine of two cores.
const PHASE_MAX: Duration = Duration::from_secs(20);
/// The longest that the story may take: it is promised to end within a minute.
const STORY_MAX: Duration = Duration::from_secs(52);
/// A node as the demo sees it.
#[derive(Default, Debug)]
pub(crate) struct Node {
    /// Of the newest process. `None` while there is none that serves.
    pub(crate) up: Option<Up>,
    /// The process that was killed on purpose.
    pub(crate) killed_run: Option<u32>,
    /// What it said last. `None`: nothing since it started.
    pub(crate) seen: Option<Seen>,
    /// Shards it owns: as it says itself, or while it is dead, as others say.
    pub(crate) shards: u64,
    pub(crate) answers: Meter,
}

/// A process that serves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Up {
    pub(crate) run: u32,
    pub(crate) pid: u32,
    pub(crate) http: SocketAddr,
}

/// Everything so far.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) phase: Phase,
    pub(crate) phase_since: Duration,
    pub(crate) nodes: [Node; NODES],
    pub(crate) victim: Option<usize>,
    pub(crate) takeover: Option<Takeover>,
    /// Time from the start of the victim's second process until it owned shards again and all was replicated.
    pub(crate) came_back: Option<Duration>,
    /// Hits without an answer that were sent to a node that was never killed: there should be none.
    pub(crate) failed_elsewhere: u64,
    /// All answers.
    pub(crate) answers: Meter,
    /// The longest that any client waited for an answer.
    pub(crate) slowest: Duration,
    /// Why the story ended before its end.
    pub(crate) trouble: Option<String>,
    /// What a node that ended by itself logged last.
    pub(crate) last_words: Vec<String>,
    pub(crate) log: Log,
    ledger: Ledger,
    audits: u32,
    effects: VecDeque<Effect>,
    in_phase: PhaseNotes,
    shards_before: u64,
    traffic: bool,
}

/// What has happened since the phase began.
#[derive(Default, Debug)]
struct PhaseNotes {
    answered: [u64; NODES],
    audited: bool,
    asked: bool,
    /// A slow answer was told.
    slow: bool,
}

impl Story {
    /// The story before its first event; its first effects start the nodes.
    pub(crate) fn new() -> Self {
        let mut story = Self {
            phase: Phase::Starting,
            phase_since: Duration::ZERO,
            nodes: Default::default(),
            victim: None,
            takeover: None,
            came_back: None,
            failed_elsewhere: 0,
            answers: Meter::default(),
            slowest: Duration::ZERO,
            trouble: None,
            last_words: Vec::new(),
            ledger: Ledger::new(),
            audits: 0,
            log: Log::default(),
            effects: (0..NODES)
                .map(|node| Effect::Start { node, run: 0 })
                .collect(),
            in_phase: PhaseNotes::default(),
            shards_before: 0,
            traffic: false,
        };
        story.say(
            Duration::ZERO,
            "starting three nodes, ack = \"replicated\"".to_owned(),
        );
        story
    }

    /// Takes the next effect. Drain to `None` after every `on_*` call.
    #[must_use]
    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Something has happened.
    pub(crate) fn on_event(&mut self, now: Duration, event: Event) {
        match event {
            Event::Ready {
                node,
                run,
                pid,
                http,
            } => self.on_ready(now, node, Up { run, pid, http }),
            Event::Ended {
                node,
                run,
                last_words,
            } => self.on_ended(now, node, run, last_words),
            Event::Said { node, text } => self.log.add(now, Speaker::Node(node), text),
            Event::Observed { node, run, seen } => self.on_observed(node, run, seen),
            Event::Answered {
                node,
                key,
                sent_at,
                took,
                admitted,
            } => {
                if let Some(takeover) = &mut self.takeover {
                    takeover.on_answered(key, sent_at, took);
                }
                self.on_answered(now, node, key, admitted);
                self.note_wait(now, node, key, took);
            }
            Event::Unanswered {
                node,
                key,
                sent_at,
                why,
            } => {
                self.on_unanswered(now, node, key, sent_at, &why);
            }
            Event::Located { owners } => self.on_located(now, &owners),
            Event::Killed {
                node,
                killed_at,
                dead_at,
            } => self.on_killed(now, node, killed_at, dead_at),
            Event::Audited { peeks, failed } => self.on_audited(now, &peeks, failed),
            Event::Quiet if self.phase == Phase::Quieting => {
                self.enter(now, Phase::Auditing);
                self.audit();
            }
            Event::Quiet => {}
        }
        self.advance(now);
    }

    /// Time has passed.
    pub(crate) fn on_tick(&mut self, now: Duration) {
        self.advance(now);
        let too_long = PHASE_MAX < now.saturating_sub(self.phase_since) || STORY_MAX < now;
        if self.phase != Phase::Over && too_long {
            let waited = now.saturating_sub(self.phase_since).as_secs();
            let what = self.phase.title(self.victim);
            let hint = self.missing();
            self.give_up(now, format!("gave up after {waited} s of: {what} ({hint})"));
        }
    }

    /// Whoever watches has seen enough.
    pub(crate) fn on_quit(&mut self, now: Duration) {
        self.give_up(now, "ended before its end".to_owned());
    }

    /// What the books say.
    pub(crate) fn totals(&self) -> Totals {
        self.ledger.totals()
    }

    /// Whether the cluster has been asked after the kill, so that [`Totals::forgotten`] says something.
    pub(crate) fn audited(&self) -> bool {
        0 < self.audits
    }

    /// Whether all went as promised. Final once the story is over.
    pub(crate) fn good(&self) -> bool {
        let totals = self.totals();
        let kept = totals.forgotten == 0 && totals.over_admitted == 0;
        let finished = self.phase == Phase::Over && self.trouble.is_none();
        finished && kept && self.came_back.is_some()
    }

    fn on_ready(&mut self, now: Duration, node: usize, up: Up) {
        let again = if up.run == 0 { "ready" } else { "ready again" };
        let Up { pid, http, .. } = up;
        self.nodes[node].up = Some(up);
        self.say(
            now,
            format!("{} is {again}: pid {pid}, http {http}", NAMES[node]),
        );
    }

    fn on_ended(&mut self, now: Duration, node: usize, run: u32, last_words: Vec<String>) {
        if self.nodes[node].killed_run != Some(run) {
            self.last_words = last_words;
            self.give_up(now, format!("{} ended by itself", NAMES[node]));
        }
    }

    fn on_observed(&mut self, node: usize, run: u32, seen: Seen) {
        if self.nodes[node].up.is_none_or(|up| up.run != run) {
            return;
        }
        for (other, &(_, shards)) in seen.members.iter().enumerate() {
            if other == node || self.nodes[other].up.is_none() {
                self.nodes[other].shards = shards;
            }
        }
        self.nodes[node].seen = Some(seen);
    }

    fn on_answered(&mut self, now: Duration, node: usize, key: usize, admitted: bool) {
        self.ledger.answered(key, admitted);
        self.nodes[node].answers.count(now);
        self.answers.count(now);
        self.in_phase.answered[node] += 1;
    }

    fn note_wait(&mut self, now: Duration, node: usize, key: usize, took: Duration) {
        self.slowest = self.slowest.max(took);
        if SLOW <= took && !self.in_phase.slow {
            self.in_phase.slow = true;
            let Key {
                limit_name, name, ..
            } = &KEYS[key];
            self.say(
                now,
                format!(
                    "slow: {limit_name} of {name} waited {} on {}",
                    seconds(took),
                    NAMES[node]
                ),
            );
        }
    }

    fn on_unanswered(
        &mut self,
        now: Duration,
        node: usize,
        key: usize,
        sent_at: Duration,
        why: &str,
    ) {
        self.ledger.unanswered(key);
        let takeover = self.takeover.as_ref();
        let died_with_it = takeover.is_some_and(|takeover| takeover.was_alive(sent_at));
        if self.victim == Some(node) && died_with_it {
            return;
        }
        if self.failed_elsewhere == 0 {
            self.say(now, format!("a hit on {} failed: {why}", NAMES[node]));
        }
        self.failed_elsewhere += 1;
    }

    fn on_located(&mut self, now: Duration, owners: &[Option<usize>]) {
        if self.phase != Phase::Killing {
            return;
        }
        let keys_of = |node| -> Vec<usize> {
            let keys = owners.iter().enumerate();
            keys.filter(|&(_, owner)| *owner == Some(node))
                .map(|(key, _)| key)
                .collect()
        };
        let Some(victim) = (0..NODES).max_by_key(|&node| keys_of(node).len()) else {
            return;
        };
        let keys = keys_of(victim);
        if keys.is_empty() {
            self.give_up(now, "no key has an owner".to_owned());
            return;
        }
        self.shards_before = self.nodes[victim].shards;
        self.victim = Some(victim);
        let shards = self.shards_before;
        let count = keys.len();
        let total = KEYS.len();
        let name = NAMES[victim];
        self.say(
            now,
            format!("{name} owns {shards} shards and {count} of {total} keys: kill -9 {name}"),
        );
        self.takeover = Some(Takeover::new(&keys));
        self.nodes[victim].killed_run = self.nodes[victim].up.take().map(|up| up.run);
        self.effects.push_back(Effect::Kill { node: victim });
    }

    fn on_killed(&mut self, now: Duration, node: usize, killed_at: Duration, dead_at: Duration) {
        self.nodes[node].seen = None;
        if let Some(takeover) = &mut self.takeover {
            takeover.on_killed(killed_at, dead_at);
            let keys = takeover.keys();
            self.effects.push_back(Effect::Probe { keys });
            self.enter(now, Phase::Takeover);
        }
    }

    fn on_audited(&mut self, now: Duration, peeks: &[Peek], failed: usize) {
        if 0 < failed {
            self.give_up(now, format!("{failed} keys could not be peeked at"));
            return;
        }
        peeks.iter().for_each(|&peek| self.ledger.audited(peek));
        self.audits += 1;
        self.in_phase.audited = true;
        let Totals {
            forgotten,
            over_admitted,
            ..
        } = self.totals();
        let nodes = self.nodes.iter().filter(|node| node.up.is_some()).count();
        let keys = KEYS.len();
        self.say(
            now,
            format!("{nodes} nodes asked about {keys} keys: {forgotten} hits forgotten, {over_admitted} over-admitted"),
        );
    }

    /// Goes on to the next phase once what this one waits for is so.
    fn advance(&mut self, now: Duration) {
        match self.phase {
            Phase::Starting if self.is_whole() => {
                let hits = KEYS.len();
                self.say(
                    now,
                    format!(
                        "three nodes share 1024 shards; clients hit {hits} keys through all of them"
                    ),
                );
                self.traffic = true;
                self.effects.push_back(Effect::StartTraffic);
                self.enter(now, Phase::Steady);
            }
            Phase::Steady if self.have_worked() && self.is_whole() => {
                self.enter(now, Phase::Killing);
                self.effects.push_back(Effect::Locate);
            }
            Phase::Takeover => self.end_takeover(now),
            Phase::Without => self.audit_without(now),
            Phase::Returning => self.end_return(now),
            Phase::Restored if self.have_worked() => {
                self.traffic = false;
                self.effects.push_back(Effect::StopTraffic);
                self.enter(now, Phase::Quieting);
            }
            Phase::Auditing if self.in_phase.audited => {
                self.enter(now, Phase::Over);
                self.say(now, self.verdict());
            }
            _ => {}
        }
    }

    fn end_takeover(&mut self, now: Duration) {
        let Some((takeover, all)) = self.takeover.as_ref().and_then(|it| Some((it, it.all()?)))
        else {
            return;
        };
        let first = takeover.first().unwrap_or(all);
        let text = format!(
            "taken over: first answer for its keys {} after the kill, all {} answered after {}",
            millis(first),
            takeover.keys().len(),
            millis(all)
        );
        self.say(now, text);
        self.enter(now, Phase::Without);
    }

    fn audit_without(&mut self, now: Duration) {
        if self.have_worked() && !self.in_phase.asked {
            self.in_phase.asked = true;
            self.audit();
        }
        if let (true, Some(node)) = (self.in_phase.audited, self.victim) {
            self.say(
                now,
                format!("starting {} again, under the same name", NAMES[node]),
            );
            self.effects.push_back(Effect::Start { node, run: 1 });
            self.enter(now, Phase::Returning);
        }
    }

    fn end_return(&mut self, now: Duration) {
        let Some(victim) = self.victim else { return };
        let shards = self.nodes[victim].shards;
        // Half of them: placement may differ a little from what it was, and has to balance again.
        if self.is_whole() && self.shards_before <= 2 * shards {
            let after = now.saturating_sub(self.phase_since);
            self.came_back = Some(after);
            let text = format!(
                "{} is back after {}: 3 members, {shards} shards its own",
                NAMES[victim],
                seconds(after)
            );
            self.say(now, text);
            self.enter(now, Phase::Restored);
        }
    }

    fn audit(&mut self) {
        let admitted = self.ledger.admitted();
        self.effects.push_back(Effect::Audit { admitted });
    }

    fn enter(&mut self, now: Duration, phase: Phase) {
        self.phase = phase;
        self.phase_since = now;
        self.in_phase = PhaseNotes::default();
    }

    /// Whether all three live, own shards and see each other, and every shard has its replicas.
    fn is_whole(&self) -> bool {
        self.nodes.iter().all(|node| {
            let Some(seen) = &node.seen else { return false };
            let all_own = seen
                .members
                .iter()
                .all(|&(alive, shards)| alive && 0 < shards);
            node.up.is_some() && all_own && seen.under_replicated == 0
        })
    }

    /// Whether this phase has had hits enough, a fair part of them through each live node.
    fn have_worked(&self) -> bool {
        let answered = self.in_phase.answered;
        let each = self
            .nodes
            .iter()
            .zip(answered)
            .all(|(node, answered)| node.up.is_none() || HITS_TO_SEE / 10 <= answered);
        each && HITS_TO_SEE <= answered.iter().sum()
    }

    /// What the phase still waits for, for whoever has to find out why.
    fn missing(&self) -> String {
        let seen = |node: &Node| match (&node.up, &node.seen) {
            (None, _) => "not serving".to_owned(),
            (_, None) => "silent".to_owned(),
            (_, Some(seen)) => {
                let alive = seen.members.iter().filter(|&&(alive, _)| alive).count();
                format!(
                    "sees {alive} alive, {} under-replicated",
                    seen.under_replicated
                )
            }
        };
        let nodes = self
            .nodes
            .iter()
            .zip(NAMES)
            .map(|(node, name)| format!("{name} {}", seen(node)));
        let nodes: Vec<String> = nodes.collect();
        let answered: u64 = self.in_phase.answered.iter().sum();
        format!("{}; {answered} hits answered", nodes.join(", "))
    }

    fn give_up(&mut self, now: Duration, why: String) {
        if self.phase == Phase::Over {
            return;
        }
        self.trouble = Some(why);
        if self.traffic {
            self.effects.push_back(Effect::StopTraffic);
        }
        self.enter(now, Phase::Over);
        self.say(now, self.verdict());
    }

    /// How it ended, in one line.
    pub(crate) fn verdict(&self) -> String {
        if let Some(trouble) = &self.trouble {
            return format!("NOT AS PROMISED: {trouble}");
        }
        let Totals {
            forgotten,
            over_admitted,
            ..
        } = self.totals();
        if self.good() {
            return "AS PROMISED: nothing forgotten, nothing over-admitted, and the node is back"
                .to_owned();
        }
        format!("NOT AS PROMISED: {forgotten} hits forgotten, {over_admitted} over-admitted")
    }

    fn say(&mut self, now: Duration, text: String) {
        self.log.add(now, Speaker::Demo, text);
    }
}
