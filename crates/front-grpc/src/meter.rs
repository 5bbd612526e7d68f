//! What came of the descriptors that each rule was for.

use metrics::{Counter, counter};

use crate::in_force::InForce;
use crate::rules::Rules;

/// Counters of all rules, in their order. Made with the front, so that they go where its node's metrics go.
pub(crate) struct Meters(Vec<Meter>);

struct Meter {
    ok: Counter,
    over_limit: Counter,
    shadowed: Counter,
}

impl Meters {
    /// `weir_grpc_descriptors_total` of all rules.
    pub(crate) fn new(rules: &Rules) -> Self {
        let named = rules.named().iter();
        Self(
            named
                .map(|(domain, name)| Meter::new(domain, name))
                .collect(),
        )
    }

    /// Counts what a descriptor that is held to `in_force` was told. What came with a request has no counters: there is no
    /// bound to how many of those there are.
    pub(crate) fn count(&self, in_force: &InForce, is_over: bool) {
        let Some(meter) = in_force.place.and_then(|place| self.0.get(place)) else {
            return;
        };
        let counter = match (is_over, in_force.rule.is_shadow) {
            (false, _) => &meter.ok,
            (true, false) => &meter.over_limit,
            (true, true) => &meter.shadowed,
        };
        counter.increment(1);
    }
}

impl Meter {
    fn new(domain: &str, name: &str) -> Self {
        let of = |code: &'static str| {
            counter!(
                "weir_grpc_descriptors_total",
                "domain" => domain.to_owned(), "rule" => name.to_owned(), "code" => code
            )
        };
        Self {
            ok: of("ok"),
            over_limit: of("over_limit"),
            shadowed: of("shadowed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;
    use crate::ratelimit_config;

    #[test]
    fn each_rule_is_counted_by_what_its_descriptors_were_told() {
        let (mut rules, mut problems) = (Rules::default(), Vec::new());
        let text = "
domain: edge
descriptors:
  - {key: a, rate_limit: {unit: day, requests_per_unit: 1}}
  - {key: b, shadow_mode: true, rate_limit: {unit: day, requests_per_unit: 1}}
";
        ratelimit_config::read("f", text, &mut rules, &mut problems);
        let recorder = DebuggingRecorder::new();
        let meters = metrics::with_local_recorder(&recorder, || Meters::new(&rules));
        for (key, is_over) in [("a", false), ("a", true), ("b", true), ("b", true)] {
            let entries = [crate::descriptor::Entry {
                key: key.to_owned(),
                value: "1".to_owned(),
            }];
            let (in_force, _) = rules.find("edge", &entries).unwrap();
            meters.count(in_force, is_over);
        }
        let snapshot = recorder.snapshotter().snapshot().into_vec();
        let counted = snapshot
            .into_iter()
            .filter_map(|(key, _, _, value)| match value {
                DebugValue::Counter(count) if 0 < count => {
                    let labels = key.key().labels().map(|label| label.value().to_owned());
                    Some(format!("{} {count}", labels.collect::<Vec<_>>().join(" ")))
                }
                _ => None,
            });
        let mut counted: Vec<_> = counted.collect();
        counted.sort();
        assert_eq!(
            counted,
            [
                "edge edge.a ok 1",
                "edge edge.a over_limit 1",
                "edge edge.b shadowed 2"
            ]
        );
    }
}
