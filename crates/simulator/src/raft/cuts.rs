//! Links fail, not nodes: every cut of one or two links among three to five nodes, one way and both ways.

use std::time::Duration;

use coordinator::{Coordinator as _, FailMode};
use quota::{Algorithm, Cost};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::RaftBug;
use super::clients::{limit, policy};
use super::network::Node;
use super::world::{World, voters_of};
use crate::oracle::{SimTime, Violation};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// How long the nodes may take to become a group.
const FORMS: Duration = Duration::from_secs(15);
/// After the cut, hits that begin later than this are all decided: by then a way round is found, which takes 1.5 s, or
/// a leader that is heard and not answered has kept still, 1.3 s after the last answer, and another is elected, 1.2 s later.
const FINDS_A_WAY: Duration = Duration::from_secs(4);
/// For how long hits come after that.
const LASTS: Duration = Duration::from_secs(3);
/// From one hit through a node to the next.
const HIT_EVERY: Duration = Duration::from_millis(150);

/// From the cut of one seed to that of the next: seeds in a row are of all sizes. It has no divisor in common with the
/// number of cuts, so that as many seeds in a row as there are cuts play each once.
const STRIDE: u64 = 37;

/// A number of nodes, and from whom to whom nothing gets through, by their places.
type Cut = (usize, Vec<(usize, usize)>);

/// All of them.
fn all_cuts() -> Vec<Cut> {
    let mut all = Vec::new();
    for nodes in 3..=NAMES.len() {
        let links: Vec<(usize, usize)> = (0..nodes)
            .flat_map(|one| (one + 1..nodes).map(move |other| (one, other)))
            .collect();
        let ways = |(one, other): (usize, usize)| {
            [
                vec![(one, other), (other, one)],
                vec![(one, other)],
                vec![(other, one)],
            ]
        };
        for (place, &link) in links.iter().enumerate() {
            for cut in ways(link) {
                all.push((nodes, cut.clone()));
                for &further in &links[place + 1..] {
                    all.extend(ways(further).map(|more| (nodes, [cut.clone(), more].concat())));
                }
            }
        }
    }
    all
}

/// Plays one cut, and tells what was broken: a hit that failed although its node reaches most voters on some path.
pub(super) async fn cut_links(seed: u64, bug: Option<RaftBug>) -> Vec<Violation> {
    let began = Instant::now();
    let all = all_cuts();
    let (nodes, cut) = &all[(seed.wrapping_mul(STRIDE) % all.len() as u64) as usize];
    let names = &NAMES[..*nodes];
    let mut world = World::new(seed);
    world.despairs = bug == Some(RaftBug::DespairsWhenCut);
    for name in names {
        world.start(name);
    }
    let named = cut.iter().map(|&(from, to)| (names[from], names[to]));
    let named: Vec<_> = named.collect();
    let broken = async {
        let voters = voters_of(*nodes);
        let agree = |world: &World| world.agree_on(voters);
        if !world.comes_true(FORMS, agree).await {
            return Err(format!("no group: {:?}", world.statuses()));
        }
        world.cut(&named);
        tokio::time::sleep(FINDS_A_WAY).await;
        let mut clients = JoinSet::new();
        for place in with_a_path(*nodes, cut) {
            clients.spawn(hit_for_a_while(names[place], world.node(names[place])));
        }
        let told: Result<Vec<()>, String> = clients.join_all().await.into_iter().collect();
        told.map(drop)
            .map_err(|told| format!("{told}: {:?}", world.statuses()))
    };
    let violation = broken.await.err().map(|broken: String| Violation {
        promise: "R7",
        at: began.elapsed().as_nanos() as SimTime,
        story: format!("{nodes} nodes, nothing gets through {named:?}: {broken}"),
    });
    violation.into_iter().collect()
}

/// The nodes of the part that most are in, all of whom reach each other over links that carry both ways. Where most voters
/// are in no such part, nobody.
fn with_a_path(nodes: usize, cut: &[(usize, usize)]) -> Vec<usize> {
    let carries = |a, b| !cut.contains(&(a, b)) && !cut.contains(&(b, a));
    // Two cuts leave all but one node in one part: whichever has the most links is in it.
    let links = |a: usize| (0..nodes).filter(|&b| b != a && carries(a, b)).count();
    let middle = (0..nodes).max_by_key(|&a| links(a)).expect("nodes");
    let mut part = vec![middle];
    let mut seen = 0;
    while seen < part.len() {
        let here = part[seen];
        seen += 1;
        let next = (0..nodes).filter(|&there| there != here && carries(here, there));
        let next: Vec<_> = next.filter(|there| !part.contains(there)).collect();
        part.extend(next);
    }
    part
}

async fn hit_for_a_while(name: &str, node: Node) -> Result<(), String> {
    let policy = policy(limit(Algorithm::FixedWindow, 1_000_000), FailMode::Deny);
    let until = Instant::now() + LASTS;
    while Instant::now() < until {
        if let Err(error) = node.hit(&policy, "k", Cost::ONE).await {
            return Err(format!("a hit through {name}: {error}"));
        }
        tokio::time::sleep(HIT_EVERY).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_cuts_of_one_and_two_links_are_there_once() {
        let all = all_cuts();
        // Of links l: 3 ways for each, 9 for each two of them. 3, 6 and 10 links.
        let of = |links: usize| 3 * links + 9 * links * (links - 1) / 2;
        assert_eq!(all.len(), of(3) + of(6) + of(10));
        assert_ne!(all.len() as u64 % STRIDE, 0, "37 is a prime");
        let unique: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
    }

    #[test]
    fn who_has_no_link_left_has_no_path() {
        assert_eq!(with_a_path(3, &[(0, 1), (2, 0)]).len(), 2);
        assert_eq!(with_a_path(3, &[(0, 1)]).len(), 3);
        assert_eq!(with_a_path(4, &[(0, 1), (0, 2)]).len(), 4);
    }
}
