//! What lives as long as a node beside its cluster.

use std::future::Future;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use limiter::{Access, BillingDuty, Limiter, Live, Sampler};
use otlp::Exporter;
use quota::KeyHasher;
use supervisor::Supervisor;

use crate::front::{Front, Stopped};
use crate::listeners::ListenError;
use crate::metrics::Metrics;
use crate::served::Served;

/// The tasks of a node below a supervisor of its own: its fronts, and the upkeep of its metrics. Cut off when dropped.
pub(crate) struct Tasks {
    supervisor: Supervisor,
    metrics: Metrics,
    fronts: Vec<Front>,
    /// Whose tenants use something. `None`: there are none.
    usage: Option<Limiter<Served>>,
    /// What sends spans on. `None`: no request is recorded.
    exporter: Option<Exporter>,
}

/// What tenants were denied, and what could not be counted at once, is told to the others so often: a number of a page, which
/// nobody reads twice in a second.
const USAGE_EVERY: Duration = Duration::from_secs(5);

/// When API keys and sessions were last used, and what tenants have used, is told to the others so often: of API keys it is told to the minute.
const USES_EVERY: Duration = Duration::from_secs(60);

/// So long after a second has begun, what was decided in the one before is taken in: clocks wake a little early now and then.
const SECOND_IS_OVER: Duration = Duration::from_millis(10);

/// So long after that it is told: nodes whose clocks are no further apart have taken the same second in.
const GATHERED: Duration = Duration::from_millis(100);

/// When within [`USES_EVERY`] the node of that name tells them: whoever is the first to tell a minute spares the others the write,
/// and nodes that were started together would all be the first. By a hash that stays, whatever the node was built with.
fn within_uses(name: &str) -> Duration {
    let hash = KeyHasher::new([0; 16]).hash("", "", name);
    let part = hash.get() % USES_EVERY.as_millis();
    Duration::from_millis(u64::try_from(part).expect("a minute is short"))
}

/// How long the last of it may take when the node stops.
const USAGE_WITHIN: Duration = Duration::from_secs(2);

/// How long the last spans may take when the node stops: a receiver takes them in milliseconds, and one that is away is not waited for.
const SPANS_WITHIN: Duration = Duration::from_secs(2);

impl Tasks {
    /// No front yet. To be called within a runtime.
    pub(crate) fn start(metrics: Metrics) -> Self {
        let supervisor = Supervisor::start();
        let kept_up = metrics.clone();
        metrics.scope(|| supervisor.run("metrics-upkeep", move || kept_up.clone().keep_up()));
        Self {
            supervisor,
            metrics,
            fronts: Vec::new(),
            usage: None,
            exporter: None,
        }
    }

    /// Sends on what is recorded of requests.
    pub(crate) fn export(&mut self, exporter: Exporter) {
        self.exporter = Some(exporter.clone());
        let run = move || exporter.clone().run();
        self.metrics.scope(|| self.supervisor.run("spans", run));
    }

