//! A disk, and a log on it.

use std::collections::BTreeMap;

use delta_crdt::Cell;
use kept_counts::{Entry, Kept, Log};
use membership::Member;
use quota::KeyHash;
use rand::Rng;
use rand::rngs::SmallRng;
use shard::ShardId;

use super::KeptBug;

/// What an entry weighs.
const ENTRY_BYTES: u64 = 100;

/// What a log says.
#[derive(Clone, Default)]
struct Contents {
    members: Vec<Member>,
    cells: BTreeMap<(u16, KeyHash), Cell>,
}

/// What is said of one place, for longer than its node lives.
#[derive(Clone)]
enum Said {
    Members(Vec<Member>),
    Set(ShardId, KeyHash, Cell),
    Removed(ShardId, KeyHash),
    RemovedAll(ShardId),
}

impl From<Entry<'_>> for Said {
    fn from(entry: Entry<'_>) -> Self {
        match entry {
            Entry::Members(members) => Self::Members(members.to_vec()),
            Entry::Set(shard, key, cell) => Self::Set(shard, key, cell.clone()),
            Entry::Removed(shard, key) => Self::Removed(shard, key),
            Entry::RemovedAll(shard) => Self::RemovedAll(shard),
        }
    }
}

impl Contents {
    fn take_in(&mut self, said: Said) {
        match said {
            Said::Members(members) => self.members = members,
            Said::Set(shard, key, cell) => {
                self.cells.insert((shard.0, key), cell);
            }
            Said::Removed(shard, key) => {
                self.cells.remove(&(shard.0, key));
            }
            Said::RemovedAll(shard) => self.cells.retain(|&(of, _), _| of != shard.0),
        }
    }
}

/// What is on its way to the disk, in this order.
enum UnderWay {
    Append(Said),
    Begin,
    Rewrite(Said),
    End,
    GiveUp,
}

/// Whether nothing is counted of a key, all of which is forgiven.
fn is_reset(entry: Entry<'_>) -> bool {
    let Entry::Set(_, _, cell) = entry else {
        return false;
    };
    let mut versions = cell.versions().iter();
    versions.all(|version| version.forgiven() == version.slots())
}

/// A disk that takes no more.
#[derive(Debug)]
pub(super) struct Full;

/// A disk. What is written to it is there when it [settles](Self::settle).
#[derive(Default)]
pub(super) struct Disk {
    log: Contents,
    next: Option<Contents>,
    under_way: Vec<UnderWay>,
    /// How many of those were there at the last sync.
    synced: usize,
    /// As its writer sees them: what is under way counted in.
    bytes: u64,
    next_bytes: Option<u64>,
    pub(super) is_full: bool,
    /// Logs that were written anew.
    pub(super) rewritten: u64,
    bug: Option<KeptBug>,
}

impl Disk {
    pub(super) fn new(bug: Option<KeptBug>) -> Self {
        Self {
            bug,
            ..Self::default()
        }
    }

    /// What is under way has arrived.
    pub(super) fn settle(&mut self) {
        let all = self.under_way.len();
        self.arrive(all);
    }

    /// The host has lost its power, or the process was killed: a part of what is under way has arrived.
    pub(super) fn cut_short(&mut self, rng: &mut SmallRng) {
        let some = rng.random_range(0..=self.under_way.len());
        self.arrive(some);
        self.next = None;
    }

    fn arrive(&mut self, count: usize) {
        let arrived: Vec<UnderWay> = self.under_way.drain(..).take(count).collect();
        self.synced = 0;
        for it in arrived {
            match it {
                UnderWay::Append(said) => {
                    let lacks = self.bug == Some(KeptBug::NewLogLacksChanges);
                    if let Some(next) = self.next.as_mut().filter(|_| !lacks) {
                        next.take_in(said.clone());
                    }
                    self.log.take_in(said);
                }
                UnderWay::Begin => self.next = Some(Contents::default()),
                UnderWay::Rewrite(said) => {
                    if let Some(next) = &mut self.next {
                        next.take_in(said);
                    }
                }
                UnderWay::End => {
                    self.log = self.next.take().unwrap_or_default();
                    self.rewritten += 1;
                }
                UnderWay::GiveUp => self.next = None,
            }
        }
    }

    /// What a node finds that starts, and how long the log would be if it said that and nothing else.
    pub(super) fn read(&mut self) -> (Kept, u64) {
        let Contents { members, cells } = self.log.clone();
        let cells: Vec<_> = cells
            .into_iter()
            .map(|((_, key), cell)| (key, cell))
            .collect();
        let bytes = ENTRY_BYTES * cells.len() as u64;
        self.next_bytes = None;
        (Kept { members, cells }, bytes)
    }

    /// Names of those who counted when it was last written.
    pub(super) fn members(&self) -> Vec<String> {
        let members = self.log.members.iter();
        members.map(|member| member.name.clone()).collect()
    }
}

impl Log for Disk {
    type Error = Full;

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn append(&mut self, entry: Entry<'_>) -> Result<(), Full> {
        if self.bug == Some(KeptBug::SkipsResets) && is_reset(entry) {
            return Ok(());
        }
        self.bytes += ENTRY_BYTES;
        if let Some(next) = &mut self.next_bytes {
            *next += ENTRY_BYTES;
        }
        self.under_way.push(UnderWay::Append(entry.into()));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Full> {
        if self.is_full {
            self.under_way.truncate(self.synced);
            if self.bug != Some(KeptBug::FullIsSilent) {
                return Err(Full);
            }
        }
        self.synced = self.under_way.len();
        Ok(())
    }

    fn begin_rewrite(&mut self) -> Result<(), Full> {
        if self.is_full {
            return Err(Full);
        }
        self.next_bytes = Some(0);
        self.under_way.push(UnderWay::Begin);
        Ok(())
    }

    fn is_rewriting(&self) -> bool {
        self.next_bytes.is_some()
    }

    fn rewrite(&mut self, entries: &[Entry<'_>]) -> Result<usize, Full> {
        if self.is_full {
            return Err(Full);
        }
        let bytes = ENTRY_BYTES * entries.len() as u64;
        if let Some(next) = &mut self.next_bytes {
            *next += bytes;
        }
        let said = entries.iter().map(|&entry| UnderWay::Rewrite(entry.into()));
        self.under_way.extend(said);
        Ok(bytes as usize)
    }

    fn end_rewrite(&mut self) -> Result<(), Full> {
        let Some(bytes) = self.next_bytes.take() else {
            return Ok(());
        };
        self.bytes = bytes;
        self.under_way.push(UnderWay::End);
        Ok(())
    }

    fn give_up(&mut self) {
        self.under_way.truncate(self.synced);
        self.next_bytes = None;
        self.under_way.push(UnderWay::GiveUp);
    }
}
