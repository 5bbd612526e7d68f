//! The comparison as JSON, for programs. Names end in their unit; what is not known is null.

use std::time::Duration;

use serde_json::{Value, json};

use super::facts::{Part, Slot};
use super::trial::Trial;
use super::{Comparison, Row};

/// One object on a line of its own.
pub(crate) fn json(comparison: &Comparison) -> String {
    let workload = &comparison.workload;
    let strategies: Vec<Value> = comparison.rows.iter().map(row).collect();
    let json = json!({
        "complete": comparison.is_complete(),
        "workload": {
            "rate": workload.rate,
            "clients": workload.clients,
            "seconds": workload.seconds,
            "keys": workload.keys,
            "skew": workload.skew,
            "limit": workload.limit,
            "on_failure": workload.on_failure.name(),
        },
        "machine": {
            "cores": comparison.machine.cores,
            "load_before": comparison.machine.load_before,
        },
        "strategies": strategies,
    });
    format!("{json}\n")
}

fn row(row: &Row) -> Value {
    let strategy = row.strategy.name();
    match &row.outcome {
        Ok(trial) => {
            let mut json = compared(trial);
            json["strategy"] = strategy.into();
            json["compared"] = true.into();
            json
        }
        Err(why) => json!({ "strategy": strategy, "compared": false, "why": why }),
    }
}

fn compared(trial: &Trial) -> Value {
    let Trial {
        facts,
        totals,
        moments,
        ..
    } = trial;
    let timeline: Vec<Value> = facts.timeline.iter().map(slot).collect();
    json!({
        "quiet": part(&facts.quiet),
        "fault": part(&facts.fault),
        "after": part(&facts.after),
        "killed": trial.victim.name(),
        "killed_at_ms": millis(moments.killed),
        "restarted_at_ms": millis(moments.restarted),
        "silence_ms": millis(facts.silence),
        "normal_after_ms": facts.normal_after.map(millis),
        "failed": facts.failed,
        "failed_before_fault": facts.failed_before,
        "refused": facts.refused,
        "failed_open": facts.failed_open,
        "counted_by_owner": trial.by_owner,
        "server_cpu_us": trial.cpu.map(|cpu| cpu.as_secs_f64() * 1e6),
        "sent": totals.sent,
        "ideal": totals.ideal,
        "admitted": totals.admitted,
        "over_admitted": totals.over,
        "under_admitted": totals.under,
        "forgotten": totals.forgotten,
        "timeline": timeline,
    })
}

fn part(part: &Part) -> Value {
    json!({
        "decisions_per_second": part.per_second,
        "p50_ms": part.p50.map(millis),
        "p99_ms": part.p99.map(millis),
        "longest_ms": part.longest.map(millis),
    })
}

fn slot(slot: &Slot) -> Value {
    json!({
        "at_ms": millis(slot.start),
        "per_second": slot.part.per_second,
        "p50_ms": slot.part.p50.map(millis),
        "p99_ms": slot.part.p99.map(millis),
        "failed": slot.failed,
    })
}

fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::super::tests::comparison;
    use super::*;

    #[test]
    fn programs_read_what_people_read() {
        let json: Value = serde_json::from_str(&json(&comparison())).unwrap();
        assert_eq!(json["complete"], false);
        assert_eq!(json["workload"]["keys"], 100);
        let [owner, redis] = [0, 1].map(|row| &json["strategies"][row]);
        assert_eq!(
            (&owner["strategy"], &owner["compared"]),
            (&json!("owner"), &json!(true))
        );
        assert_eq!(
            (&owner["ideal"], &owner["over_admitted"]),
            (&json!(14), &json!(3))
        );
        assert_eq!(owner["killed_at_ms"], 1_000.0);
        assert_eq!(owner["silence_ms"], 500.0);
        assert_eq!(owner["timeline"].as_array().map(Vec::len), Some(100));
        let missing =
            json!({"strategy": "redis", "compared": false, "why": "redis-server is away"});
        assert_eq!(*redis, missing);
    }
}
