//! What a node does when it is signalled.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal tells a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    Stop,
    /// By SIGHUP. A closed terminal sends it as well, to whom it does no harm.
    Reload,
}

/// The signals that a node listens to from now on: those that stop it, and those that would kill it without a word.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user: [Signal; 2],
}

impl Signals {
    /// To be called within a runtime.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
            user: [
                listen(SignalKind::user_defined1())?,
                listen(SignalKind::user_defined2())?,
            ],
        })
    }

    /// Returns when the node has been told to stop, by SIGTERM or Ctrl-C. A SIGHUP meanwhile waits for [`next`](Self::next).
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Returns what the node has been told to do.
    ///
    /// The others are logged and change nothing: somebody means another program, and no node may die of that, leaving its
    /// shards to be taken over.
    pub(crate) async fn next(&mut self) -> Told {
        let [user_1, user_2] = &mut self.user;
        loop {
            let ignored = tokio::select! {
                _ = self.terminate.recv() => return Told::Stop,
                _ = self.interrupt.recv() => return Told::Stop,
                _ = self.hangup.recv() => return Told::Reload,
                _ = user_1.recv() => "SIGUSR1",
                _ = user_2.recv() => "SIGUSR2",
            };
            tracing::warn!(
                signal = ignored,
                "ignored a signal that means nothing to this version"
            );
        }
    }
}
