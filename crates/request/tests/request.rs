//! One request from asked to told, by what a driver reports.

use std::collections::BTreeSet;

use coordinator::{FailMode, NoDecision};
use delta_crdt::ReplicaId;
use quota::{Algorithm, BootNanos, Cost, Decision, KeyHash, Limit, Nanos, Verdict};
use request::{
    Acknowledge, Detours, LOOK_AGAIN, Next, Outlook, Relay, Request, Said, Subject, Unsent, Way,
    relay,
};
use shard::{HitId, Operation, ShardId};

const ME: ReplicaId = ReplicaId(1);
const OWNER: ReplicaId = ReplicaId(2);
const THIRD: ReplicaId = ReplicaId(3);
const FOURTH: ReplicaId = ReplicaId(4);
const SHARD: ShardId = ShardId(7);

/// Node 1 of four; node 2 owns the shard.
#[derive(Clone)]
struct World {
    owner: Option<ReplicaId>,
    reached: BTreeSet<ReplicaId>,
    detours: Detours,
    now: BootNanos,
    lacks_quorum: bool,
    is_stopping: bool,
}

impl World {
    fn new() -> Self {
        Self {
            owner: Some(OWNER),
            reached: BTreeSet::from([OWNER, THIRD, FOURTH]),
            detours: Detours::default(),
            now: BootNanos::new(1),
            lacks_quorum: false,
            is_stopping: false,
        }
    }

    /// Node 1 does not reach the owner.
    fn cut() -> Self {
        let mut world = Self::new();
        world.reached.remove(&OWNER);
        world
    }
}

impl Outlook for World {
    fn me(&self) -> ReplicaId {
        ME
    }
    fn owner(&self, _: ShardId) -> Option<ReplicaId> {
        self.owner
    }
    fn reaches(&self, peer: ReplicaId) -> bool {
        self.reached.contains(&peer)
    }
    fn others(&self) -> impl Iterator<Item = ReplicaId> {
        [OWNER, THIRD, FOURTH].into_iter()
    }
    fn may_detour(&self, owner: ReplicaId, by: ReplicaId) -> bool {
        self.detours.may_detour(self.now, owner, by)
    }
    fn lacks_quorum(&self) -> bool {
        self.lacks_quorum
    }
    fn is_stopping(&self) -> bool {
        self.is_stopping
    }
}

fn subject(operation: Operation, on_failure: FailMode) -> Subject {
    Subject {
        shard: SHARD,
        key: KeyHash::new(1),
        limit: Limit::new(Algorithm::Gcra, 5, Nanos::from_secs(1)).unwrap(),
        operation,
        on_failure,
    }
}

fn request(operation: Operation) -> Request {
    numbered(1, operation)
}

/// The request of that number.
fn numbered(sequence: u64, operation: Operation) -> Request {
    let id = HitId {
        origin: ME,
        sequence,
    };
    let deadline = BootNanos::new(1) + request::DEADLINE;
    Request::new(ME, subject(operation, FailMode::Deny), id, deadline)
}

fn hit() -> Request {
    request(Operation::Hit(Cost::ONE))
}

fn next(request: &mut Request, world: &World) -> Next {
    request.next(world.now, world)
}

/// Whom the next attempt asks.
#[track_caller]
fn asked(request: &mut Request, world: &World) -> (ReplicaId, Way) {
    match next(request, world) {
        Next::Ask { to, way, .. } => (to, way),
        next => panic!("asks nobody: {next:?}"),
    }
}

#[track_caller]
fn waits(request: &mut Request, world: &World) {
    let next = next(request, world);
    assert!(matches!(next, Next::Wait { .. }), "{next:?}");
}

#[track_caller]
fn error(request: &mut Request, world: &World) -> NoDecision {
    match next(request, world) {
        Next::Tell(Err(error)) => error,
        next => panic!("tells no error: {next:?}"),
    }
}

fn past_the_deadline(world: &World) -> World {
    World {
        now: world.now + request::DEADLINE,
        ..world.clone()
    }
}

fn decision(verdict: Verdict) -> Decision {
    Decision {
        verdict,
        remaining: 1,
        grows_after: Nanos::ZERO,
        reset_after: Nanos::ZERO,
    }
}

#[test]
fn what_the_owner_decides_is_told() {
    let (mut hit, world) = (hit(), World::new());
    assert_eq!(asked(&mut hit, &world), (OWNER, Way::Direct));
    let decision = decision(Verdict::Allow);
    hit.on_said(Said::Decided(decision));
    assert_eq!(next(&mut hit, &world), Next::Tell(Ok(decision.into())));
}

