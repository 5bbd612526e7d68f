//! A taste of what `cargo xtask simulate --strategy rough` plays at length: each kind of roughness.

use simulator::{RoughBug, run_rough};

#[test]
fn what_is_counted_survives_any_number_of_forks() {
    for seed in 1..=9 {
        let report = run_rough(seed, None, false, None);
        // Where some packets are lost and nothing else is wrong, every stream may last.
        let may_last = seed % 9 == 0;
        assert!(0 < report.resets || may_last, "seed {seed}");
        assert!(0 < report.admitted, "seed {seed}");
        assert_eq!(report.violations, [], "seed {seed}");
    }
}

#[test]
fn what_is_dropped_without_a_receipt_is_missed() {
    let report = run_rough(13, Some(RoughBug::PromiseIsReceipt), false, None);
    let is_missed = report.violations.iter().any(|it| it.promise == "F3");
    assert!(is_missed && 0 < report.forgotten, "{report:?}");
}
