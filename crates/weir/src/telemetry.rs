//! Logs and metrics of this process.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use node::Metrics;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::node::LogFormat;

/// Logs to stderr: `info` and above, unless `WEIR_LOG_FILTER` says otherwise (`debug`, or `cluster=trace,info`).
///
/// # Errors
///
/// When the variable cannot be understood.
pub(crate) fn start_logs(format: Option<LogFormat>) -> anyhow::Result<()> {
    let filter = match std::env::var("WEIR_LOG_FILTER") {
        Ok(filter) => filter.parse::<Targets>().with_context(|| {
            format!("WEIR_LOG_FILTER is {filter:?}; accepted: levels such as debug, or cluster=trace,info")
        })?,
        // The actor library tells of sessions that come and go in words of its own; ours are logged by the transport.
        Err(_) => Targets::new()
            .with_default(tracing::Level::INFO)
            .with_target("ractor", tracing::Level::ERROR)
            .with_target("ractor_cluster", tracing::Level::ERROR),
    };
    let on_terminal = io::stderr().is_terminal();
    let format = format.unwrap_or(if on_terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => {
            registry
                .with(
                    tracing_subscriber::fmt::layer()
                        .with_writer(io::stderr)
                        .with_ansi(on_terminal),
                )
                .init();
        }
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_current_span(false);
            registry
                .with(layer.with_span_list(false).with_writer(io::stderr))
                .init();
        }
    }
    Ok(())
}

/// Where the metrics of the node go: to a recorder that is that of this process, too, so that libraries have theirs there.
///
/// # Errors
///
/// When this process already has a recorder.
pub(crate) fn start_metrics() -> anyhow::Result<Metrics> {
    let metrics = Metrics::prometheus();
    metrics::set_global_recorder(metrics.recorder()).context("installing the metrics recorder")?;
    Ok(metrics)
}