#[test]
fn a_hit_follows_the_owner_under_the_same_id() {
    let (mut hit, mut world) = (hit(), World::new());
    asked(&mut hit, &world);
    hit.on_said(Said::Elsewhere(Some(THIRD)));
    assert_eq!(asked(&mut hit, &world), (THIRD, Way::Direct));
    hit.on_said(Said::Elsewhere(Some(ME)));
    waits(&mut hit, &world);
    world.owner = Some(ME);
    let here = Next::DecideHere { id: hit.id() };
    assert_eq!(next(&mut hit, &world), here);
    assert_eq!(hit.id().sequence, 1);
}

/// Two nodes that each name the other must not be asked without an end.
#[test]
fn nodes_that_name_each_other_are_asked_once_between_two_pauses() {
    let (mut hit, world) = (hit(), World::new());
    let mut asked = 0;
    for round in 0..3 {
        loop {
            match next(&mut hit, &world) {
                Next::Ask { to, .. } => {
                    asked += 1;
                    let other = if to == OWNER { THIRD } else { OWNER };
                    hit.on_said(Said::Elsewhere(Some(other)));
                }
                Next::Wait { at_most } => break assert_eq!(at_most, LOOK_AGAIN),
                next => panic!("{next:?}"),
            }
        }
        assert!(asked <= (round + 1) * 5, "{asked} asked in {round} rounds");
    }
}

/// Every way in which a hit can be left without an answer, and whether it can have been counted.
#[test]
fn what_is_told_of_a_hit_that_is_given_up_is_what_is_known_of_it() {
    let unsent = |hit: &mut Request| hit.on_unsent(Unsent::Unreached);
    type Report = fn(&mut Request);
    let ways: [(&str, Report, bool); 7] = [
        ("nothing came of it", |_| {}, false),
        ("busy", |hit| hit.on_said(Said::Busy), false),
        ("unsent", unsent, false),
        ("unreached", |hit| hit.on_said(Said::Unreached), false),
        ("unanswered", Request::on_unanswered, true),
        ("unsure", |hit| hit.on_said(Said::Unsure), true),
        ("held", Request::on_held, true),
    ];
    for (name, way, perhaps) in ways {
        for operation in [
            Operation::Hit(Cost::ONE),
            Operation::Hit(Cost::PEEK),
            Operation::Refund(Cost::ONE),
            Operation::Reset,
        ] {
            let (mut request, world) = (request(operation), World::new());
            asked(&mut request, &world);
            way(&mut request);
            let error = error(&mut request, &past_the_deadline(&world));
            let is_unknown = perhaps && operation != Operation::Hit(Cost::PEEK);
            assert_eq!(!error.is_uncounted(), is_unknown, "{name}, {operation:?}");
        }
    }
}

/// A full queue was told as "not counted" although an earlier attempt of the same hit had been sent and not answered.
#[test]
fn a_full_queue_after_an_attempt_that_may_have_counted_is_no_reason_to_say_not_counted() {
    let (mut hit, world) = (hit(), World::new());
    asked(&mut hit, &world);
    hit.on_unanswered();
    waits(&mut hit, &world);
    asked(&mut hit, &world);
    hit.on_unsent(Unsent::Full);
    waits(&mut hit, &world);
    let told = error(&mut hit, &past_the_deadline(&world));
    assert!(matches!(told, NoDecision::Unknown { .. }), "{told:?}");
}

#[test]
fn a_full_queue_at_the_first_attempt_sheds_at_once() {
    let (mut hit, world) = (hit(), World::new());
    asked(&mut hit, &world);
    hit.on_unsent(Unsent::Full);
    let told = error(&mut hit, &world);
    assert!(matches!(told, NoDecision::Overloaded { .. }), "{told:?}");
}

#[test]
fn a_node_that_stops_says_what_is_known_of_its_hits() {
    for (perhaps, draining) in [(false, true), (true, false)] {
        let (mut hit, mut world) = (hit(), World::new());
        asked(&mut hit, &world);
        if perhaps {
            hit.on_unanswered();
        }
        world.is_stopping = true;
        let told = error(&mut hit, &world);
        assert_eq!(matches!(told, NoDecision::Draining { .. }), draining);
    }
}

#[test]
fn a_hit_goes_by_way_of_a_member_that_reaches_the_owner() {
    let (mut hit, world) = (hit(), World::cut());
    let way = Way::Relay { owner: OWNER };
    let (first, asked_for) = asked(&mut hit, &world);
    assert_eq!(asked_for, way);
    hit.on_said(Said::Unreached);
    let (second, asked_for) = asked(&mut hit, &world);
    assert_eq!(asked_for, way);
    assert_eq!(
        BTreeSet::from([first, second]),
        BTreeSet::from([THIRD, FOURTH])
    );
    hit.on_said(Said::Unreached);
    waits(&mut hit, &world);
}

