//! `[raft]`: what limits with `strategy = "raft"` share.

use std::path::PathBuf;

use super::problem::Problems;
use super::table::Table;

/// What limits with `strategy = "raft"` share. Everything has a default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RaftConfig {
    /// Where the latest snapshot of these limits' counts is kept, for a restart of the whole cluster.
    ///
    /// Default none: then such a restart starts empty. What was counted in the last seconds before a crash of all
    /// nodes may be missing from it.
    pub data_dir: Option<PathBuf>,
}

/// Reads `[raft]`.
pub(crate) fn read(table: Option<Table<'_>>, problems: &mut Problems) -> RaftConfig {
    let Some(mut table) = table else {
        return RaftConfig::default();
    };
    let data_dir = table.string("data_dir", problems);
    if let Some(given) = data_dir.as_ref().filter(|given| given.value.is_empty()) {
        problems.bad_value(given, "a directory");
    }
    table.finish(problems);
    RaftConfig {
        data_dir: data_dir.map(|given| PathBuf::from(given.value)),
    }
}
