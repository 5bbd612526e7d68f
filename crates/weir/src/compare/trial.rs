//! One strategy under the workload, with its fault.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use coordinator::{FailMode, Strategy};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::books::{Books, Totals};
use super::facts::{Facts, Moments, Sample};
use super::load::{Load, remaining};
use super::stage::{Stage, Victim, redis_is_back};
use super::targets::Targets;
use super::workload::Workload;

/// How long the nodes have, when it is over, to agree on what was counted: anti-entropy repairs within a second.
const AUDIT: Duration = Duration::from_secs(10);
/// Between two audits that find something missing.
const AUDIT_EVERY: Duration = Duration::from_millis(200);
/// What is missing for this long will not be found.
const FOUND_WITHIN: Duration = Duration::from_secs(3);

/// What became of one strategy.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) victim: Victim,
    pub(crate) moments: Moments,
    pub(crate) facts: Facts,
    pub(crate) totals: Totals,
    /// Hits that the owner counted in place of Redis.
    pub(crate) by_owner: u64,
    /// Time that processors worked in all servers for one decision of the quiet part.
    pub(crate) cpu: Option<Duration>,
}

/// Runs it. Whatever comes of it, no process is left.
///
/// # Errors
///
/// When a process did not start or could not be killed; [`super::redis::NotInstalled`] among them.
pub(crate) async fn run(strategy: Strategy, workload: &Workload) -> anyhow::Result<Trial> {
    let mut stage = Stage::start(strategy, workload).await?;
    let books = Arc::new(Books::new(workload.keys as usize, workload.limit.into()));
    let start = Instant::now();
    let load = Load::new(start, *workload, stage.targets(), books.clone());
    // Aborted when this is dropped.
    let mut clients: JoinSet<Vec<Sample>> = JoinSet::new();
    for client in 0..workload.clients {
        clients.spawn(load.clone().send(client));
    }
    sleep_until(start + workload.warm_at()).await;
    let cpu_before = stage.cpu();
    sleep_until(start + workload.fault_at()).await;
    let victim = stage.victim().await?;
    let cpu = stage.cpu().zip(cpu_before);
    let killed = start.elapsed();
    stage.kill(victim)?;
    eprintln!("{}: killed {}", strategy.name(), victim.name());
    sleep_until(start + workload.back_at()).await;
    let restarted = start.elapsed();
    stage.start_again(victim)?;
    let mut samples = Vec::new();
    while let Some(client) = clients.join_next().await {
        samples.extend(client.context("a client failed")?);
    }
    let targets = stage.targets();
    if victim == Victim::Redis {
        // Its counts can be asked for only then; if it never is, none are known.
        let _ = timeout(AUDIT, redis_is_asked_again(&targets)).await;
    }
    let forgotten = timeout(AUDIT, audit(&targets, &books, workload)).await;
    let moments = Moments {
        warm: workload.warm_at(),
        killed,
        restarted,
        end: workload.length(),
    };
    let facts = Facts::of(samples, moments);
    let quiet = facts.quiet.per_second * (killed - moments.warm).as_secs_f64();
    Ok(Trial {
        victim,
        moments,
        totals: books.totals(forgotten.ok().flatten()),
        by_owner: match (strategy, workload.on_failure) {
            (Strategy::Redis, FailMode::Owner) => by_owner(&targets).await,
            _ => 0,
        },
        cpu: cpu
            .filter(|_| 1.0 <= quiet)
            .map(|(after, before)| after.saturating_sub(before).div_f64(quiet)),
        facts,
    })
}

async fn redis_is_asked_again(targets: &Targets) {
    loop {
        let mut back = Vec::new();
        for client in targets.live() {
            let cluster = client.get("/v1/cluster").await;
            back.push(cluster.is_ok_and(|(_, cluster)| redis_is_back(&cluster)));
        }
        if back.iter().all(|&back| back) {
            return;
        }
        sleep(AUDIT_EVERY).await;
    }
}

/// What the node that knows least has forgotten; asked again for a while, since news may be on its way. `None` when no
/// node tells.
async fn audit(targets: &Targets, books: &Books, workload: &Workload) -> Option<u64> {
    let deadline = Instant::now() + FOUND_WITHIN;
    loop {
        let mut forgotten = None;
        for client in targets.live() {
            if let Some(remaining) = remaining(&client, workload).await {
                forgotten = forgotten.max(Some(books.forgotten(&remaining)));
            }
        }
        if forgotten == Some(0) || deadline < Instant::now() {
            return forgotten;
        }
        sleep(AUDIT_EVERY).await;
    }
}

/// Summed up over the nodes, from their metrics.
async fn by_owner(targets: &Targets) -> u64 {
    let mut sum = 0;
    for client in targets.live() {
        if let Ok(metrics) = client.text("/metrics").await {
            sum += fallbacks(&metrics);
        }
    }
    sum
}

/// The metric's value in Prometheus' text.
fn fallbacks(metrics: &str) -> u64 {
    let value = metrics
        .lines()
        .filter(|line| line.contains("answer=\"owner\""))
        .find_map(|line| line.strip_prefix("weir_redis_fallback_decisions_total"));
    let value = value.and_then(|line| line.rsplit(' ').next());
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fallbacks_are_read_from_the_metrics() {
        let metrics = "# TYPE weir_redis_fallback_decisions_total counter\n\
                       weir_redis_fallback_decisions_total{answer=\"deny\"} 3\n\
                       weir_redis_fallback_decisions_total{answer=\"owner\"} 41\n";
        assert_eq!(fallbacks(metrics), 41);
        assert_eq!(fallbacks("weir_keys 7\n"), 0);
    }
}
