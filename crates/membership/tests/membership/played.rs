//! One machine, whose others are played by the test; and several that talk over a network without delay.

use std::collections::BTreeMap;

use delta_crdt::ReplicaId;
use membership::{
    Contact, Effect, Member, Membership, Message, NameVerdict, Settings, Standing, Status,
};
use quota::{BootNanos, Nanos};

/// Replica of the node under test.
pub(crate) const ME: u32 = 1;

/// A member under its first incarnation, at an address of its own.
pub(crate) fn member(name: &str, replica: u32) -> Member {
    Member {
        name: name.into(),
        incarnation: 1,
        replica: ReplicaId(replica),
        standing: Standing::Joined,
        contact: Contact {
            cluster: format!("{name}:4100"),
            ..Contact::default()
        },
    }
}

/// As the product, with an hour for the dead.
pub(crate) fn settings() -> Settings {
    Settings {
        forget_after: Some(Nanos::from_secs(3_600)),
        ..Settings::lan()
    }
}

/// A node called `ada`, at a time that the test moves.
pub(crate) struct Node {
    pub(crate) machine: Membership,
    pub(crate) millis: u64,
    /// What it has left to be done so far, but for heartbeats.
    pub(crate) done: Vec<Effect>,
    /// Its heartbeats: to whom, and sent when.
    pub(crate) heartbeats: Vec<(ReplicaId, BootNanos)>,
}

impl Node {
    /// A node that founded a cluster.
    pub(crate) fn new() -> Self {
        Self::with(settings(), false)
    }

    pub(crate) fn with(settings: Settings, joins: bool) -> Self {
        Self {
            machine: Membership::new(at(1_000), member("ada", ME), settings, joins),
            millis: 1_000,
            done: Vec::new(),
            heartbeats: Vec::new(),
        }
    }

    /// A node that sees these alive: they have answered what it sent after 1 000 ms.
    pub(crate) fn among(names: &[&str]) -> Self {
        let mut node = Self::new();
        for (replica, name) in (2..).zip(names) {
            node.meets(&member(name, replica));
        }
        node
    }

    pub(crate) fn now(&self) -> BootNanos {
        at(self.millis)
    }

    pub(crate) fn act<R>(&mut self, act: impl FnOnce(&mut Membership, BootNanos) -> R) -> R {
        let now = self.now();
        let result = act(&mut self.machine, now);
        while let Some(effect) = self.machine.next_effect() {
            match effect {
                Effect::Send {
                    to,
                    message: Message::Heartbeat { sent, .. },
                } => self.heartbeats.push((to, sent)),
                effect => self.done.push(effect),
            }
        }
        result
    }

    /// A member is connected and answers.
    pub(crate) fn meets(&mut self, member: &Member) {
        self.act(|machine, now| machine.on_introduced(now, member));
        self.answers(member.replica.0);
    }

    /// Answers, with a lease, the newest heartbeat that was sent to it.
    pub(crate) fn answers(&mut self, from: u32) {
        let to_it = |(to, _): &&(ReplicaId, BootNanos)| to.0 == from;
        let newest = self.heartbeats.iter().rev().find(to_it);
        let sent = newest.expect("it has been sent a heartbeat").1;
        self.hears(
            from,
            Message::Answer {
                sent,
                granted: true,
            },
        );
    }

    /// A heartbeat of another, sent now by its own clock, with this roster.
    pub(crate) fn hears_heartbeat(&mut self, from: u32, roster: u64) {
        let heartbeat = Message::Heartbeat {
            sent: at(7_000 + self.millis),
            roster,
            aside: false,
            behind: Nanos::ZERO,
            quorum_left: Nanos::ZERO,
            council: None,
            recalled: true,
        };
        self.hears(from, heartbeat);
    }

    pub(crate) fn hears(&mut self, from: u32, message: Message) {
        self.act(|machine, now| machine.on_message(now, ReplicaId(from), message));
    }

    /// Time passes, with a tick every 25 ms as the driver has it.
    pub(crate) fn passes(&mut self, millis: u64) {
        self.passes_while(millis, &[]);
    }

    /// Time passes, and these answer every heartbeat. Hours pass at ticks of 300 ms, just below what looks like a pause.
    pub(crate) fn passes_while(&mut self, millis: u64, answering: &[u32]) {
        let until = self.millis + millis;
        let tick = if millis < 100_000 { 25 } else { 300 };
        while self.millis < until {
            self.millis = until.min(self.millis + tick);
            self.act(|machine, now| machine.on_tick(now));
            for &from in answering {
                self.answers(from);
            }
        }
    }

    pub(crate) fn status(&self, replica: u32) -> Option<Status> {
        self.machine.status(ReplicaId(replica))
    }

    /// Whether the lease that `owner` was given need not be waited for.
    pub(crate) fn may_promise_against(&self, owner: u32) -> bool {
        let leases = self.machine.leases();
        leases.may_promise_against(self.now(), ReplicaId(owner))
    }

    /// Whether the last heartbeat of `from` was answered with a lease.
    pub(crate) fn grants(&mut self, from: u32) -> bool {
        let roster = self.machine.roster().digest();
        self.hears_heartbeat(from, roster);
        let answers = self.done.iter().rev().find_map(|effect| match effect {
            Effect::Send {
                to,
                message: Message::Answer { granted, .. },
            } if to.0 == from => Some(*granted),
            _ => None,
        });
        answers.expect("every heartbeat of a member is answered")
    }

