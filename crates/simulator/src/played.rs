//! The strategies and the catalogue, each played in the same way: a seed in, broken promises out.

use clap::ValueEnum;

use crate::{
    Bug, CatalogueBug, KeptBug, LocalBug, RaftBug, RoughBug, Scenario, Violation, run,
    run_catalogue, run_kept, run_local, run_raft, run_rough,
};

/// A strategy that can be played, or what is played beside them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Played {
    /// Each key has an owner: promises P1 to P6.
    Owner,
    /// Every node counts and tells the others: L1 to L3.
    Local,
    /// Nodes agree on every hit: R1 to R7.
    Raft,
    /// No strategy: what people change is told to every node: C1 to C8.
    Catalogue,
    /// Each key has an owner, nobody dies, and links are rough: F1 to F4.
    Rough,
    /// Each key has an owner, and all nodes are stopped or killed and come back with their disks: K1 to K7.
    Kept,
}

/// A bug of one of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnyBug {
    /// Of `owner`.
    Owner(Bug),
    /// Of `local`.
    Local(LocalBug),
    /// Of `raft`.
    Raft(RaftBug),
    /// Of the catalogue.
    Catalogue(CatalogueBug),
    /// Of `rough`.
    Rough(RoughBug),
    /// Of kept counts.
    Kept(KeptBug),
}

/// What came of one seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which one.
    pub seed: u64,
    /// What happened, and how often.
    pub counts: Vec<(&'static str, u64)>,
    /// Promises broken; empty when all is well.
    pub violations: Vec<Violation>,
}

impl Played {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::Owner,
        Self::Rough,
        Self::Kept,
        Self::Local,
        Self::Raft,
        Self::Catalogue,
    ];

    /// As it is written on the command line, and in a limit; `rough` and `kept` are `owner` in other worlds.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Local => "local",
            Self::Raft => "raft",
            Self::Catalogue => "catalogue",
            Self::Rough => "rough",
            Self::Kept => "kept",
        }
    }

    /// For so many seeds of `owner`, how many of this strategy: the others have far fewer ways to go wrong.
    #[must_use]
    pub const fn share(self, seeds: u64) -> u64 {
        match self {
            Self::Owner => seeds,
            Self::Rough => seeds.div_ceil(4),
            Self::Kept | Self::Local | Self::Catalogue => seeds.div_ceil(10),
            // And each takes ten times as long.
            Self::Raft => seeds.div_ceil(40),
        }
    }

    /// Every bug that can be switched on.
    #[must_use]
    pub fn bugs(self) -> Vec<AnyBug> {
        match self {
            Self::Owner => Bug::ALL.map(AnyBug::Owner).to_vec(),
            Self::Local => LocalBug::ALL.map(AnyBug::Local).to_vec(),
            Self::Raft => RaftBug::ALL.map(AnyBug::Raft).to_vec(),
            Self::Catalogue => CatalogueBug::ALL.map(AnyBug::Catalogue).to_vec(),
            Self::Rough => RoughBug::ALL.map(AnyBug::Rough).to_vec(),
            Self::Kept => KeptBug::ALL.map(AnyBug::Kept).to_vec(),
        }
    }

    /// The bug of that name.
    #[must_use]
    pub fn bug(self, name: &str) -> Option<AnyBug> {
        match self {
            Self::Owner => Bug::from_str(name, true).ok().map(AnyBug::Owner),
            Self::Local => LocalBug::from_str(name, true).ok().map(AnyBug::Local),
            Self::Raft => RaftBug::from_str(name, true).ok().map(AnyBug::Raft),
            Self::Catalogue => {
                let bug = CatalogueBug::from_str(name, true);
                bug.ok().map(AnyBug::Catalogue)
            }
            Self::Rough => RoughBug::from_str(name, true).ok().map(AnyBug::Rough),
            Self::Kept => KeptBug::from_str(name, true).ok().map(AnyBug::Kept),
        }
    }

    /// Plays one seed of the default workload, with a bug if it is one of this strategy.
    #[must_use]
    pub fn play(self, seed: u64, bug: Option<AnyBug>) -> Outcome {
        match (self, bug) {
            (Self::Owner, bug) => play_owner(Scenario {
                bug: bug.and_then(AnyBug::of_owner),
                ..Scenario::from_seed(seed)
            }),
            (Self::Local, Some(AnyBug::Local(bug))) => play_local(seed, Some(bug)),
            (Self::Local, _) => play_local(seed, None),
            (Self::Raft, Some(AnyBug::Raft(bug))) => play_raft(seed, Some(bug)),
            (Self::Raft, _) => play_raft(seed, None),
            (Self::Catalogue, Some(AnyBug::Catalogue(bug))) => play_catalogue(seed, Some(bug)),
            (Self::Catalogue, _) => play_catalogue(seed, None),
            (Self::Rough, Some(AnyBug::Rough(bug))) => play_rough(seed, Some(bug), false, None),
            (Self::Rough, _) => play_rough(seed, None, false, None),
            (Self::Kept, Some(AnyBug::Kept(bug))) => play_kept(seed, Some(bug), false),
            (Self::Kept, _) => play_kept(seed, None, false),
        }
    }
}

