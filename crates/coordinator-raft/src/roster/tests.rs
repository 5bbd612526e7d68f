use super::*;

/// Members by name, in the order of the alphabet: `a` is 1. Small letters live, `-a` is dead, `~a` leaves, `?a` asks.
fn members(all: &str) -> Vec<Member> {
    all.split_whitespace()
        .map(|word| {
            let name = word.trim_start_matches(['-', '~', '?']);
            Member {
                id: id(name),
                name: name.to_owned(),
                is_alive: !word.starts_with('-'),
                is_leaving: word.starts_with('~'),
                votes: !word.starts_with('?'),
            }
        })
        .collect()
}

fn id(name: &str) -> u32 {
    u32::from(name.as_bytes()[0] - b'a') + 1
}

fn ids(names: &str) -> BTreeSet<u32> {
    names.split_whitespace().map(id).collect()
}

fn next(voters: &str, learners: &str, all: &str, caught_up: &str) -> Option<Change> {
    let members = members(all);
    Roster {
        configs: &[ids(voters)],
        nodes: &(&ids(voters) | &ids(learners)),
        members: &members,
        caught_up: &ids(caught_up),
        running: &members.iter().map(|member| member.id).collect(),
    }
    .next_change()
}

#[test]
fn members_learn_and_the_lowest_names_come_to_vote_in_odd_numbers() {
    assert_eq!(next("a", "", "a b c", ""), Some(Change::Learn(ids("b c"))));
    assert_eq!(
        next("a", "b c", "a b c", "b"),
        None,
        "two voters bear no more than one"
    );
    assert_eq!(
        next("a", "b c", "a b c", "b c"),
        Some(Change::Vote(ids("a b c")))
    );
    assert_eq!(next("a b c", "d", "a b c d", "d"), None);
    let all = "a b c d e f g";
    assert_eq!(
        next("c", "a b d e f g", all, all),
        Some(Change::Vote(ids("a b c d e")))
    );
    assert_eq!(next("a b c d e", "f g", all, all), None);
}

#[test]
fn who_asks_learns_and_never_comes_to_vote() {
    assert_eq!(next("b", "", "?a b", ""), Some(Change::Learn(ids("a"))));
    assert_eq!(next("b", "a c", "?a b c", "a c"), None);
    assert_eq!(
        next("b", "a c d", "?a b c d", "a c d"),
        Some(Change::Vote(ids("b c d")))
    );
}

#[test]
fn voters_that_are_gone_go_and_are_replaced() {
    assert_eq!(
        next("a b c", "d", "a -b c d", "d"),
        Some(Change::Vote(ids("a c d")))
    );
    assert_eq!(
        next("a b c", "", "a -b c", ""),
        Some(Change::Vote(ids("a c")))
    );
    assert_eq!(next("a c", "", "a -b c", ""), None);
    assert_eq!(
        next("a b c", "", "~a b c", ""),
        Some(Change::Vote(ids("b c")))
    );
    assert_eq!(next("b c", "a", "~a b c", ""), None, "it still asks");
    assert_eq!(
        next("b c", "a", "-a b c", ""),
        Some(Change::Remove(ids("a")))
    );
    assert_eq!(next("b c", "a", "b c", ""), Some(Change::Remove(ids("a"))));
}

/// Once it counted one voter fewer than none.
#[test]
fn the_last_voter_that_leaves_is_followed_by_nobody() {
    assert_eq!(next("a", "", "~a", ""), None);
    assert_eq!(next("a", "b", "~a -b", "b"), Some(Change::Remove(ids("b"))));
}

#[test]
fn without_a_majority_nothing_changes() {
    assert_eq!(next("a b c", "", "a -b -c", ""), None);
    assert_eq!(next("a b c", "d e", "a -b -c d e", "d e"), None);
}

#[test]
fn an_exchange_of_voters_is_finished_first() {
    let members = members("a b c d");
    let change = Roster {
        configs: &[ids("a b c"), ids("a b d")],
        nodes: &ids("a b c d"),
        members: &members,
        caught_up: &ids(""),
        running: &ids("a b c d"),
    }
    .next_change();
    assert_eq!(change, Some(Change::Vote(ids("a b d"))));
}

#[test]
fn a_member_that_does_not_run_the_strategy_is_left_out() {
    let members = members("a b");
    let change = Roster {
        configs: &[ids("a")],
        nodes: &ids("a"),
        members: &members,
        caught_up: &ids(""),
        running: &ids("a"),
    }
    .next_change();
    assert_eq!(change, None);
}

#[test]
fn a_group_is_doomed_when_no_majority_of_its_voters_is_left() {
    let doomed = |gone: &str| is_doomed(&[ids("a b c")], |id| ids(gone).contains(&id));
    assert!(!doomed("") && !doomed("a"));
    assert!(doomed("a b") && doomed("a b c"));
    // While voters are exchanged, a majority of both is needed.
    let exchanged =
        |gone: &str| is_doomed(&[ids("a b"), ids("a b c")], |id| ids(gone).contains(&id));
    assert!(exchanged("b") && !exchanged("c"));
}

#[test]
fn a_newcomer_is_settled_when_it_votes_or_no_vote_of_it_is_wanted() {
    let settled = |configs: &[&str], learners: &str, me: &str| {
        let configs: Vec<_> = configs.iter().map(|names| ids(names)).collect();
        let voters = configs.iter().flatten().copied().collect();
        let nodes = &ids(learners) | &voters;
        let members = members("a b c d");
        Roster {
            configs: &configs,
            nodes: &nodes,
            members: &members,
            caught_up: &nodes,
            running: &nodes,
        }
        .is_settled(id(me))
    };
    assert!(settled(&["a b c"], "d", "a"));
    assert!(settled(&["a b c"], "d", "d"), "three of four vote");
    assert!(!settled(&["a b"], "c", "c"), "it is owed a vote");
    assert!(!settled(&["a b c"], "", "d"), "not of the group yet");
    assert!(
        !settled(&["a b", "a b c"], "", "c"),
        "not before a and b have agreed"
    );
}