    pub(crate) fn dials(&self) -> Vec<&str> {
        self.machine
            .addresses()
            .map(|(address, _)| address)
            .collect()
    }

    pub(crate) fn wants_name(&mut self, name: &str, address: &str) -> NameVerdict {
        self.act(|machine, now| machine.on_name_wanted(now, name, address))
    }

    /// Whether an effect like this was left since the last call, and forgets all that were.
    pub(crate) fn has_done(&mut self, effect: &Effect) -> bool {
        std::mem::take(&mut self.done).contains(effect)
    }
}

/// Several machines that reach each other at once, unless they are down or cut off.
pub(crate) struct Town {
    pub(crate) machines: BTreeMap<ReplicaId, Membership>,
    /// Who is cut off from all others.
    pub(crate) cut_off: Vec<ReplicaId>,
    pub(crate) millis: u64,
    last_replica: u32,
    settings: Settings,
}

impl Town {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            machines: BTreeMap::new(),
            cut_off: Vec::new(),
            millis: 1_000,
            last_replica: 0,
            settings,
        }
    }

    /// A node of that name starts and joins through the first one that is there.
    pub(crate) fn starts(&mut self, name: &str) -> ReplicaId {
        self.last_replica += 1;
        let now = at(self.millis);
        let mut me = member(name, self.last_replica);
        me.contact.cluster = format!("{name}:{}", self.last_replica);
        let address = me.contact.cluster.clone();
        let replica = me.replica;
        let seed = self.machines.values_mut().next();
        let joins = seed.is_some();
        let mut facts = Vec::new();
        if let Some(seed) = seed {
            let NameVerdict::Granted { incarnation } = seed.on_name_wanted(now, name, &address)
            else {
                panic!("{name} is free");
            };
            me.incarnation = incarnation;
            facts = seed.roster().facts();
        }
        let mut machine = Membership::new(now, me, self.settings, joins);
        machine.on_message(now, replica, Message::Roster(facts));
        self.machines.insert(replica, machine);
        self.settle();
        replica
    }

    /// Its process ends without a word; its host refuses connections.
    pub(crate) fn dies(&mut self, replica: ReplicaId) {
        self.machines.remove(&replica);
        for machine in self.machines.values_mut() {
            machine.on_disconnected(replica);
            machine.on_process_gone(at(self.millis), replica);
        }
        self.settle();
    }

    pub(crate) fn leaves(&mut self, replica: ReplicaId) {
        let now = at(self.millis);
        let machine = self.machines.get_mut(&replica).expect("it is here");
        machine.on_leave(now);
        machine.on_left(now);
        self.settle();
        self.machines.remove(&replica);
    }

    /// Time passes, with a tick every 50 ms.
    pub(crate) fn passes(&mut self, millis: u64) {
        let until = self.millis + millis;
        while self.millis < until {
            self.millis += 50;
            let now = at(self.millis);
            for machine in self.machines.values_mut() {
                machine.on_tick(now);
                for replica in machine.long_dead(now) {
                    machine.on_unnamed(now, replica);
                }
            }
            self.settle();
        }
    }

    pub(crate) fn machine(&self, replica: ReplicaId) -> &Membership {
        &self.machines[&replica]
    }

    /// Carries out effects until none is left.
    fn settle(&mut self) {
        let now = at(self.millis);
        loop {
            let mut work = Vec::new();
            for (&from, machine) in &mut self.machines {
                let mut redials = false;
                while let Some(effect) = machine.next_effect() {
                    match effect {
                        Effect::RosterChanged => redials = true,
                        effect => work.push((from, effect)),
                    }
                }
                // Once, however many facts were new: as the driver does.
                work.extend(redials.then_some((from, Effect::RosterChanged)));
            }
            if work.is_empty() {
                return;
            }
            for (from, effect) in work {
                match effect {
                    Effect::Send { to, message } if self.reaches(from, to) => {
                        let to = self.machines.get_mut(&to).expect("it is reached");
                        to.on_message(now, from, message);
                    }
                    Effect::RosterChanged => {
                        let addresses = self.machines[&from].addresses();
                        let others: Vec<ReplicaId> =
                            addresses.map(|(_, replica)| replica).collect();
                        for to in others {
                            self.introduce(from, to);
                        }
                    }
                    Effect::LookAt { address } => {
                        let there = |machine: &&Membership| machine.me().contact.cluster == address;
                        if let Some(to) = self.machines.values().find(there) {
                            self.introduce(from, to.me().replica);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn reaches(&self, from: ReplicaId, to: ReplicaId) -> bool {
        self.machines.contains_key(&to)
            && !self.cut_off.contains(&from)
            && !self.cut_off.contains(&to)
    }

    fn introduce(&mut self, a: ReplicaId, b: ReplicaId) {
        if !self.reaches(a, b) {
            return;
        }
        let now = at(self.millis);
        let (one, other) = (
            self.machines[&a].me().clone(),
            self.machines[&b].me().clone(),
        );
        for (to, member) in [(a, other), (b, one)] {
            let machine = self.machines.get_mut(&to).expect("it is reached");
            machine.on_introduced(now, &member);
        }
    }
}

pub(crate) fn at(millis: u64) -> BootNanos {
    BootNanos::new(millis * 1_000_000)
}
