//! Questions and their answers: what has arrived is asked of the limiter, and the replies are written.

use std::time::Instant;

use bytes::BytesMut;
use connections::Memory;
use limiter::{Limiter, Node};
use traces::within;

use crate::conversation::{Asked, Conversation, Step};
use crate::session::Server;

/// What all connections of a listener share.
pub(crate) struct Common<N> {
    pub(crate) server: Server<N>,
    /// What commands above 8 KiB and the replies to long pipelines may take together.
    pub(crate) memory: Memory,
}

/// How much is answered before the replies leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// Hits that are asked together. Each is answered in at most 131 bytes, most in 30.
    pub(crate) hits: usize,
    /// Replies beyond this wait until these have left.
    pub(crate) bytes: usize,
}

/// Of a connection that has no room: what a client that does not read makes this process hold.
pub(crate) const SMALL: Share = Share {
    hits: 32,
    bytes: 4 * 1024,
};
/// Of a connection that has. As many hits as the cluster has on their way at once for one batch.
pub(crate) const LARGE: Share = Share {
    hits: 256,
    bytes: 32 * 1024,
};

/// Bytes that most hits are answered in: the buffer grows once for all that are asked together, not line by line.
const REPLY: usize = 48;

/// Whether there may be more to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reading {
    /// Replies have to leave before more is read.
    Waits,
    /// All that has arrived is read.
    Starved,
    /// Nothing is read any more.
    Over,
}

/// Answers the commands that `input` begins with, up to `share`, and says how many bytes they had. `begin` is called
/// before anything is asked; where it says `false`, nothing is, and `None` comes back.
pub(crate) async fn answer<N: Node>(
    conversation: &mut Conversation,
    common: &Common<N>,
    input: &[u8],
    share: Share,
    begin: impl Fn() -> bool,
    out: &mut BytesMut,
) -> Option<(usize, Reading)> {
    let mut read = 0;
    loop {
        let caller = conversation.caller(&common.server);
        let caller = caller.as_ref();
        let limiter = caller.map_or(&common.server.limiter, |caller| &caller.limiter);
        let step = conversation.next(caller, &common.server, input, &mut read, share.hits, out);
        if !matches!(step, Step::Starved) && !begin() {
            return None;
        }
        match step {
            Step::Ask(asked) => {
                let began = Instant::now();
                let requests = common.server.limiter.requests();
                let span = requests.begin("hits", None);
                within(span, ask(limiter, conversation, &asked, out)).await;
                requests.answered(began);
            }
            Step::Refund(asked) => {
                let (selected, key, cost) = conversation.parts(&asked);
                let told = limiter.refund(selected, key, cost).await;
                conversation.told(&asked, &told, out);
            }
            Step::Reset(asked) => {
                let (selected, key, _) = conversation.parts(&asked);
                let told = limiter.reset(selected, key).await;
                conversation.told_reset(&told, out);
            }
            Step::LookUp(unknown) => {
                let is_known = limiter.look_up(&unknown).await;
                conversation.on_looked_up(is_known);
            }
            Step::Said => {}
            Step::Starved => return Some((read, Reading::Starved)),
            Step::Over => return Some((read, Reading::Over)),
        }
        if share.bytes <= out.len() {
            return Some((read, Reading::Waits));
        }
    }
}

/// Asks hits, and writes what became of them in their order.
async fn ask<N: Node>(
    limiter: &Limiter<N>,
    conversation: &Conversation,
    asked: &[Asked<'_>],
    out: &mut BytesMut,
) {
    out.reserve(REPLY * asked.len());
    if let [one] = asked {
        let (selected, key, cost) = conversation.parts(one);
        // Not `try_hit` before it: `hit` begins with the same attempt, which a hit for another node would make twice, and its
        // future is a part of this one, so there is nothing to save.
        let told = limiter.hit(selected, key, cost).await;
        conversation.told(one, &told, out);
        return;
    }
    let hits: Vec<_> = asked.iter().map(|one| conversation.hit(one)).collect();
    let told = limiter.hits(&hits).await;
    for (one, told) in asked.iter().zip(&told) {
        conversation.told(one, told, out);
    }
}

#[cfg(test)]
mod tests;
