//! The strategy `raft`, played: nodes of `coordinator-raft` in a tokio runtime whose time is paused.
//!
//! The stated bound is checked in the words of `docs/strategies.md`:
//!
//! | promise | says |
//! | --- | --- |
//! | R1 | operations on a key are linearizable |
//! | R2 | the time in the log neither goes back nor leaps: no second admits more than a second's limit |
//! | R3 | everybody is answered within the deadline of a hit |
//! | R4 | soon after the faults all follow one leader, all vote that should, and answer the same |
//! | R5 | the group is formed once |
//! | R6 | nodes that are killed and started again, one after the other, decide again within seconds; and with what was counted, if each waits until all say that they are ready |
//! | R7 | while one or two links fail, and no node, no hit fails through a node that reaches most voters on some path |
//!
//! A seed decides everything: also what openraft draws, which comes from the nodes' ids, and what tokio draws, if it is
//! built with `--cfg tokio_unstable`, as `cargo xtask simulate` does.

mod clients;
mod cuts;
mod kills;
mod linear;
mod network;
mod run;
mod world;

use self::run::Run;
use crate::oracle::Violation;

pub use clients::{limit, policy};
pub use network::{FAIR, Node, Port, Weather};
pub use world::World;

/// A bug of the driver that somebody could have written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum RaftBug {
    /// A node that starts again does so under the id that it had, with nothing.
    ReusesId,
    /// What may have been counted is asked again as another hit.
    CountsRetryAgain,
    /// Whoever reads a key twice is told what it was told at first.
    AnswersFromMemory,
    /// Nodes that start together do not wait until they see each other.
    FoundsAlone,
    /// A node that starts again has a clock that is 10 s ahead, and nothing has slewed it.
    LeapsAhead,
    /// A node that died stays a member that is believed alive, also when it has started again as another.
    KeepsTheDead,
    /// A node that cannot reach one member takes all others for dead, too.
    DespairsWhenCut,
}

impl RaftBug {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::ReusesId,
        Self::CountsRetryAgain,
        Self::AnswersFromMemory,
        Self::FoundsAlone,
        Self::LeapsAhead,
        Self::KeepsTheDead,
        Self::DespairsWhenCut,
    ];

    /// The promise that the bug is there to break: it counts as caught when that one is seen broken. `None`: any.
    #[must_use]
    pub const fn must_break(self) -> Option<&'static str> {
        match self {
            Self::CountsRetryAgain | Self::AnswersFromMemory => Some("R1"),
            Self::LeapsAhead => Some("R2"),
            Self::ReusesId => None,
            Self::FoundsAlone => Some("R5"),
            Self::KeepsTheDead => Some("R6"),
            Self::DespairsWhenCut => Some("R7"),
        }
    }
}

/// What came of one run.
#[derive(Debug, Default, PartialEq)]
pub struct RaftReport {
    /// Operations that were answered, or may have happened.
    pub operations: u64,
    /// Those of them that were not answered.
    pub unknown: u64,
    /// Faults that happened.
    pub faults: u64,
    /// Every promise that was broken, once.
    pub violations: Vec<Violation>,
    /// Of all that clients saw, and when.
    pub digest: u64,
}

/// Plays one seed.
///
/// # Panics
///
/// If the system gives no runtime.
#[must_use]
pub fn run_raft(seed: u64, bug: Option<RaftBug>) -> RaftReport {
    let mut report = runtime(seed).block_on(play(seed, bug));
    let kills = kills::kill_one_after_the_other(seed, bug);
    report.violations.extend(runtime(seed).block_on(kills));
    let cuts = cuts::cut_links(seed, bug);
    report.violations.extend(runtime(seed).block_on(cuts));
    report
}

/// Whether a seed played twice is the same twice. `None`: this build cannot promise it.
///
/// # Panics
///
/// As [`run_raft`].
#[must_use]
pub fn is_repeatable(seed: u64) -> Option<bool> {
    let again = || run_raft(seed, None) == run_raft(seed, None);
    cfg!(tokio_unstable).then(again)
}

/// Time stands still in it until nobody has anything to do.
#[cfg_attr(not(tokio_unstable), expect(unused_variables))]
fn runtime(seed: u64) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    let runtime = builder.enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O")
}

async fn play(seed: u64, bug: Option<RaftBug>) -> RaftReport {
    let mut run = Run::new(seed, bug);
    if run.form().await {
        run.trouble().await;
        run.settle().await;
    }
    run.judge()
}
