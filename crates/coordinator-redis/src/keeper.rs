//! The task that keeps the connection: looks after Redis so that no hit has to find out.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use supervisor::Supervisor;

use crate::breaker::PROBE_EVERY;
use crate::connect::{check_scripts, probe};
use crate::coordinate::Backend;
use crate::failure::{Evidence, Failure};

/// From one health check to the next while the breaker is closed.
///
/// Finds a Redis that went away from an idle node, and mends a connection that broke, before a hit does.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Its name in logs and metrics.
pub(crate) const KEEPER: &str = "redis-keeper";

/// Checks health, reconnects, and probes while the breaker is open, until nobody holds `backend` any more. Then nothing is
/// left to do below `supervisor`.
pub(crate) async fn keep(backend: Weak<Backend>, supervisor: Supervisor) {
    look_after(backend).await;
    supervisor.cut_off();
}

async fn look_after(backend: Weak<Backend>) {
    loop {
        let Some((wake, wait)) = backend.upgrade().map(|backend| backend.next_look()) else {
            return;
        };
        // Woken early when the breaker opens or the connection breaks. A closed channel means that all have gone.
        let _ = tokio::time::timeout(wait, wake.notified()).await;
        drop(wake);
        let Some(backend) = backend.upgrade() else {
            return;
        };
        backend.look().await;
    }
}

impl Backend {
    fn next_look(&self) -> (Arc<tokio::sync::Notify>, Duration) {
        let wait = match self.gate.probe_in(Instant::now()) {
            Some(until_probe) => until_probe,
            None if self.link.is_connected() => CHECK_EVERY,
            // The look before found it broken, or a master that is one no more.
            None => PROBE_EVERY,
        };
        (Arc::clone(&self.wake), wait)
    }

    async fn look(&self) {
        if self.gate.probe_due(Instant::now()) {
            // Afresh: what was sent on the connection before has been given up.
            let probed = self.connected_and_usable().await;
            self.gate.on_probe(probed.as_ref().copied(), Instant::now());
        } else if self.gate.is_closed() {
            match self.writes().await {
                Ok(()) => self.gate.on_success(Evidence::Writes, Instant::now()),
                Err(failure) => drop(self.gate.on_failure(&failure, Instant::now())),
            }
        }
    }

    /// Connects if need be, and finds out whether Redis takes writes. To connect says little: where one address leads
    /// to whoever is master, it may still lead to the one before.
    async fn writes(&self) -> Result<(), Failure> {
        if !self.link.is_connected() {
            self.link.connect().await?;
        }
        probe(&self.link, &self.scripts, &self.health_key, self.timeout).await
    }

    /// Connects, and finds out whether Redis does all that hits will ask of it.
    pub(crate) async fn connected_and_usable(&self) -> Result<(), Failure> {
        self.link.connect().await?;
        probe(&self.link, &self.scripts, &self.health_key, self.timeout).await?;
        check_scripts(&self.link, &self.scripts, &self.absent_key, self.timeout).await
    }
}
