//! Who is asked to pass a hit on, and who lately said that it cannot.

use delta_crdt::ReplicaId;
use quota::BootNanos;
use request::Detours;

const OWNER: ReplicaId = ReplicaId(0);

fn at(millis: u64) -> BootNanos {
    BootNanos::new(millis * 1_000_000)
}

#[test]
fn who_does_not_reach_an_owner_is_asked_again_after_a_tenth_of_a_second() {
    let (by, other) = (ReplicaId(1), ReplicaId(2));
    let mut detours = Detours::default();
    assert!(detours.may_detour(at(0), OWNER, by));
    detours.on_unreached(at(0), OWNER, by);
    assert!(!detours.may_detour(at(99), OWNER, by));
    assert!(detours.may_detour(at(100), OWNER, by));
    assert!(detours.may_detour(at(0), OWNER, other), "another member");
    assert!(detours.may_detour(at(0), other, by), "another owner");
}

/// 1 024 pairs are remembered. One more is asked again at once, until the others are over.
#[test]
fn pairs_are_bounded_and_make_room_when_they_are_over() {
    let mut detours = Detours::default();
    for by in 1..=1_024 {
        detours.on_unreached(at(0), OWNER, ReplicaId(by));
    }
    let (last, beyond) = (ReplicaId(1_024), ReplicaId(1_025));
    assert!(!detours.may_detour(at(1), OWNER, last));
    let almost = BootNanos::new(99_999_999);
    detours.on_unreached(almost, OWNER, beyond);
    assert!(detours.may_detour(almost, OWNER, beyond), "no room");
    detours.on_unreached(at(100), OWNER, beyond);
    assert!(!detours.may_detour(at(100), OWNER, beyond), "room again");
}
