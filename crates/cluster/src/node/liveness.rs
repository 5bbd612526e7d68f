//! Drives the membership machine, and tells the shards what it finds.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use delta_crdt::ReplicaId;
use hash_ring::Ring;
use membership::{Contact, Effect, Member, Membership, Standing, View};
use quota::BootNanos;

use super::Cluster;
use super::slots::{SHARDS, World};
use crate::discovery::Seed;
use crate::wire::{self, Frame};
use transport::Lane;
use transport::handshake::Hello;

impl Cluster {
    /// Lets the machine take something in, publishes what it then knows, and carries out its effects.
    pub(crate) fn with_membership<R>(
        &self,
        act: impl FnOnce(&mut Membership, BootNanos) -> R,
    ) -> Option<R> {
        let now = self.inner.clock.now().boot;
        let mut guard = match self.inner.membership.lock() {
            Ok(guard) => guard,
            Err(poisoned) => self.restart_membership(now, poisoned.into_inner()),
        };
        let membership = guard.as_mut()?;
        let result = act(membership, now);
        let mut effects = Vec::new();
        while let Some(effect) = membership.next_effect() {
            effects.push(effect);
        }
        // Published before any answer leaves: a grant must be known here before it is used there.
        let view_changed = effects.contains(&Effect::ViewChanged);
        let news = self.publish(membership, view_changed);
        if effects.contains(&Effect::RosterChanged) {
            self.dial(membership);
        }
        drop(guard);
        for effect in effects {
            match effect {
                Effect::Send { to, message } => {
                    // Lost without a connection; the next heartbeat repairs it.
                    let _lost = self.inner.transport.send(
                        to,
                        Lane::Urgent,
                        wire::encode(&Frame::Membership(message)),
                    );
                }
                Effect::Fenced => {
                    tracing::error!(node = %self.inner.config.name, "fenced by a newer incarnation, stopping");
                    self.inner.stopped.store(true, Ordering::Relaxed);
                    self.inner.fenced.send_replace(true);
                }
                Effect::LookAt { address } => self.inner.transport.look_at(&address),
                Effect::Disproved { replica } => {
                    self.inner.metrics.disproved.increment(1);
                    tracing::warn!(node = %self.name_of(replica), "was held for gone, and lives");
                }
                Effect::ViewChanged | Effect::RosterChanged => {}
            }
        }
        if view_changed || news.is_some() {
            let world = self.inner.slots.world.load();
            tracing::info!(view = %format_args!("{:016x}", world.view.digest()), members = world.view.members().len(), "view changed");
            self.inner.view_changes.send_replace(());
        }
        if let Some([before, now]) = news {
            self.log_members(&before, &now);
            // Last, and under no lock: it waits for whoever works with the records.
            self.tell_members();
        }
        Some(result)
    }

    /// The machine panicked: a fresh one goes on with the facts that it knew. What this node knows of leases stays
    /// published meanwhile, and runs out unless the fresh one renews it.
    fn restart_membership<'a>(
        &'a self,
        now: BootNanos,
        mut guard: MutexGuard<'a, Option<Membership>>,
    ) -> MutexGuard<'a, Option<Membership>> {
        self.inner.membership.clear_poison();
        self.inner.metrics.restarted.increment(1);
        tracing::error!("the membership machine panicked, starting it again");
        *guard = guard.take().map(|broken| broken.restarted(now));
        if let Some(fresh) = guard.as_mut() {
            // As after joining: a node that sees nobody yet must not take every shard for its own.
            let was_alone = self.inner.slots.world.load().view.members().len() <= 1;
            self.inner.joined.store(was_alone, Ordering::Release);
            for peer in self.inner.transport.peers() {
                fresh.on_introduced(now, &member_of(&peer));
            }
        }
        guard
    }

    /// Returns the view before and the one now, if that is another.
    fn publish(&self, membership: &Membership, view_changed: bool) -> Option<[View; 2]> {
        let old = self.inner.slots.world.load();
        let view = membership.view().clone();
        if 1 < view.members().len() {
            self.inner.joined.store(true, Ordering::Release);
        }
        if !self.inner.joined.load(Ordering::Acquire) {
            // Whom it joined has not answered yet: a newcomer alone must not take every shard for its own.
            return None;
        }
        // And those that came into a new cluster with it may know better than it does.
        if old.orders.is_empty() && !self.has_begun(self.inner.clock.now().boot, &view) {
            return None;
        }
        let is_news = view_changed || old.orders.is_empty();
        let orders = if is_news {
            Arc::new(orders(&view))
        } else {
            Arc::clone(&old.orders)
        };
        let news = is_news.then(|| [old.view.clone(), view.clone()]);
        let leases = membership.leases().clone();
        self.inner.slots.publish(World {
            view,
            leases,
            orders,
        });
        news
    }

    /// Dials those who belong and the addresses given with `--join`, and nobody else.
    pub(super) fn dial(&self, membership: &Membership) {
        let seeds = self.inner.config.join.iter().filter_map(|seed| match seed {
            Seed::Node(address) => Some((address.as_str(), None)),
            _ => None,
        });
        let members = membership
            .addresses()
            .map(|(address, replica)| (address, Some(replica)));
        self.inner.transport.dial_only(members.chain(seeds));
    }

    /// From now on the dead have a vote, until an operator forgets them.
    pub fn give_the_dead_votes(&self) {
        self.with_membership(|membership, _| membership.on_votes());
    }

    /// Lets go of members that have been dead for long, unless a shard's record names them.
    pub(super) fn let_go(&self) {
        let long_dead = self.with_membership(|membership, now| membership.long_dead(now));
        let long_dead = long_dead.unwrap_or_default();
        if long_dead.is_empty() {
            return;
        }
        let named: BTreeSet<ReplicaId> = (0..SHARDS)
            .filter_map(|shard| self.inner.slots.holders(shard::ShardId(shard)))
            .flatten()
            .collect();
        for replica in long_dead {
            if !named.contains(&replica) {
                self.inner.metrics.let_go.increment(1);
                tracing::info!(node = %self.name_of(replica), "dead for long, letting go of it");
                self.with_membership(|membership, now| membership.on_unnamed(now, replica));
            }
        }
    }
}

/// The ring's preference for every shard among the live members that take shards: those whose clocks are off come last.
fn orders(view: &View) -> Vec<Vec<ReplicaId>> {
    let placements = view.placed().map(|members| {
        let members = members.into_iter().map(|seen| hash_ring::Member {
            id: seen.replica.0,
            name: &seen.name,
            zone: seen.zone.as_deref(),
        });
        Ring::new(members).table(SHARDS)
    });
    (0..SHARDS)
        .map(|shard| {
            let in_turn = placements
                .iter()
                .flat_map(|placement| placement.order(shard));
            in_turn.map(|&id| ReplicaId(id)).collect()
        })
        .collect()
}

/// What a proven greeting says about belonging.
pub(crate) fn member_of(hello: &Hello) -> Member {
    Member {
        name: hello.name.clone(),
        incarnation: hello.incarnation,
        replica: hello.replica,
        standing: match hello.asks {
            false => Standing::Joined,
            // Nothing is placed on one that leaves, which differs from one that asks in how long it stays.
            true => Standing::Leaving,
        },
        contact: Contact {
            cluster: hello.cluster.clone(),
            http: hello.http.clone(),
            zone: hello.zone.clone(),
        },
    }
}