    /// Tells the others from time to time what the tenants of this node have used.
    pub(crate) fn look_after_usage(&mut self, limiter: Limiter<Served>, access: &Access) {
        self.usage = Some(limiter.clone());
        let [of_keys, of_months, of_gather, of_live, of_billing] =
            std::array::from_fn(|_| limiter.clone());
        let flush = move || {
            let limiter = limiter.clone();
            async move {
                loop {
                    tokio::time::sleep(USAGE_EVERY).await;
                    limiter.flush_tenants().await;
                }
            }
        };
        let tell_uses = move || {
            let limiter = of_keys.clone();
            async move {
                tokio::time::sleep(within_uses(&limiter.node().me.name)).await;
                loop {
                    limiter.tell_uses().await;
                    limiter.tell_seen().await;
                    tokio::time::sleep(USES_EVERY).await;
                }
            }
        };
        let keep = move || {
            let limiter = of_months.clone();
            async move {
                tokio::time::sleep(within_uses(&limiter.node().me.name)).await;
                loop {
                    limiter.keep_usage().await;
                    tokio::time::sleep(USES_EVERY).await;
                }
            }
        };
        let gather = move || {
            let limiter = of_gather.clone();
            async move {
                loop {
                    tokio::time::sleep(until_next_second()).await;
                    limiter.gather();
                }
            }
        };
        // By itself: whoever is asked may take longer than what was decided here may wait.
        let tell = move || {
            let mut sampler = Sampler::new(of_live.clone());
            async move {
                loop {
                    tokio::time::sleep(until_next_second() + GATHERED).await;
                    sampler.tell().await;
                }
            }
        };
        let access = access.clone();
        let sells_plans = access
            .service()
            .is_some_and(|service| service.billing.is_some());
        // A new one after a panic: what it remembers saves calls, and nothing else.
        let bill = move || {
            let duty = BillingDuty::new(of_billing.clone(), &access);
            async move {
                if let Some(duty) = duty {
                    duty.run().await;
                }
            }
        };
        self.metrics.scope(|| {
            if sells_plans {
                self.supervisor.run("billing", bill);
            }
            self.supervisor.run("gather", gather);
            self.supervisor.run("live", tell);
            self.supervisor.run("usage", flush);
            self.supervisor.run("api-key-uses", tell_uses);
            self.supervisor.run("usage-months", keep);
        });
    }

    /// What tenants see of what is decided here. `None`: there are none.
    pub(crate) fn live(&self) -> Option<Arc<Live>> {
        self.usage
            .as_ref()
            .map(|limiter| Arc::clone(limiter.live()))
    }

    /// Has what `serve` makes serve `listener`, the socket for `what`, as the task `name`.
    ///
    /// # Errors
    ///
    /// [`ListenError::TakeOver`]
    pub(crate) fn serve<S: Future<Output = ()> + Send>(
        &mut self,
        (what, name): (&'static str, &'static str),
        listener: TcpListener,
        serve: impl Fn(tokio::net::TcpListener, Stopped) -> S + Send + Sync + 'static,
    ) -> Result<(), ListenError> {
        let above = (&self.supervisor, &self.metrics);
        let front = Front::start(above, name, listener, serve);
        let taken_over = |source| ListenError::TakeOver { what, source };
        self.fronts.push(front.map_err(taken_over)?);
        Ok(())
    }

    /// Ends them in order. All fronts at once: each takes as long as its slowest client, up to ten seconds.
    pub(crate) async fn stop(&mut self) {
        if let Some(live) = self.live() {
            // Before its connections end: whoever watches goes to another node, and sees no error.
            live.end();
        }
        self.fronts.iter().for_each(Front::begin_stop);
        for front in &mut self.fronts {
            front.stop().await;
        }
        if let Some(limiter) = &self.usage {
            // What is not told within it is told by nobody: it was answered, and is not billed.
            let tell = async {
                limiter.flush_tenants().await;
                limiter.keep_usage().await;
                limiter.tell_uses().await;
                limiter.tell_seen().await;
            };
            let _late = tokio::time::timeout(USAGE_WITHIN, tell).await;
        }
        if let Some(exporter) = &self.exporter {
            // The fronts have ended, and with them all requests that are recorded.
            exporter.stop(SPANS_WITHIN).await;
        }
        // Not before: it has a second for a task, and a front has more to do.
        self.supervisor.stop().await;
    }

    /// Above them.
    #[cfg(test)]
    pub(crate) fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }
}

fn until_next_second() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let within = Duration::from_nanos(now.map_or(0, |now| now.subsec_nanos().into()));
    Duration::from_secs(1) - within + SECOND_IS_OVER
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.supervisor.cut_off();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_are_started_together_tell_uses_all_over_the_minute() {
        let mut in_second = [0; 60];
        for number in 0..6_000 {
            let at = within_uses(&format!("oskar{number}"));
            assert!(at < USES_EVERY, "{at:?}");
            in_second[usize::try_from(at.as_secs()).unwrap()] += 1;
        }
        // A hundred by chance, give or take ten: four times that is far off.
        assert!(
            in_second.iter().all(|tell| (60..=140).contains(tell)),
            "{in_second:?}"
        );
    }
}
