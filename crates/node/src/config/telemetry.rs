//! `[telemetry]`: which requests are recorded, and who receives their spans.

use otlp::Receiver;

use super::problem::Problems;
use super::table::Table;

/// Which requests are recorded, and who receives their spans.
#[derive(Clone, PartialEq, Debug)]
pub struct TelemetryConfig {
    /// Where spans go, by OTLP over gRPC in plain text: `http://HOST:PORT`. An address of this machine when a collector stands beside
    /// every node.
    pub otlp: Receiver,
    /// Which part of the traces that begin here is recorded, from 0 to 1. A client that sends `traceparent` has decided for its own.
    ///
    /// More shows what is rare, and costs the receiver that much. Default 0.01: at 10 000 requests a second a hundred spans, some 30 KiB.
    pub sample: f64,
    /// What the nodes are called together in traces. Default `weir`.
    pub service_name: String,
}

/// One of a hundred.
const SAMPLE: f64 = 0.01;
const SERVICE_NAME: &str = "weir";
/// The longest name of a service.
const NAME_MAX: usize = 255;

/// Reads `[telemetry]`. `None`: there is none, and nothing is recorded.
pub(crate) fn read(table: Option<Table<'_>>, problems: &mut Problems) -> Option<TelemetryConfig> {
    let mut table = table?;
    table.missing("otlp", otlp::ACCEPTED, problems);
    let otlp = table.string("otlp", problems).and_then(|given| {
        let receiver: Option<Receiver> = given.value.parse().ok();
        if receiver.is_none() {
            // Not as it stands there: it may hold a password.
            problems.add(
                &given.place,
                "found no address of a receiver",
                otlp::ACCEPTED,
            );
        }
        receiver
    });
    let sample = table.part("sample", problems);
    let service_name = table.string("service_name", problems).and_then(|given| {
        let accepted = format!("1 to {NAME_MAX} bytes of text without control characters");
        problems.parse(&given, &accepted, service_name)
    });
    table.finish(problems);
    Some(TelemetryConfig {
        otlp: otlp?,
        sample: sample.unwrap_or(SAMPLE),
        service_name: service_name.unwrap_or_else(|| SERVICE_NAME.to_owned()),
    })
}

fn service_name(text: &str) -> Option<String> {
    let fits = (1..=NAME_MAX).contains(&text.len()) && !text.contains(char::is_control);
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Source};
    use super::*;

    fn parse(text: &str) -> Result<Option<TelemetryConfig>, Vec<String>> {
        let source = Source { name: "f", text };
        let config = Config::parse(source);
        config
            .map(|config| config.telemetry)
            .map_err(|problems| problems.lines())
    }

    #[test]
    fn nothing_is_recorded_unless_it_is_said_where_to() {
        assert_eq!(parse(""), Ok(None));
        let told = parse("[telemetry]\notlp = \"http://127.0.0.1:4317\"").unwrap();
        assert_eq!(
            told,
            Some(TelemetryConfig {
                otlp: "http://127.0.0.1:4317".parse().unwrap(),
                sample: 0.01,
                service_name: "weir".into(),
            })
        );
    }

    #[test]
    fn a_part_is_a_number_from_0_to_1_with_or_without_a_fraction() {
        for (written, sample) in [("0", 0.0), ("1", 1.0), ("0.25", 0.25), ("1e-3", 0.001)] {
            let text = format!("[telemetry]\notlp = \"http://c\"\nsample = {written}");
            assert_eq!(parse(&text).unwrap().unwrap().sample, sample);
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_and_no_password() {
        let text = "[telemetry]\notlp = \"http://user:secret@c\"\nsample = 1.5\nservice_name = \"\"\nx = 1";
        let lines = parse(text).unwrap_err();
        assert_eq!(
            lines,
            [
                "f:2: telemetry.otlp: found no address of a receiver; accepted: http://HOST or http://HOST:PORT \
                 without a path (port 4317 if none is given)",
                "f:3: telemetry.sample: found 1.5; accepted: a number from 0 to 1",
                "f:4: telemetry.service_name: found \"\"; accepted: 1 to 255 bytes of text without control characters",
                "f:5: telemetry.x: unknown key; accepted: otlp, sample, service_name",
            ]
        );
        for sample in ["-0.1", "nan", "inf", "\"1\""] {
            let text = format!("[telemetry]\notlp = \"http://c\"\nsample = {sample}");
            assert!(parse(&text).is_err(), "{sample}");
        }
        assert!(parse("[telemetry]").is_err());
    }
}
