//! Who may connect, and which peers are connected: the one place where links come and go.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use delta_crdt::ReplicaId;

use super::link::{self, Connection, Link};
use super::{Inner, TransportEvent, lock};
use crate::handshake::{Hello, Plane, Proven, Refusal};

impl Inner {
    /// Answers a peer that has proven the cookie: who this node is, or why it does not take the connection.
    pub(super) fn admit(&self, peer: &Hello, plane: Plane) -> Result<Hello, Refusal> {
        let me = self.me().ok_or(Refusal::NotReady)?;
        if peer.name == me.name && !self.may_ask_for_its_name(&me, peer, plane) {
            return Err(self.namesake(&me, peer));
        }
        match plane {
            Plane::Data if me.is_newcomer() || peer.is_newcomer() => Err(Refusal::NotReady),
            Plane::Control if lock(&self.control).is_none() => Err(Refusal::NotReady),
            Plane::Control if peer.is_newcomer() => Ok(me),
            Plane::Control | Plane::Data => self.admit_member(peer).map(|()| me),
        }
    }

    fn admit_member(&self, peer: &Hello) -> Result<(), Refusal> {
        if let Some(refusal) = self
            .all_links()
            .iter()
            .find_map(|link| outranked(peer, &link.peer))
        {
            return Err(refusal);
        }
        let started = self.started.get().ok_or(Refusal::NotReady)?;
        (started.admit)(peer)
    }

    /// A newcomer may ask the very node whose name it wants; it is answered like any other.
    fn may_ask_for_its_name(&self, me: &Hello, peer: &Hello, plane: Plane) -> bool {
        plane == Plane::Control
            && peer.is_newcomer()
            && !me.is_newcomer()
            && peer.cluster != me.cluster
    }

    /// What a peer with this node's own name is told.
    fn namesake(&self, me: &Hello, peer: &Hello) -> Refusal {
        if peer.cluster == me.cluster && (peer.is_newcomer() || peer.incarnation == me.incarnation)
        {
            return Refusal::Itself;
        }
        if me.is_newcomer() {
            // Two that start at once must not both found a cluster: both ends agree on which of them gives up.
            // Between a newcomer and a member the cluster says who has the name, not this node.
            return if peer.is_newcomer() && me.replica < peer.replica {
                Refusal::NameTaken
            } else {
                Refusal::NotReady
            };
        }
        if !peer.is_newcomer() && peer.incarnation < me.incarnation {
            return Refusal::Fenced;
        }
        if me.incarnation < peer.incarnation
            && let Some(started) = self.started.get()
        {
            // When the events are full, the next attempt of the newer one tells again.
            let _ = started
                .events
                .try_send(TransportEvent::Superseded { by: peer.clone() });
        }
        Refusal::NameTaken
    }

    /// Adds a proven connection to the link of its peer and tells when it is the first. `None`: another
    /// connection has overtaken it, so close it.
    pub(super) async fn register(
        self: &Arc<Self>,
        proven: &Proven,
        dialled_here: bool,
    ) -> Option<(Arc<Link>, Arc<Connection>)> {
        let me = self.me()?;
        let peer = &proven.peer;
        // Asked again of those who were dialled, whom nobody has admitted: a node that was fenced while it
        // was stopped would let us in.
        if let Err(reason) = self.admit_member(peer) {
            tracing::debug!(node = %peer.name, %reason, "not taking the connection");
            return None;
        }
        let connection = Arc::new(Connection::new(
            self.connections.fetch_add(1, Ordering::Relaxed),
            dialled_here,
            proven.attempt,
        ));
        let _changing = self.registry.lock().await;
        for other in self.all_links() {
            // Admitted on either end, and then overtaken by a newer incarnation.
            if outranked(peer, &other.peer).is_some() {
                return None;
            }
            if other.peer.name == peer.name && other.peer.replica != peer.replica {
                tracing::info!(node = %peer.name, replica = %other.peer.replica, "older incarnation superseded, closing its connections");
                other.cut();
            }
        }
        let link = match self.link(peer.replica) {
            Some(link) => {
                if !link.add(&connection) {
                    return None;
                }
                if me.name < peer.name {
                    link::settle_later(link.clone());
                }
                link
            }
            None => {
                let link = Arc::new(Link::new(peer.clone(), proven.version, connection.clone()));
                self.change_links(|links| links.insert(peer.replica, link.clone()));
                self.keep_dialling(peer);
                tracing::info!(node = %peer.name, replica = %peer.replica, address = %peer.cluster, "peer connected");
                self.tell(TransportEvent::Connected { peer: peer.clone() })
                    .await;
                link
            }
        };
        Some((link, connection))
    }

    /// Takes a connection that ended off its link, and tells when it was the last.
    pub(super) async fn deregister(&self, link: &Arc<Link>, connection: &Connection) {
        let _changing = self.registry.lock().await;
        if !link.remove(connection) {
            return;
        }
        let replica = link.peer.replica;
        self.change_links(|links| links.remove(&replica));
        let goodbye = link.goodbye_heard();
        tracing::info!(node = %link.peer.name, %replica, goodbye, "peer disconnected");
        self.tell(TransportEvent::Disconnected { replica, goodbye })
            .await;
        link.went_down();
    }

    fn change_links<R>(&self, change: impl FnOnce(&mut HashMap<ReplicaId, Arc<Link>>) -> R) {
        let mut links = self
            .links
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        change(&mut links);
        let peers: Vec<_> = links.values().map(|link| link.peer.clone()).collect();
        drop(links);
        self.traffic.links.set(peers.len() as f64);
        self.peers.send_replace(peers);
    }
}

/// Why `peer` may not connect while `connected`, of the same name, is.
fn outranked(peer: &Hello, connected: &Hello) -> Option<Refusal> {
    if peer.name != connected.name || peer.replica == connected.replica {
        None
    } else if peer.incarnation < connected.incarnation {
        Some(Refusal::Fenced)
    } else if peer.incarnation == connected.incarnation {
        Some(Refusal::NameTaken)
    } else {
        None
    }
}