impl AnyBug {
    /// As it is written on a command line.
    #[must_use]
    pub fn name(self) -> String {
        let value = match self {
            Self::Owner(bug) => bug.to_possible_value(),
            Self::Local(bug) => bug.to_possible_value(),
            Self::Raft(bug) => bug.to_possible_value(),
            Self::Catalogue(bug) => bug.to_possible_value(),
            Self::Rough(bug) => bug.to_possible_value(),
            Self::Kept(bug) => bug.to_possible_value(),
        };
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What it is a bug of.
    #[must_use]
    pub const fn strategy(self) -> Played {
        match self {
            Self::Owner(_) => Played::Owner,
            Self::Local(_) => Played::Local,
            Self::Raft(_) => Played::Raft,
            Self::Catalogue(_) => Played::Catalogue,
            Self::Rough(_) => Played::Rough,
            Self::Kept(_) => Played::Kept,
        }
    }

    /// The bug of `owner`, if it is one.
    #[must_use]
    pub const fn of_owner(self) -> Option<Bug> {
        match self {
            Self::Owner(bug) => Some(bug),
            Self::Local(_)
            | Self::Raft(_)
            | Self::Rough(_)
            | Self::Catalogue(_)
            | Self::Kept(_) => None,
        }
    }

    /// From which seed on to look for one in which it is caught: the first of all that does. Whoever changes a world may find that
    /// another one does now: it is looked for among those that follow.
    #[must_use]
    pub const fn begins_at(self) -> u64 {
        match self {
            Self::Owner(Bug::MinorityForgets) => 140,
            Self::Owner(Bug::CountsAtOnce) => 98,
            Self::Owner(Bug::FoundsAlone) => 38,
            Self::Owner(Bug::CommonPastTwice | Bug::OwesNobody) => 25,
            Self::Owner(Bug::EvictsAlone) => 15,
            Self::Owner(Bug::AsksOwnerAlone) => 9,
            Self::Owner(
                Bug::VotesUnheard
                | Bug::WaitsInMinority
                | Bug::SilenceIsUnsent
                | Bug::KeepsEvidence
                | Bug::ForgetsSummerTime,
            ) => 7,
            Self::Owner(Bug::RepeatsOldRosters | Bug::AsksAndOwns) => 5,
            Self::Rough(RoughBug::DropsWhatItTold) => 871,
            Self::Rough(RoughBug::ClaimantForgets) => 493,
            Self::Rough(RoughBug::IdsAheadOfCounts) => 26,
            Self::Rough(RoughBug::PromiseIsReceipt) => 13,
            Self::Kept(KeptBug::AsksWhoRemembers) => 11,
            Self::Kept(KeptBug::FullIsSilent) => 10,
            Self::Kept(KeptBug::StopsUnwritten) => 7,
            Self::Kept(KeptBug::MinorityFounds) => 5,
            Self::Kept(KeptBug::CommonPastTwice) => 4,
            Self::Raft(RaftBug::LeapsAhead) => 8,
            Self::Raft(RaftBug::CountsRetryAgain) => 4,
            Self::Catalogue(CatalogueBug::NewerUsageStays) => 5,
            _ => 1,
        }
    }

    /// How a checker caught the bug in this run.
    #[must_use]
    pub fn catch(self, outcome: &Outcome) -> Option<&Violation> {
        let must_break = match self {
            Self::Owner(bug) => bug.must_break(),
            Self::Local(_) => None,
            Self::Raft(bug) => bug.must_break(),
            Self::Catalogue(bug) => Some(bug.must_break()),
            Self::Rough(bug) => Some(bug.must_break()),
            Self::Kept(bug) => bug.must_break(),
        };
        let mut violations = outcome.violations.iter();
        violations.find(|violation| must_break.is_none_or(|promise| promise == violation.promise))
    }
}

/// Plays one seed of the strategy `owner`.
#[must_use]
pub fn play_owner(scenario: Scenario) -> Outcome {
    let report = run(scenario);
    Outcome {
        seed: scenario.seed,
        counts: vec![
            ("decisions", report.decisions),
            ("admitted", report.admitted),
            ("answers", report.answered),
            ("faults", report.faults),
        ],
        violations: report.violations,
    }
}

fn play_local(seed: u64, bug: Option<LocalBug>) -> Outcome {
    let report = run_local(seed, bug);
    Outcome {
        seed,
        counts: vec![
            ("decisions", report.decisions),
            ("units found over", report.overshoot),
        ],
        violations: report.violations,
    }
}

fn play_raft(seed: u64, bug: Option<RaftBug>) -> Outcome {
    let report = run_raft(seed, bug);
    Outcome {
        seed,
        counts: vec![
            ("operations", report.operations),
            ("unanswered", report.unknown),
            ("faults", report.faults),
        ],
        violations: report.violations,
    }
}

fn play_catalogue(seed: u64, bug: Option<CatalogueBug>) -> Outcome {
    let report = run_catalogue(seed, bug);
    Outcome {
        seed,
        counts: vec![
            ("changes", report.changes),
            ("named somebody", report.pending),
            ("of revoked API keys", report.revocations),
            ("faults", report.faults),
        ],
        violations: report.violations,
    }
}

/// Plays one seed of `rough`; tells what happens, if that is wanted.
#[must_use]
pub fn play_rough(seed: u64, bug: Option<RoughBug>, verbose: bool, watch: Option<u16>) -> Outcome {
    let report = run_rough(seed, bug, verbose, watch);
    Outcome {
        seed,
        counts: vec![
            ("units admitted", report.admitted),
            ("unknown", report.unknown),
            ("forgotten", report.forgotten),
            ("counted by two", report.twice),
            ("beyond", report.beyond),
            ("streams ended", report.resets),
        ],
        violations: report.violations,
    }
}

/// Plays one seed of `kept`; tells what happens, if that is wanted.
#[must_use]
pub fn play_kept(seed: u64, bug: Option<KeptBug>, verbose: bool) -> Outcome {
    let report = run_kept(seed, bug, verbose);
    Outcome {
        seed,
        counts: vec![
            ("units admitted", report.admitted),
            ("unknown", report.unknown),
            ("forgotten by kills", report.forgotten),
            ("keys taken back", report.taken_back),
            ("logs written anew", report.rewritten),
        ],
        violations: report.violations,
    }
}
