//! A taste of what `cargo xtask simulate` plays at length.

use simulator::{Bug, KeptBug, Scenario, run, run_catalogue, run_kept};

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
    for seed in 1..=6 {
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
fn the_first_seeds_of_kept_counts_keep_every_promise() {
    for seed in 1..=6 {
        let report = run_kept(seed, None, false);
        assert_eq!(report.violations, [], "seed {seed}");
        assert!(
            1_000 < report.admitted && 0 < report.taken_back && 0 < report.rewritten,
            "seed {seed} tested nothing"
        );
    }
}

#[test]
fn what_a_node_did_not_write_before_it_stopped_is_missed() {
    let caught = (1..=20).find(|&seed| {
        let report = run_kept(seed, Some(KeptBug::StopsUnwritten), false);
        report.violations.iter().any(|it| it.promise == "K1")
    });
    assert!(caught.is_some());
}
