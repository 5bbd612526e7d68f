//! `weir node`: one node in a process of its own, from its sockets to its last answer.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use node::Node;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::{Config, ConfigFile};
use crate::secret::Secret;
use crate::service_manager::ServiceManager;
use crate::signals::{Signals, Told};
use crate::telemetry;

/// Runs a node until it is told to stop and has drained.
///
/// `neighbours`: below it, nodes of this host, user and cookie find each other. `file`: what is read again when it is told to.
/// `manager` hears when it serves, and when it drains.
///
/// # Errors
///
/// One clear reason why it could not start, or not stop in order.
pub(crate) fn run(
    config: Config,
    neighbours: Option<PathBuf>,
    file: Option<ConfigFile>,
    manager: &ServiceManager,
) -> anyhow::Result<()> {
    telemetry::start_logs(config.node.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let signals = {
        let _within = runtime.enter();
        Signals::new()?
    };
    allow_many_files();
    let node = {
        let _within = runtime.enter();
        open(config, neighbours, file)?
    };
    let served = runtime.block_on(serve(node, signals, manager));
    // Not dropped, which would wait for work that nobody waits for any more.
    runtime.shutdown_background();
    served
}

/// Connections are files: takes as many as the operator's hard limit allows, up to what the fronts use.
pub(crate) fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(limit.maximum.map_or(FILES, |maximum| maximum.min(FILES)));
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "could not raise the number of open files");
    }
}

/// 20 000 connections of each of three fronts, and 5 536 for peers and whatever comes beside them.
const FILES: u64 = 65_536;

/// All that can fail before anybody is told that this node exists. It serves HTTP from here on.
fn open(
    config: Config,
    neighbours: Option<PathBuf>,
    file: Option<ConfigFile>,
) -> anyhow::Result<Node> {
    let told = config.node;
    let cookie = Secret::load(&told.cookie).context("the cookie")?;
    let api_token = told.api_token.as_ref().map(Secret::load);
    let api_token = api_token.transpose().context("the API token")?;
    let mut builder = Node::builder()
        .name(told.name)
        .cookie(cookie.expose())
        .config(config.shared)
        .http(told.http)
        .cluster(told.cluster)
        .advertise(told.advertise)
        .drain_wait(told.drain_wait)
        .metrics(telemetry::start_metrics()?);
    if let Some(redis) = told.redis {
        builder = builder.redis(redis);
    }
    if let Some(grpc) = told.grpc {
        builder = builder.grpc(grpc);
    }
    if let Some(metrics) = told.metrics {
        builder = builder.metrics_at(metrics);
    }
    for seed in &told.join {
        builder = builder.join(seed.to_string());
    }
    if let Some(expect) = told.expect {
        builder = builder.expect(expect);
    }
    if let Some(directory) = told.data_dir {
        builder = builder.data_dir(directory);
    }
    if let Some(zone) = told.zone {
        builder = builder.zone(zone);
    }
    if let Some(token) = api_token {
        builder = builder.api_token(token.expose());
    }
    if let Some(file) = file {
        builder = builder.read_again(move || file.read_again());
    }
    match neighbours {
        Some(directory) => builder = builder.neighbours(directory),
        None => tracing::warn!(
            "neither XDG_RUNTIME_DIR nor HOME is set, so nodes of this host are not found without --join"
        ),
    }
    Ok(builder.open()?)
}

/// Joins, says so, and stops in order.
async fn serve(node: Node, mut signals: Signals, manager: &ServiceManager) -> anyhow::Result<()> {
    let joined = tokio::select! {
        joined = node.joined() => Some(joined),
        () = signals.stop() => None,
    };
    match joined {
        Some(joined) => joined?,
        None => return stop(node, signals, manager).await,
    }
    announce(&node, manager)?;
    loop {
        let told = tokio::select! {
            told = signals.next() => told,
            failure = node.failed() => return Err(failure.into()),
        };
        match told {
            Told::Stop => return stop(node, signals, manager).await,
            Told::Reload => {
                tracing::info!("SIGHUP, reading the file again");
                let node = node.clone();
                // By itself, so that the node can be told to stop meanwhile. What came of it is logged.
                tokio::spawn(async move { drop(node.reload().await) });
            }
        }
    }
}

/// Stops in order, unless told again to stop.
async fn stop(node: Node, mut signals: Signals, manager: &ServiceManager) -> anyhow::Result<()> {
    manager.is_stopping();
    let name = node.name().to_owned();
    tokio::select! {
        () = node.stop() => Ok(()),
        () = signals.stop() => {
            tracing::warn!(node = %name, "told to stop again, not draining any longer");
            anyhow::bail!("stopped before it had drained");
        }
    }
}

/// Tells whoever started this node, who may be waiting for the line.
fn announce(node: &Node, manager: &ServiceManager) -> anyhow::Result<()> {
    let (name, cluster, members) = (node.name(), node.cluster(), node.members());
    let http = node.http().context("a node of this command serves HTTP")?;
    let mut stdout = io::stdout().lock();
    let mut line = format!("weir {name} ready http={http} cluster={cluster} members={members}");
    if let Some(redis) = node.redis() {
        line.push_str(&format!(" redis={redis}"));
    }
    if let Some(grpc) = node.grpc() {
        line.push_str(&format!(" grpc={grpc}"));
    }
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .context("telling that the node is ready")?;
    manager.is_ready(&line);
    Ok(())
}
