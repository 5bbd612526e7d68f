//! The state machine: heartbeats out, evidence in, leases and a view as the result.

mod belonging;
mod council;
mod evidence;
mod names;
mod restart;

use std::collections::{BTreeMap, VecDeque};

use delta_crdt::{ReplicaId, Term};
use quota::{BootNanos, Nanos};

use crate::council::{Chair, Council, CouncilId};
use crate::leases::Leases;
use crate::quorum::{self, Heard};
use crate::roster::{Contact, Member, Roster, Standing};
use crate::view::{Seen, Status, View};

use belonging::LetGo;

/// The spans that liveness is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Between two heartbeat rounds. A tenth of the lease, so that nine may be lost before one runs out.
    pub heartbeat_every: Nanos,
    /// What an acknowledged heartbeat grants its sender, from the moment that it was *sent*.
    pub lease: Nanos,
    /// Added to a grant by the one who gives it: covers clocks that run at different speeds.
    /// 10 ms in a second is a hundred times what a bad quartz drifts.
    pub drift: Nanos,
    /// Silence after which a member is shown as suspect.
    pub suspect_after: Nanos,
    /// How long the old holder of a name is asked before a newcomer gets it.
    pub name_patience: Nanos,
    /// Whether a majority decides, so that who counts towards it is agreed upon: [`Council`].
    pub quorum: bool,
    /// Who left is listed for at least so long, lest a message that was under way brings it back. Longer than any frame
    /// of the data plane waits: a connection whose bytes stay unread is closed after 3 s.
    pub remember_left: Nanos,
    /// Who has been dead for so long, and is named by no shard, is let go of. `None`: never, for the dead count towards
    /// a majority until an operator forgets them.
    pub forget_after: Option<Nanos>,
    /// Between two looks at where those who were let go of used to be, one of them at a time. A partition that lasted
    /// longer than `forget_after` heals by them; one connection in ten seconds is nothing to anybody.
    pub look_every: Nanos,
}

impl Settings {
    /// For nodes whose round trips stay well below 100 ms.
    #[must_use]
    pub const fn lan() -> Self {
        Self {
            heartbeat_every: Nanos::from_millis(100),
            lease: Nanos::from_millis(1_000),
            drift: Nanos::from_millis(10),
            suspect_after: Nanos::from_millis(350),
            name_patience: Nanos::from_millis(500),
            quorum: false,
            remember_left: Nanos::from_secs(10),
            forget_after: None,
            look_every: Nanos::from_secs(10),
        }
    }
}

/// What members say to each other. Every message may be lost, repeated and reordered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Asks for an answer, and for a lease.
    Heartbeat {
        /// When it was sent, by the sender's clock: it comes back in the answer.
        sent: BootNanos,
        /// Digest of the sender's roster; a receiver with another one sends its own: [`Roster::digest`].
        roster: u64,
        /// Whether the sender's clock is off, so that others should decide: [`Membership::on_aside`].
        aside: bool,
        /// The age of the oldest write of the sender that the receiver should have and has not confirmed.
        behind: Nanos,
        /// How much longer the sender holds the leases of a majority if it hears nothing more. Zero: it holds none.
        quorum_left: Nanos,
        /// Which composition of those who count the sender goes by. `None`: it knows of no such thing, and goes by all.
        council: Option<CouncilId>,
        /// Whether the sender knows what a majority knew when it joined, so that it could count itself.
        recalled: bool,
    },
    /// Answers a heartbeat.
    Answer {
        /// Of the heartbeat answered.
        sent: BootNanos,
        /// Whether the answer is a lease, too. A node that holds the sender for dead answers without.
        granted: bool,
    },
    /// Everything the sender knows of who belongs: [`Roster::facts`]. Idempotent.
    Roster(Vec<Member>),
    /// Who counts; a later one overrides it.
    Council(Council),
}

