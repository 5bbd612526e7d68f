//! The requests of a node that are recorded, and who is sent their spans.

use otlp::{Exporter, Origin};
use traces::{Sampler, Tracer, tracer};

use crate::config::telemetry::TelemetryConfig;

/// Spans that wait to be sent: some 400 bytes each, so 2 MiB. A receiver that is away for a minute and a half loses nothing of
/// fifty requests a second.
const WAITING_MAX: usize = 4_096;

/// What records requests of the node `name`, and what sends them on, which is still to be run. Their metrics go to the recorder that
/// is in force.
pub(crate) fn start(config: &TelemetryConfig, name: &str) -> (Tracer, Exporter) {
    let (tracer, outlet) = tracer(Sampler::ratio(config.sample), WAITING_MAX);
    let origin = Origin {
        service: config.service_name.clone(),
        instance: name.to_owned(),
        version: env!("CARGO_PKG_VERSION"),
    };
    (tracer, Exporter::new(config.otlp.clone(), origin, outlet))
}
