//! Names that come and go by the hundred, as pods do.

use membership::{Membership, Settings};
use quota::Nanos;

use crate::played::{Town, settings};

/// What is kept of a thousand names must not be a thousand of anything.
fn check(machine: &Membership, facts_max: usize, entries_max: usize) {
    let (facts, entries) = (machine.roster().facts().len(), machine.entries());
    assert!(facts <= facts_max, "{facts} facts in a roster");
    assert!(entries <= entries_max, "{entries} entries");
}

#[test]
fn a_thousand_names_that_leave_leave_nothing() {
    let mut town = Town::new(settings());
    let stays = ["ada", "bea"].map(|name| town.starts(name));
    for number in 0..1_000 {
        let pod = town.starts(&format!("pod-{number}"));
        town.passes(100);
        town.leaves(pod);
        for stayer in stays {
            assert_eq!(town.machine(stayer).addresses().count(), 1);
            // Those of the last ten seconds, two members and a number.
            check(town.machine(stayer), 110, 240);
        }
    }
    town.passes(11_000);
    for stayer in stays {
        check(town.machine(stayer), 3, 5);
    }
}

#[test]
fn a_thousand_names_that_die_leave_nothing_after_a_while() {
    let mut town = Town::new(Settings {
        forget_after: Some(Nanos::from_secs(5)),
        ..settings()
    });
    let stays = ["ada", "bea"].map(|name| town.starts(name));
    for number in 0..1_000 {
        let pod = town.starts(&format!("pod-{number}"));
        town.passes(200);
        town.dies(pod);
        for stayer in stays {
            // Those of the last five seconds.
            assert!(town.machine(stayer).addresses().count() <= 30);
            check(town.machine(stayer), 30, 160);
        }
    }
    town.passes(6_000);
    for stayer in stays {
        assert_eq!(town.machine(stayer).addresses().count(), 1);
        // Sixty-four of them are still looked for.
        check(town.machine(stayer), 3, 5 + 64);
    }
}

/// While somebody is dead nobody can tell whether it knows who left.
#[test]
fn who_left_beside_a_dead_member_is_kept_within_a_bound() {
    let mut town = Town::new(settings());
    let stays = ["ada", "bea"].map(|name| town.starts(name));
    let dead = town.starts("cal");
    town.passes(1_000);
    town.dies(dead);
    for number in 0..400 {
        let pod = town.starts(&format!("pod-{number}"));
        town.passes(50);
        town.leaves(pod);
    }
    town.passes(20_000);
    for stayer in stays {
        check(town.machine(stayer), 256 + 4, 2 * 256 + 8);
        assert_eq!(town.machine(stayer).addresses().count(), 2);
        let roster = town.machine(stayer).roster();
        assert_eq!(roster.iter().count(), 256 + 3);
        assert_eq!(roster.get("pod-143"), None, "the oldest went");
        assert!(roster.get("pod-144").is_some());
    }
}
