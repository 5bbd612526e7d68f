//! Logs and metrics of this process.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
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

/// Upper bounds of the buckets of every histogram in seconds: from a local decision to the deadline of a hit.
const SECONDS_BUCKETS: [f64; 14] = [
    0.000_01, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25,
    1.0, 2.5,
];

/// Collects metrics from now on, and returns what renders them.
///
/// # Errors
///
/// When this process already has a recorder.
pub(crate) fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let seconds = metrics_exporter_prometheus::Matcher::Suffix("_seconds".to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(seconds, &SECONDS_BUCKETS)?
        .install_recorder()
        .context("installing the metrics recorder")
}
