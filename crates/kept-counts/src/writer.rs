//! What writes the log: from what has changed, and now and then from all there is.

use delta_crdt::{Cell, KeptChanges};
use membership::Member;
use quota::KeyHash;
use shard::ShardId;

use crate::log::{Entry, Log};
use crate::node::Shards;

/// Keys of a shard whose cells are copied under its lock at once: some ten microseconds.
const COPIED_AT_ONCE: usize = 128;

/// When a log is written anew, and how fast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// When it is so many times as long as it was then.
    pub rewrite_at: u64,
    /// And not below so many bytes.
    pub rewrite_from: u64,
    /// Bytes of the new log that are written between two writes of what has changed.
    pub rewritten_at_once: usize,
}

impl Rules {
    /// Those of a node: a million keys, 100 MB, are written anew in some ten writes.
    #[must_use]
    pub const fn usual() -> Self {
        Self {
            rewrite_at: 4,
            rewrite_from: 16 << 20,
            rewritten_at_once: 8 << 20,
        }
    }
}

/// How far a log has been written. Ask [`Self::write`] now and then, and at the end until nothing [is being
/// rewritten](Self::is_rewriting).
///
/// What could not be written is written again from what the shards have, so that nothing is gathered meanwhile.
#[derive(Debug)]
pub struct Writer {
    rules: Rules,
    /// How long the log was when it was last written anew.
    bytes: u64,
    /// The members that it names.
    members: Vec<Member>,
    /// The shard that comes next in the new log, while one is written.
    next: Option<u16>,
    /// Something was not written: all of it has to be written anew.
    is_behind: bool,
    /// While something is being written. A panic leaves it so.
    is_writing: bool,
}

impl Writer {
    /// `bytes`: how long the log would be without what has changed since; `members`: those that it names.
    #[must_use]
    pub fn new(rules: Rules, bytes: u64, members: Vec<Member>) -> Self {
        Self {
            rules,
            bytes,
            members,
            next: None,
            is_behind: false,
            is_writing: false,
        }
    }

    /// Whether a new log is being written, a part with each [`Self::write`].
    #[must_use]
    pub fn is_rewriting(&self) -> bool {
        self.next.is_some()
    }

    /// Adds what has changed to the log, and goes on with the new one if there is one.
    ///
    /// # Errors
    ///
    /// What was taken from the shards may not be there: the next writes write all there is.
    pub fn write<L: Log>(&mut self, log: &mut L, shards: &mut impl Shards) -> Result<(), L::Error> {
        if std::mem::replace(&mut self.is_writing, true) {
            self.give_up(log);
        }
        let written = self
            .append_changes(log, shards)
            .and_then(|()| self.rewrite(log, shards));
        if written.is_err() {
            self.give_up(log);
        }
        self.is_writing = false;
        written
    }

    /// What was taken from the shards is not on the disk, and nobody knows which of it.
    fn give_up(&mut self, log: &mut impl Log) {
        self.is_behind = true;
        self.next = None;
        log.give_up();
    }

    fn append_changes<L: Log>(
        &mut self,
        log: &mut L,
        shards: &mut impl Shards,
    ) -> Result<(), L::Error> {
        // Once something is missing, what changes is written with the rest.
        let takes_changes = !self.is_behind || log.is_rewriting();
        let is_leaving = shards.is_leaving();
        // Who goes at the same time as this node may come back with what it lacks.
        let members = shards.members().filter(|_| !is_leaving);
        if let Some(members) = members.filter(|members| *members != self.members) {
            if takes_changes {
                log.append(Entry::Members(&members))?;
            }
            self.members = members;
        }
        for id in shards.ids() {
            let changes = shards.with(id, |shard, _| {
                let has_some = shard.cells().has_kept_changes();
                has_some.then(|| shard.take_kept_changes())
            });
            let Some(changes) = changes.flatten() else {
                continue;
            };
            if takes_changes {
                append(log, id, &changes, is_leaving)?;
            }
        }
        log.sync()
    }

    /// Writes a part of the new log, if one is to be written.
    fn rewrite<L: Log>(&mut self, log: &mut L, shards: &mut impl Shards) -> Result<(), L::Error> {
        let is_long = self
            .rules
            .rewrite_from
            .max(self.rules.rewrite_at * self.bytes)
            < log.bytes();
        if shards.is_leaving() && !self.is_behind {
            // What this node has handed over is to stay.
            self.next = None;
            log.give_up();
            return Ok(());
        }
        if self.next.is_none() {
            if !is_long && !self.is_behind {
                return Ok(());
            }
            log.begin_rewrite()?;
            log.rewrite(&[Entry::Members(&self.members)])?;
            self.next = Some(0);
        }
        let mut written = 0;
        while let Some(next) = self.next
            && written < self.rules.rewritten_at_once
        {
            if next == shards.count() {
                log.end_rewrite()?;
                self.next = None;
                self.is_behind = false;
                self.bytes = log.bytes();
                break;
            }
            written += rewrite_shard(log, shards, ShardId(next))?;
            self.next = Some(next + 1);
        }
        Ok(())
    }
}

/// Adds what has changed of one shard.
fn append<L: Log>(
    log: &mut L,
    id: ShardId,
    changes: &KeptChanges,
    is_leaving: bool,
) -> Result<(), L::Error> {
    let KeptChanges {
        gone,
        all_gone,
        cells,
    } = changes;
    // Whoever leaves has handed over what it had, and its successor may lose its disk: what it had to the last stays.
    let gone = gone.iter().filter(|_| is_leaving);
    if *all_gone && !is_leaving {
        log.append(Entry::RemovedAll(id))?;
    }
    for (key, cell) in gone.chain(cells) {
        log.append(match cell {
            Some(cell) => Entry::Set(id, *key, cell),
            None => Entry::Removed(id, *key),
        })?;
    }
    Ok(())
}

/// Adds all that is kept of one shard to the new log; about how many bytes.
fn rewrite_shard<L: Log>(
    log: &mut L,
    shards: &mut impl Shards,
    id: ShardId,
) -> Result<usize, L::Error> {
    let keys = shards.with(id, |shard, _| {
        let keys: Vec<KeyHash> = shard.cells().kept_keys().collect();
        keys
    });
    let mut written = 0;
    for keys in keys.unwrap_or_default().chunks(COPIED_AT_ONCE) {
        let cells = shards.with(id, |shard, now| {
            let cells = keys
                .iter()
                .filter_map(|&key| Some((key, shard.cells().get(key)?)));
            let needed = cells.filter(|(_, cell)| now.wall < cell.expires_at());
            let cells: Vec<(KeyHash, Cell)> = needed.collect();
            cells
        });
        let cells = cells.unwrap_or_default();
        let entries = cells.iter().map(|(key, cell)| Entry::Set(id, *key, cell));
        let entries: Vec<Entry<'_>> = entries.collect();
        written += log.rewrite(&entries)?;
    }
    Ok(written)
}