/// Work for the driver, to be done in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send to a member; losing it is repaired by the next heartbeat.
    Send {
        /// Where to.
        to: ReplicaId,
        /// What.
        message: Message,
    },
    /// The view changed: look at every shard again.
    ViewChanged,
    /// [`Membership::addresses`] changed: dial these and no others.
    RosterChanged,
    /// Look once whether somebody is there who was let go of.
    LookAt {
        /// `ADDR:PORT`, as it was told.
        address: String,
    },
    /// Evidence said that this member's process was gone, and it has proven that it lives.
    Disproved {
        /// Which one.
        replica: ReplicaId,
    },
    /// Another incarnation has this node's name, or it was forgotten: stop at once, decide nothing.
    Fenced,
}

/// The answer to a newcomer who wants a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameVerdict {
    /// The name is free, or its old holder did not answer: join under this incarnation.
    Granted {
        /// Higher than any seen under the name.
        incarnation: u64,
    },
    /// The old holder answers.
    Taken,
    /// Ask again in a moment: it is being asked, or has left, and the name would stop the others if it came back now.
    Asking,
}

#[derive(Debug)]
struct Peer {
    status: Status,
    /// Send time of the newest heartbeat of ours that it answered.
    answered: Option<BootNanos>,
    /// Dead only when silent since then: when it was met, or when this node woke from a pause.
    heard_from: BootNanos,
    /// What its newest heartbeat said, and when that came in.
    said: Option<Said>,
    /// Since when there is evidence that its process is gone.
    gone_at: Option<BootNanos>,
    /// It is not alive before, whatever it proves. Evidence promised away what it may still hold a lease for: it has to
    /// find that lease lapsed, and claim anew.
    barred_until: BootNanos,
    /// When it was not dead for the last time.
    alive_at: BootNanos,
    /// Another live member has let go of it already.
    is_unlisted: bool,
}

