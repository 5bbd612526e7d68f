//! What other nodes say, handled where it is read.

use std::sync::Arc;

use bytes::Bytes;
use delta_crdt::ReplicaId;
use shard::{Baseline, HitId, Message, ShardId};
use tokio::sync::mpsc;

use super::Cluster;
use super::liveness::member_of;
use super::slots::Outbox;
use crate::chain;
use crate::wire::{self, Frame};
use transport::handshake::{HandshakeError, Refusal};
use transport::{Lane, TransportEvent};

/// A frame of shard messages is cut at this size, so that a heartbeat behind it never waits long: 8 ms at 1 Gbit/s.
const SHARD_FRAME_MAX: usize = 1024 * 1024;

impl Cluster {
    /// A frame of the data plane. Runs in the task that reads the connection.
    pub(crate) fn on_frame(&self, from: ReplicaId, frame: &Bytes) {
        let frame = match wire::decode(frame) {
            Ok(frame) => frame,
            Err(error) => {
                self.inner.metrics.malformed.increment(1);
                tracing::warn!(peer = %from, error = %chain(&error), "malformed frame of a peer, ignored");
                return;
            }
        };
        match frame {
            Frame::Membership(message) => {
                self.with_membership(|membership, now| membership.on_message(now, from, message));
            }
            Frame::Shards(messages) => {
                let mut out = Outbox::default();
                let is_receipt =
                    |(_, message): &&(ShardId, Message)| matches!(message, Message::Have { .. });
                let receipts = messages.iter().filter(is_receipt).count();
                if receipts != 0 {
                    self.inner.under_way.on_confirmed(from, receipts);
                }
                for (shard, message) in messages {
                    self.inner.slots.with(shard, &mut out, |shard, around| {
                        shard.on_message(around, from, message)
                    });
                }
                self.ship(out);
            }
            Frame::Hits(hits) => {
                let verdicts = self.on_forwarded(from, hits);
                if !verdicts.is_empty() {
                    self.say(from, &verdicts);
                }
            }
            Frame::Verdicts(verdicts) => self.inner.forwarder.on_verdicts(from, verdicts),
            Frame::Relay(hit) => {
                let id = HitId {
                    origin: from,
                    sequence: hit.sequence,
                };
                self.on_relay(from, id, hit);
            }
            Frame::RelayNamed { id, hit } => self.on_relay(from, id, hit),
            Frame::Relayed { id, hit } => {
                if let Some(said) = self.decide_for(from, id, &hit) {
                    self.say(from, &[(hit.sequence, said)]);
                }
            }
            Frame::TimeAsked(asked) => {
                let wall = self.inner.clock.now().wall;
                let told = wire::encode(&Frame::TimeTold { asked, wall });
                let _lost = self.inner.transport.send(from, Lane::Urgent, told);
            }
            Frame::TimeTold { asked, wall } => {
                self.inner
                    .skew
                    .on_told(self.inner.clock.now(), from, asked, wall);
            }
            Frame::Told(cells) => self.on_told(cells),
            Frame::Digests(digests) => self.on_digests(from, digests),
            Frame::Wanted(wanted) => self.on_wanted(from, &wanted),
            Frame::Call { id, body } => self.on_call(from, id, body),
            Frame::Return { id, body } => self.inner.calls.on_return(from, id, body),
            Frame::Catalogue(message) => self.on_catalogue(from, message),
        }
    }

    /// Sends what machines left behind. What a peer cannot take is lost: it is sent again when it stays
    /// unconfirmed.
    pub(crate) fn ship(&self, out: Outbox) {
        let Outbox {
            shards,
            verdicts,
            pieces,
        } = out;
        for (to, messages) in shards {
            self.ship_shards(to, messages);
        }
        for (to, verdicts) in verdicts {
            self.say(to, &verdicts);
        }
        if !pieces.is_empty() {
            self.on_pieces(pieces);
        }
    }

    pub(crate) fn ship_shards(&self, to: ReplicaId, messages: Vec<(ShardId, Message)>) {
        let transport = &self.inner.transport;
        let Some(version) = transport.version(to) else {
            return;
        };
        let (copies, others): (Vec<_>, Vec<_>) = messages
            .into_iter()
            .partition(|(_, message)| is_copy(message));
        self.inner.under_way.on_sent(to, &others);
        for (lane, messages) in [(Lane::Bulk, others), (Lane::Copies, copies)] {
            let form = wire::form_for(version);
            for frame in wire::encode_shards_split(form, &messages, SHARD_FRAME_MAX) {
                let _lost = transport.send(to, lane, frame);
            }
        }
    }

    /// Follows the connections until the transport ends.
    ///
    /// Started again after a panic, it goes on with the next event; what became of the one before is found out by the
    /// heartbeats of that peer.
    pub(crate) async fn follow_connections(
        self,
        events: Arc<tokio::sync::Mutex<mpsc::Receiver<TransportEvent>>>,
    ) {
        // Nobody else takes it: the one before has ended.
        let mut events = events.lock().await;
        while let Some(event) = events.recv().await {
            match event {
                TransportEvent::Connected { peer } => {
                    self.with_membership(|membership, now| {
                        membership.on_introduced(now, &member_of(&peer))
                    });
                    self.on_local_connected(peer.replica);
                    self.on_pieces_lost(peer.replica);
                    self.on_catalogue_connected(peer.replica);
                }
                TransportEvent::Disconnected { replica, .. } => {
                    self.inner.forwarder.on_disconnected(replica);
                    self.inner.calls.on_disconnected(replica);
                    self.inner.skew.on_disconnected(replica);
                    self.inner.under_way.on_disconnected(replica);
                    self.on_catalogue_disconnected(replica);
                    self.with_membership(|membership, _| membership.on_disconnected(replica));
                }
                TransportEvent::ProcessGone { replica } => {
                    let is_news = self.with_membership(|membership, now| {
                        membership.on_process_gone(now, replica)
                    });
                    if is_news == Some(true) {
                        tracing::info!(node = %self.name_of(replica), "its host refuses connections, or another answers there: the process is gone");
                    }
                }
                TransportEvent::HelloRefused { address, reason } => {
                    tracing::debug!(address, error = %chain(&reason), "refused");
                    if matches!(reason, HandshakeError::RefusedBy(Refusal::Fenced)) {
                        self.inner.fenced.send_replace(true);
                    }
                }
                TransportEvent::Superseded { by } => {
                    tracing::error!(by = %by.replica, "a newer incarnation has this name");
                    self.inner.fenced.send_replace(true);
                }
            }
        }
    }
}

/// Whether a message holds whole buckets, and makes way for hits.
fn is_copy(message: &Message) -> bool {
    let is_whole = |baseline: &Baseline| matches!(baseline, Baseline::Whole { .. });
    match message {
        Message::Copy { piece, .. } | Message::Answer { piece, .. } => !piece.cells.is_empty(),
        Message::State { .. } => true,
        Message::Delta { baseline, .. } => is_whole(baseline),
        _ => false,
    }
}
