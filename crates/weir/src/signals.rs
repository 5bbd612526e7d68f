//! What a node does when it is signalled.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

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

    /// Returns when the node has been told to stop, by SIGTERM or Ctrl-C.
    ///
    /// The others are logged and change nothing: a closed terminal, a log rotation or a reload meant for another
    /// program sends them, and no node may die of that, leaving its shards to be taken over.
    pub(crate) async fn stop(&mut self) {
        let [user_1, user_2] = &mut self.user;
        loop {
            let ignored = tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => "SIGHUP",
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