impl Peer {
    /// Not believed alive before it has answered once.
    fn met(now: BootNanos) -> Self {
        Self {
            status: Status::Dead,
            answered: None,
            heard_from: now,
            said: None,
            gone_at: None,
            barred_until: BootNanos::default(),
            alive_at: now,
            is_unlisted: false,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Said {
    /// By its own clock: heartbeats may be reordered.
    sent: BootNanos,
    at: BootNanos,
    roster: u64,
    aside: bool,
    behind: Nanos,
    quorum_left: Nanos,
    council: Option<CouncilId>,
    recalled: bool,
}

impl Said {
    /// Whether who said this knows what a majority knows. One that knows of no council does not say.
    fn remembers(&self, quorum: bool) -> bool {
        !quorum || self.council.is_none() || self.recalled
    }

    /// Whether who said this holds a majority. One that knows of no council does not say.
    fn holds_quorum(&self, quorum: bool) -> bool {
        !quorum || self.council.is_none() || self.quorum_left != Nanos::ZERO
    }
}

/// One node's knowledge of its cluster.
///
/// Call [`Membership::on_tick`] at least every half heartbeat, any `on_*` whenever something comes in,
/// and drain [`Membership::next_effect`] after each. `now` must never go back.
#[derive(Debug)]
pub struct Membership {
    me: Member,
    settings: Settings,
    roster: Roster,
    peers: BTreeMap<ReplicaId, Peer>,
    leases: Leases,
    view: View,
    /// Who counts. `None`: all who belong.
    pub(crate) council: Option<Council>,
    chair: Option<Chair>,
    recalled: bool,
    started: BootNanos,
    last_tick: BootNanos,
    last_heartbeat: Option<BootNanos>,
    aside: bool,
    behind: BTreeMap<ReplicaId, Nanos>,
    names_asked: BTreeMap<String, BootNanos>,
    /// When it was heard of members of the roster that they belong no longer.
    departed: BTreeMap<String, BootNanos>,
    /// Addresses of replaced incarnations that may still hold a lease of this node.
    replaced: BTreeMap<ReplicaId, String>,
    let_go: LetGo,
    effects: VecDeque<Effect>,
}

impl Membership {
    /// A node that starts. `joins` says that it enters a cluster that exists: it then promises
    /// nothing for the span of a lease, since it cannot know what an earlier incarnation of it granted.
    #[must_use]
    pub fn new(now: BootNanos, me: Member, settings: Settings, joins: bool) -> Self {
        let mut roster = Roster::default();
        roster.join(&me);
        let mut leases = Leases::default();
        if joins {
            leases.silent_until = now + settings.lease + settings.drift;
            leases.is_newcomer = true;
        }
        leases.quorum.judged_from = now + settings.suspect_after;
        let founds =
            (settings.quorum && !joins).then(|| Council::founded_by(me.replica, [me.name.clone()]));
        let mut membership = Self {
            me,
            settings,
            roster,
            peers: BTreeMap::new(),
            leases,
            view: View::default(),
            council: founds,
            chair: None,
            recalled: !joins,
            started: now,
            last_tick: now,
            last_heartbeat: None,
            aside: false,
            behind: BTreeMap::new(),
            names_asked: BTreeMap::new(),
            departed: BTreeMap::new(),
            replaced: BTreeMap::new(),
            let_go: LetGo::new(now),
            effects: VecDeque::new(),
        };
        membership.refresh_view();
        membership
    }

    /// Takes the next effect. Drain to `None` after every `on_*` call.
    #[must_use]
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// This node.
    #[must_use]
    pub fn me(&self) -> &Member {
        &self.me
    }

    /// Who belongs.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Who is alive.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Leases and grants as they are now.
    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// What this node believes of a member. `None`: not of this roster.
    #[must_use]
    pub fn status(&self, replica: ReplicaId) -> Option<Status> {
        if replica == self.me.replica {
            return Some(if self.me.standing == Standing::Leaving {
                Status::Leaving
            } else {
                Status::Alive
            });
        }
        let member = self.roster.by_replica(replica)?;
        let status = self
            .peers
            .get(&replica)
            .map_or(Status::Dead, |peer| peer.status);
        Some(match (status, member.standing) {
            (Status::Dead, _) | (_, Standing::Left | Standing::Forgotten) => Status::Dead,
            (_, Standing::Leaving) => Status::Leaving,
            (status, _) => status,
        })
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now: BootNanos) {
        // A node that was paused has heard nobody, and that says nothing about them.
        let slept = now - self.last_tick;
        if self.settings.suspect_after < slept {
            for peer in self.peers.values_mut() {
                peer.heard_from = now;
                peer.alive_at = peer.alive_at + slept;
            }
            self.leases.quorum.judged_from = now + self.settings.suspect_after;
        }
        self.last_tick = now;
        self.leases.quorum.judged_until = now + self.settings.suspect_after;
        let due = self
            .last_heartbeat
            .is_none_or(|last| self.settings.heartbeat_every <= now - last);
        if due {
            self.last_heartbeat = Some(now);
            let peers: Vec<ReplicaId> = self.peers.keys().copied().collect();
            for to in peers {
                self.send_heartbeat(now, to);
            }
            self.tidy(now);
        }
        let mut changed = false;
        for peer in self.peers.values_mut() {
            let heard = peer.answered.unwrap_or_default().max(peer.heard_from);
            let silent_for = now - heard;
            let status = if self.settings.lease <= silent_for {
                Status::Dead
            } else if peer.status == Status::Alive && self.settings.suspect_after < silent_for {
                Status::Suspect
            } else {
                peer.status
            };
            changed |= status.in_view() != peer.status.in_view();
            peer.status = status;
            if status.in_view() {
                peer.alive_at = now;
            }
        }
        if changed {
            self.refresh_view();
        }
        self.step_council(now);
    }

    /// This node founds a cluster with those of these names, who count from the first moment on.
    pub fn on_founding(&mut self, names: impl IntoIterator<Item = String>) {
        if let Some(council) = &mut self.council {
            council.names.extend(names);
            self.refresh_view();
        }
    }

    /// Who counts, met or not, and neither left nor forgotten: the members of this cluster, should all of them be stopped.
    #[must_use]
    pub fn counting(&self) -> Vec<Member> {
        let unmet = |name: &String| Member {
            name: name.clone(),
            incarnation: 0,
            replica: ReplicaId(0),
            standing: Standing::Joined,
            contact: Contact::default(),
        };
        let council = self.council.iter().flat_map(|council| &council.names);
        let unmet = council
            .filter(|name| self.roster.get(name).is_none())
            .map(unmet);
        let met = self.roster.iter();
        let met = met.filter(|member| member.belongs() && self.counts(member));
        met.cloned().chain(unmet).collect()
    }

    /// Whether this node owns the shard that goes with the right to change who counts, and under which term.
    pub fn on_chair(&mut self, term: Option<Term>) {
        if self.chair.as_ref().map(Chair::term) != term {
            self.chair = term.map(Chair::new);
        }
    }

    /// Whether this node, a newcomer under `quorum`, knows what a majority knows of every shard.
    pub fn on_recalled(&mut self, recalled: bool) {
        self.recalled = recalled;
    }

    /// Whether others should decide in this node's place, because its clock is off. Unlike leaving it can be
    /// taken back, and the node goes on holding copies; heartbeats tell the others.
    pub fn on_aside(&mut self, aside: bool) {
        self.aside = aside;
        self.refresh_view();
    }

    /// The ages of the oldest writes of this node that its peers should have and have not confirmed. Whoever is not
    /// named has everything. Told with the next heartbeats; call it about as often.
    pub fn on_behind(&mut self, behind: BTreeMap<ReplicaId, Nanos>) {
        self.behind = behind;
    }

    /// Since when this node has had no sign of life of a member. `None`: not of this roster, or this node itself.
    #[must_use]
    pub fn silent_since(&self, replica: ReplicaId) -> Option<BootNanos> {
        let peer = self.peers.get(&replica)?;
        let said = peer.said.map(|said| said.at);
        peer.answered.max(said).or(Some(peer.heard_from))
    }

    /// At most this old is what this node lacks of the writes of `owner`: what the owner said last, and the time since
    /// then. `None`: it has said nothing.
    #[must_use]
    pub fn staleness(&self, now: BootNanos, owner: ReplicaId) -> Option<Nanos> {
        let said = self.peers.get(&owner)?.said?;
        Some(said.behind + (now - said.at))
    }

    /// A message of a member came in.
    pub fn on_message(&mut self, now: BootNanos, from: ReplicaId, message: Message) {
        match message {
            Message::Heartbeat {
                sent,
                roster,
                aside,
                behind,
                quorum_left,
                council,
                recalled,
            } => {
                let said = Said {
                    sent,
                    at: now,
                    roster,
                    aside,
                    behind,
                    quorum_left,
                    council,
                    recalled,
                };
                self.on_heartbeat(now, from, said);
            }
            Message::Answer { sent, granted } => self.on_answer(now, from, sent, granted),
            Message::Council(council) => self.adopt(council),
            Message::Roster(facts) => self.on_roster(now, from, &facts),
        }
        self.refresh_quorum();
    }

    fn on_heartbeat(&mut self, now: BootNanos, from: ReplicaId, said: Said) {
        if said.roster != self.roster.digest() {
            self.send(from, Message::Roster(self.roster.facts()));
        }
        let quorum = self.settings.quorum;
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        let mut moved = false;
        if peer.said.is_none_or(|before| before.sent <= said.sent) {
            let before = peer.said.replace(said);
            let about = |said: Said| {
                let remembers = said.remembers(quorum);
                (said.aside, remembers, said.holds_quorum(quorum))
            };
            moved = before.map(about) != Some(about(said));
        }
        // Whoever is held for dead gets no lease: its shards may be promised to others by now. Nor does, under `quorum`,
        // who goes by an older composition: it could have a majority of those that another majority has added to.
        let known = self.council.as_ref().map_or(CouncilId::NONE, |it| it.id);
        let is_older = said.council.unwrap_or_default() < known;
        let granted = peer.status != Status::Dead && !is_older;
        if granted {
            let grant = &mut self.leases.peers.entry(from).or_default().granted_until;
            *grant = (*grant).max(now + self.settings.lease + self.settings.drift);
        }
        let sent = said.sent;
        self.send(from, Message::Answer { sent, granted });
        if let Some(council) = self.council.clone().filter(|_| is_older) {
            self.send(from, Message::Council(council));
        }
        if moved {
            self.refresh_view();
        }
    }

    fn refresh_view(&mut self) {
        let seen = |member: &Member, aside: bool| Seen {
            replica: member.replica,
            name: member.name.clone(),
            zone: member.contact.zone.clone(),
            takes_shards: member.standing == Standing::Joined && self.counts(member),
            aside,
            remembers: true,
            holds_quorum: true,
        };
        let mut members = vec![seen(&self.me, self.aside)];
        for (&replica, peer) in &self.peers {
            let member = self.roster.by_replica(replica);
            let member = member.filter(|member| peer.status.in_view() && member.belongs());
            let Some(member) = member else { continue };
            let quorum = self.settings.quorum;
            members.push(match peer.said {
                Some(said) => Seen {
                    remembers: said.remembers(quorum),
                    holds_quorum: said.holds_quorum(quorum),
                    ..seen(member, said.aside)
                },
                None => seen(member, false),
            });
        }
        let counts = |member: &&Member| member.belongs() && self.counts(member);
        let belonging = self.roster.iter().filter(counts);
        let belonging: Vec<ReplicaId> = belonging.map(|member| member.replica).collect();
        let (council, counting) = match &self.council {
            Some(council) => {
                let names = council.names.iter().filter(|name| !self.is_gone(name));
                (council.id, names.count())
            }
            None => (CouncilId::NONE, belonging.len()),
        };
        let view = View::new(members, belonging, council, counting);
        if view != self.view {
            let mut belonging = view.belonging().iter();
            let is_known_lost = self.leases.no_quorum_since(self.last_tick).is_some();
            if !is_known_lost && belonging.any(|&member| !self.view.counts(member)) {
                // More are needed now, and who is new has not been asked yet. Where too few were reached already, nobody
                // decides before the new one has answered: who asks meanwhile need not wait for that.
                let judged_from = &mut self.leases.quorum.judged_from;
                *judged_from = (self.last_tick + self.settings.suspect_after).max(*judged_from);
            }
            self.view = view;
            self.effects.push_back(Effect::ViewChanged);
            self.refresh_quorum();
        }
    }

    /// This node's own quorum, without what it reaches through others.
    fn quorum_until(&self) -> BootNanos {
        let me = self.me.replica;
        let members = self.view.belonging().iter().copied();
        let others = members.filter(|&member| member != me);
        let own_vote = usize::from(self.view.counts(me));
        quorum::held_until(&self.leases, others, self.view.majority() - own_vote)
    }

    fn refresh_quorum(&mut self) {
        let heard = self.peers.iter().filter_map(|(&member, peer)| {
            let said = peer.said?;
            let heard = Heard {
                at: said.at,
                left: said.quorum_left,
            };
            Some((member, heard))
        });
        let reached = quorum::reached_until(&self.leases, heard);
        // Before its start this node had nothing to lose.
        let until = self.quorum_until().max(reached);
        self.leases.quorum.until = until.max(self.started);
    }

    fn send_heartbeat(&mut self, now: BootNanos, to: ReplicaId) {
        let heartbeat = Message::Heartbeat {
            sent: now,
            roster: self.roster.digest(),
            aside: self.aside,
            behind: self.behind.get(&to).copied().unwrap_or_default(),
            quorum_left: self.quorum_until() - now,
            council: Some(self.view.council()),
            recalled: self.recalled,
        };
        self.send(to, heartbeat);
    }

    fn send(&mut self, to: ReplicaId, message: Message) {
        self.effects.push_back(Effect::Send { to, message });
    }
}