#[test]
fn requests_that_follow_one_another_go_by_way_of_different_members() {
    let world = World::cut();
    let by = (1_u64..=6).map(|number| {
        let mut hit = numbered(number, Operation::Hit(Cost::ONE));
        asked(&mut hit, &world).0
    });
    // The third would begin with the owner, which is not reached.
    let expected = [THIRD, FOURTH, THIRD, THIRD, FOURTH, THIRD];
    assert_eq!(by.collect::<Vec<_>>(), expected);
}

#[test]
fn who_does_not_reach_the_owner_either_is_not_asked_again_for_a_while() {
    let (mut hit, mut world) = (hit(), World::cut());
    world.reached.remove(&FOURTH);
    assert_eq!(asked(&mut hit, &world).0, THIRD);
    hit.on_said(Said::Unreached);
    world.detours.on_unreached(world.now, OWNER, THIRD);
    waits(&mut hit, &world);
    waits(&mut hit, &world);
    world.now = world.now + Nanos::from_millis(100);
    assert_eq!(asked(&mut hit, &world).0, THIRD);
}

#[test]
fn a_member_passes_on_to_the_owner_that_it_reaches_and_never_back() {
    // Node 1 is asked by node 3.
    let mut world = World::new();
    assert_eq!(relay(&world, THIRD, SHARD), Relay::PassOn(OWNER));
    world.reached.remove(&OWNER);
    let unreached = Relay::Say(Said::Unreached);
    assert_eq!(relay(&world, THIRD, SHARD), unreached);
    world.owner = Some(THIRD);
    let back = Relay::Say(Said::Elsewhere(Some(THIRD)));
    assert_eq!(relay(&world, THIRD, SHARD), back);
    world.owner = Some(ME);
    assert_eq!(relay(&world, THIRD, SHARD), Relay::DecideHere);
    world.owner = None;
    let nobody = Relay::Say(Said::Elsewhere(None));
    assert_eq!(relay(&world, THIRD, SHARD), nobody);
}

/// A minority under `quorum` waited 3.5 s for every hit, and then said that it was unknown whether it was counted.
#[test]
fn a_minority_answers_at_once_that_the_hit_was_not_counted() {
    let mut world = World::cut();
    world.lacks_quorum = true;
    world.reached.clear();
    for owner in [Some(OWNER), Some(ME), None] {
        let mut hit = hit();
        world.owner = owner;
        let told = error(&mut hit, &world);
        assert!(matches!(told, NoDecision::Unavailable { .. }), "{told:?}");
    }
}

#[test]
fn an_answer_that_was_held_when_the_quorum_went_is_unknown_at_once() {
    let (mut hit, mut world) = (hit(), World::new());
    world.owner = Some(ME);
    assert!(matches!(next(&mut hit, &world), Next::DecideHere { .. }));
    hit.on_held();
    assert!(matches!(next(&mut hit, &world), Next::AwaitHeld { .. }));
    world.lacks_quorum = true;
    let told = error(&mut hit, &world);
    assert!(matches!(told, NoDecision::Unknown { .. }), "{told:?}");
}

#[test]
fn the_fail_mode_answers_for_hits_alone() {
    let world = past_the_deadline(&World::new());
    let id = hit().id();
    for (operation, passes) in [
        (Operation::Hit(Cost::ONE), true),
        (Operation::Refund(Cost::ONE), false),
        (Operation::Reset, false),
    ] {
        let subject = subject(operation, FailMode::Allow);
        let mut request = Request::new(ME, subject, id, world.now);
        match next(&mut request, &world) {
            Next::Tell(Ok(answer)) => assert!(passes && answer.by_fail_mode),
            Next::Tell(Err(_)) => assert!(!passes, "{operation:?}"),
            next => panic!("{next:?}"),
        }
    }
}

#[test]
fn a_hit_that_was_admitted_is_counted_and_nothing_else_is() {
    let retry_after = Nanos::from_secs(1);
    for (operation, verdict, is_counted) in [
        (Operation::Hit(Cost::ONE), Verdict::Allow, true),
        (
            Operation::Hit(Cost::ONE),
            Verdict::Deny { retry_after },
            false,
        ),
        (Operation::Hit(Cost::PEEK), Verdict::Allow, false),
        (Operation::Refund(Cost::ONE), Verdict::Allow, false),
        (Operation::Reset, Verdict::Allow, false),
    ] {
        let subject = subject(operation, FailMode::Deny);
        assert_eq!(subject.is_counted_by(&decision(verdict)), is_counted);
    }
}

#[test]
fn a_hit_goes_unnamed_where_its_answer_waits_for_nobody() {
    let fast = Acknowledge::Fast {
        max_lag: Nanos::from_millis(250),
    };
    let mut world = World::new();
    let subject = *hit().subject();
    assert!(!subject.may_go_unnamed(fast, &world), "owned elsewhere");
    world.owner = Some(ME);
    assert!(subject.may_go_unnamed(fast, &world));
    assert!(!subject.may_go_unnamed(Acknowledge::Replicated, &world));
}
