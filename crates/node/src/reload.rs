//! A configuration that takes the place of another while the node runs.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use catalogue::Kind;
use cluster::node::Cluster;
use limiter::{Access, Limiter, NAMESPACE, Node as _, NotReloaded};

use crate::config::{Config, Problems, changes};
use crate::front::{grpc_config, http_config};
use crate::metrics::Metrics;
use crate::running::max_memory;
use crate::served::{Served, Started};

/// What reads a file again: what it says now, and the keys of which it says something else that only a restart changes.
pub(crate) type ReadAgain = Arc<dyn Fn() -> Result<(Config, Vec<String>), Problems> + Send + Sync>;

/// How long a file may take to be read, and another reload to end before.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// Changes that a log line names.
const NAMED_MAX: usize = 20;

/// Takes configurations in, one at a time: all of one, or nothing.
pub(crate) struct Reloader {
    pub(crate) read_again: Option<ReadAgain>,
    /// In force.
    pub(crate) current: tokio::sync::Mutex<Config>,
    pub(crate) limiter: Limiter<Served>,
    pub(crate) http: Option<front_http::Front<Served>>,
    pub(crate) grpc: Option<front_grpc::Front<Served>>,
    pub(crate) access: Access,
    pub(crate) browser_key: [u8; 32],
    pub(crate) metrics: Metrics,
}

impl Reloader {
    /// Reads the file again and takes in what it says.
    ///
    /// # Errors
    ///
    /// [`NotReloaded`]: nothing was changed.
    pub(crate) async fn read_again(&self) -> Result<Vec<String>, NotReloaded> {
        let reloaded = self.try_read_again().await;
        if let Err(error) = &reloaded {
            log_refused(error);
        }
        reloaded
    }

    /// Takes in what `config` says.
    ///
    /// # Errors
    ///
    /// [`NotReloaded`]: nothing was changed.
    pub(crate) async fn take(&self, config: Config) -> Result<Vec<String>, NotReloaded> {
        let taken = match tokio::time::timeout(READ_WITHIN, self.current.lock()).await {
            Ok(mut current) => self.put_in_force(&mut current, config, Vec::new()).await,
            Err(_) => Err(NotReloaded::Late),
        };
        if let Err(error) = &taken {
            log_refused(error);
        }
        taken
    }

    async fn try_read_again(&self) -> Result<Vec<String>, NotReloaded> {
        let read = self.read_again.clone().ok_or(NotReloaded::NoFile)?;
        let late = |_| NotReloaded::Late;
        let lock = tokio::time::timeout(READ_WITHIN, self.current.lock());
        // Before it is read: of two reloads at once the later one sees the later file.
        let mut current = lock.await.map_err(late)?;
        let reading = tokio::task::spawn_blocking(move || read());
        let read = tokio::time::timeout(READ_WITHIN, reading)
            .await
            .map_err(late)?;
        let read = read.map_err(|panicked| NotReloaded::Wrong(vec![panicked.to_string()]))?;
        let (config, restart) = read.map_err(|problems| NotReloaded::Wrong(problems.lines()))?;
        self.put_in_force(&mut current, config, restart).await
    }

    async fn put_in_force(
        &self,
        current: &mut Config,
        config: Config,
        mut restart: Vec<String>,
    ) -> Result<Vec<String>, NotReloaded> {
        let node = self.limiter.node();
        if node.is_stopping() {
            return Err(NotReloaded::Stopping);
        }
        let Started {
            cluster,
            strategies,
        } = node.started().ok_or(NotReloaded::Joining)?;
        let runs = |strategy| strategies.runs(strategy);
        restart.extend(changes::needing_a_restart(current, &config, runs));
        if !restart.is_empty() {
            return Err(NotReloaded::NeedsRestart(restart));
        }
        let is_made = |name: &str| node.record(Kind::Limit, NAMESPACE, name).is_some();
        let changes = changes::changes(current, &config, is_made);
        let started = strategies.start_for(&config).await;
        started.map_err(|error| NotReloaded::Wrong(vec![told(&error)]))?;

        // From here on nothing waits and nothing fails: whoever asked may leave, and all of it is done.
        self.replace(current, &config);
        define(cluster, &config, self.http.is_some(), self.grpc.is_some());
        self.metrics.scope(|| {
            let shared = &config.cluster;
            cluster.keep_at_most(shared.max_keys, max_memory(shared.max_memory));
        });
        *current = config;
        log_changes(&changes);
        Ok(changes)
    }

    /// First the limits that are new or changed, then what names limits, then those go that nothing names any more: no request
    /// finds a route or rule without its limit.
    fn replace(&self, old: &Config, new: &Config) {
        let names: HashSet<&str> = new.limits.iter().map(|policy| &*policy.name).collect();
        let gone = old
            .limits
            .iter()
            .filter(|policy| !names.contains(&*policy.name));
        self.limiter
            .replace_limits(gone.chain(&new.limits).cloned());
        self.metrics.scope(|| {
            if let Some(http) = &self.http {
                http.replace(http_config(new, self.access.clone(), self.browser_key));
            }
            if let Some(grpc) = &self.grpc {
                grpc.replace(grpc_config(new, self.access.clone()));
            }
        });
        self.limiter.replace_limits(new.limits.iter().cloned());
        self.limiter.call_token_buckets(new.token_buckets.clone());
    }
}

/// What members compare of files.
pub(crate) fn define(cluster: &Cluster, config: &Config, has_routes: bool, has_rules: bool) {
    let limits = config.limits.iter();
    let define = |policy| changes::definition(policy);
    cluster.define(
        limits.map(|policy| (Arc::clone(&policy.name), define(policy))),
        changes::sections(config, has_routes, has_rules),
    );
}

fn log_changes(changes: &[String]) {
    let named = changes.iter().take(NAMED_MAX).cloned();
    let mut named = named.collect::<Vec<_>>().join("; ");
    if let Some(more) = changes.len().checked_sub(NAMED_MAX).filter(|&it| it != 0) {
        named.push_str(&format!("; and {more} more"));
    }
    match changes {
        [] => tracing::info!("the file was read again and says the same"),
        changes => tracing::info!(
            count = changes.len(),
            changes = %named,
            "the file was read again and is in force"
        ),
    }
}

fn log_refused(error: &NotReloaded) {
    if *error == NotReloaded::NoFile {
        // A closed terminal asks for it, too.
        tracing::warn!(%error, "not reloaded");
        return;
    }
    let problems = error.lines().join("; ");
    tracing::error!(%error, problems, "not reloaded, all goes on as before");
}

/// An error with what caused it, in a line.
fn told(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(&format!(": {error}"));
        cause = error.source();
    }
    line
}
