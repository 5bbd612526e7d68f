//! The one actor of a node that other nodes see, and the form of what they say to it.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, counter};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr};
use ractor_cluster::RactorClusterMessage;
use tokio::sync::Semaphore;

use super::{BODY_MAX, GatewayHandler};
use transport::handshake::{Hello, VERSION, WireHello};

/// Questions under way at this node. Beyond, an asker is told [`Answer::Busy`] at once.
const ANSWERING_MAX: usize = 64;

/// How long an answer may take when the asker named no deadline.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Everything that wakes the gateway, from this node or another. The bodies are envelopes.
#[derive(RactorClusterMessage)]
pub(super) enum GatewayMessage {
    /// A question. A dropped reply port means that the asker left.
    #[rpc]
    Ask(Vec<u8>, RpcReplyPort<Vec<u8>>),
    /// A word, which may have been lost on the way.
    Tell(Vec<u8>),
}

/// What comes back for a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Body(Vec<u8>),
    Busy,
    NotUnderstood,
}

impl Answer {
    fn into_wire(self) -> Vec<u8> {
        match self {
            Self::Body(mut body) => {
                body.push(0);
                body
            }
            Self::Busy => vec![1],
            Self::NotUnderstood => vec![2],
        }
    }

    pub(super) fn from_wire(mut bytes: Vec<u8>) -> Option<Self> {
        match bytes.pop()? {
            0 => Some(Self::Body(bytes)),
            1 => Some(Self::Busy),
            2 => Some(Self::NotUnderstood),
            _ => None,
        }
    }
}

/// Version, sender, body.
pub(super) fn envelope(from: &Hello, body: &[u8]) -> Vec<u8> {
    let start = VERSION.to_be_bytes().to_vec();
    let mut bytes = postcard::to_extend(&WireHello::from(from), start)
        .expect("strings and integers can be encoded");
    bytes.extend_from_slice(body);
    bytes
}

/// `None`: of a version too far from ours, or nonsense.
pub(super) fn open_envelope(bytes: &[u8]) -> Option<(Hello, Vec<u8>)> {
    let (version, rest) = bytes.split_first_chunk::<2>()?;
    if 1 < u16::from_be_bytes(*version).abs_diff(VERSION) {
        return None;
    }
    let (from, body) = postcard::take_from_bytes::<WireHello>(rest).ok()?;
    Some((from.into(), body.to_vec()))
}

pub(super) struct Gateway<H> {
    handler: Arc<H>,
    answering: Arc<Semaphore>,
    /// Questions for which there was no room.
    busy: Counter,
}

impl<H: GatewayHandler> Gateway<H> {
    pub(super) async fn spawn(name: String, handler: Arc<H>) -> Result<ActorCell, SpawnErr> {
        let gateway = Self {
            handler,
            answering: Arc::new(Semaphore::new(ANSWERING_MAX)),
            busy: counter!("weir_control_busy_total"),
        };
        let (actor, _) = Actor::spawn(Some(name), gateway, ()).await?;
        Ok(actor.get_cell())
    }

    /// Answers in a task of its own, so that a slow answer delays nobody else's.
    fn answer(&self, bytes: &[u8], reply: RpcReplyPort<Vec<u8>>) {
        let send = |reply: RpcReplyPort<Vec<u8>>, answer: Answer| {
            // An error means that the asker has gone.
            let _ = reply.send(answer.into_wire());
        };
        let Some((from, question)) = open_envelope(bytes) else {
            return send(reply, Answer::NotUnderstood);
        };
        let Ok(permit) = self.answering.clone().try_acquire_owned() else {
            self.busy.increment(1);
            return send(reply, Answer::Busy);
        };
        let handler = self.handler.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let deadline = reply.get_timeout().unwrap_or(ANSWER_DEADLINE);
            match tokio::time::timeout(deadline, handler.asked(from, question)).await {
                Ok(body) if body.len() <= BODY_MAX => send(reply, Answer::Body(body)),
                Ok(body) => tracing::error!(bytes = body.len(), "answer too long, dropping it"),
                Err(_) => tracing::debug!("answer too late, dropping it"),
            }
        });
    }
}

impl<H: GatewayHandler> Actor for Gateway<H> {
    type Msg = GatewayMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ActorRef<GatewayMessage>,
        (): (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<GatewayMessage>,
        message: GatewayMessage,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            GatewayMessage::Ask(bytes, reply) => self.answer(&bytes, reply),
            GatewayMessage::Tell(bytes) => match open_envelope(&bytes) {
                Some((from, word)) => self.handler.told(from, word),
                None => tracing::debug!("a word that cannot be understood, dropping it"),
            },
        }
        Ok(())
    }
}
