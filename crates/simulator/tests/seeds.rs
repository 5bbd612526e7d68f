//! A taste of what `cargo xtask simulate` plays at length.

use simulator::{Bug, Scenario, run};

#[test]
fn the_first_seeds_keep_every_promise() {
    for seed in 1..=12 {
        let report = run(Scenario {
            seconds: 30,
            ..Scenario::from_seed(seed)
        });
        assert!(
            report.violations.is_empty(),
            "seed {seed}: {:?}",
            report.violations
        );
        assert!(
            0 < report.admitted && 0 < report.faults,
            "seed {seed} tested nothing"
        );
    }
}

#[test]
fn a_retry_that_is_counted_twice_is_caught() {
    let mut reports = (1..=20).map(|seed| {
        let scenario = Scenario::from_seed(seed);
        run(Scenario {
            bug: Some(Bug::RetryCountsTwice),
            ..scenario
        })
    });
    assert!(reports.any(|report| report.is_broken()));
}
