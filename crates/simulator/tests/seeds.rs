//! A taste of what `cargo xtask simulate` plays at length.

use simulator::{Bug, CatalogueBug, Scenario, run, run_catalogue};

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

#[test]
fn the_first_seeds_of_the_catalogue_keep_every_promise() {
    for seed in 1..=20 {
        let report = run_catalogue(seed, None);
        assert!(
            report.violations.is_empty(),
            "seed {seed}: {:?}",
            report.violations
        );
        assert!(
            100 < report.changes && 0 < report.revocations && 0 < report.faults,
            "seed {seed} tested nothing"
        );
    }
}

#[test]
fn every_bug_of_the_catalogue_is_caught() {
    for bug in CatalogueBug::ALL {
        let is_caught = |seed| {
            let report = run_catalogue(seed, Some(bug));
            let promises = report.violations.iter().map(|it| it.promise);
            promises.into_iter().any(|it| it == bug.must_break())
        };
        assert!((1..=40).any(is_caught), "{bug:?}");
    }
}
