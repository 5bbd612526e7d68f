//! Whether the files of all members say the same of limits, and if not, which of them, and of which limits.
//!
//! Each node asks every other once a second, on the control plane, naming sums of what it knows. Only where the other's file
//! has a sum of its own are the limits told, once; then each compares for itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use coordinator::{ConfigDiffers, Definition, DifferingLimit};
use delta_crdt::ReplicaId;
use futures_util::StreamExt as _;
use membership::Status;
use quota::{BootNanos, KeyHasher, Nanos};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::Cluster;
use super::calls::Peer;
use super::questions::{Question, decode, encode};
use crate::wire;

/// Between two rounds: files that differ are found out within two seconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a member may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// Members asked at once.
const ASKED_AT_ONCE: usize = 8;

/// What one answer tells of limits, in bytes of text: some 30 000 limits, within what the control plane carries. Of a file with
/// more, the first by name are compared.
const TOLD_MAX: usize = 3 * 1024 * 1024;

/// A member that has been silent for so long counts no more. One that is merely late would make files agree and differ in turns.
const SILENT_MAX: Nanos = Nanos::from_secs(10);

/// Limits that a log line names.
const NAMED_MAX: usize = 10;

/// What a file says of limits.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct File {
    /// Over all limits. 0 only without any, but for one chance in 2^64.
    sum: u64,
    /// What it says of each.
    limits: BTreeMap<Arc<str>, String>,
    /// The last name of which anything is known here. `None`: everything is.
    through: Option<Arc<str>>,
}

/// The answer to [`Question::File`].
#[derive(Serialize, Deserialize)]
enum FileAnswer {
    /// The file has one of the sums that the asker knows.
    Known { sum: u64 },
    /// What it says of limits, in the order of their names; of all, or of the first.
    Says {
        sum: u64,
        limits: Vec<(String, String)>,
        is_all: bool,
    },
    /// There are no limits of a file here: the node of a program that brings its own.
    Nothing,
}

/// What this node knows of the file of another.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Known {
    /// It does not understand the question, and is not asked again.
    Deaf,
    /// It has none.
    Nothing,
    /// It says the same as this node's, or did when this node's had that sum.
    Same {
        sum: u64,
    },
    Says(Arc<File>),
}

/// Another member, and what is known of its file.
struct Other {
    name: String,
    known: Known,
    /// When it was last held for alive.
    alive_at: BootNanos,
}

/// The files of this node and of the others.
#[derive(Default)]
pub(crate) struct Files {
    mine: ArcSwap<File>,
    others: Mutex<HashMap<ReplicaId, Other>>,
    /// What they differ in, and since when.
    differs: Mutex<Option<(BootNanos, Vec<DifferingLimit>)>>,
    has_changed: Notify,
}

impl File {
    fn new(keys: &KeyHasher, limits: BTreeMap<Arc<str>, String>) -> Self {
        let hash = |(name, says): (&Arc<str>, &String)| keys.hash("@file", name, says).get() as u64;
        let sum = limits.iter().map(hash).fold(0, u64::wrapping_add);
        Self {
            sum,
            limits,
            through: None,
        }
    }

    fn tell(&self) -> FileAnswer {
        let mut bytes = 0;
        let limits = self.limits.iter().take_while(|(name, says)| {
            bytes += name.len() + says.len();
            bytes <= TOLD_MAX
        });
        let limits: Vec<_> = limits
            .map(|(name, says)| (name.to_string(), says.clone()))
            .collect();
        FileAnswer::Says {
            sum: self.sum,
            is_all: limits.len() == self.limits.len(),
            limits,
        }
    }

    fn told(sum: u64, limits: Vec<(String, String)>, is_all: bool) -> Self {
        let limits = limits.into_iter().map(|(name, says)| (name.into(), says));
        let limits: BTreeMap<Arc<str>, String> = limits.collect();
        let last = limits.keys().next_back().cloned();
        Self {
            sum,
            through: last.filter(|_| !is_all),
            limits,
        }
    }

    fn is_known(&self, name: &str) -> bool {
        self.through.as_deref().is_none_or(|last| name <= last)
    }
}

/// The limits that files define differently, by name. A node's file is beside its name.
fn differing(files: &BTreeMap<&str, &File>) -> Vec<DifferingLimit> {
    let names: BTreeSet<&Arc<str>> = files.values().flat_map(|file| file.limits.keys()).collect();
    let differing = names.into_iter().filter_map(|name| {
        let mut definitions: Vec<Definition> = Vec::new();
        for (node, file) in files {
            if !file.is_known(name) {
                continue;
            }
            let says = file.limits.get(name);
            let alike = definitions.iter_mut().find(|it| it.says.as_ref() == says);
            match alike {
                Some(alike) => alike.nodes.push((*node).to_owned()),
                None => definitions.push(Definition {
                    nodes: vec![(*node).to_owned()],
                    says: says.cloned(),
                }),
            }
        }
        (1 < definitions.len()).then(|| DifferingLimit {
            limit: name.to_string(),
            definitions,
        })
    });
    differing.collect()
}

impl Files {
    fn others(&self) -> MutexGuard<'_, HashMap<ReplicaId, Other>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn differs(&self) -> MutexGuard<'_, Option<(BootNanos, Vec<DifferingLimit>)>> {
        self.differs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_deaf(&self, replica: ReplicaId) -> bool {
        let others = self.others();
        let other = others.get(&replica);
        other.is_some_and(|other| other.known == Known::Deaf)
    }

    /// Sums that an answer need not spell out.
    fn sums(&self, of: ReplicaId) -> Vec<u64> {
        let mine = self.mine.load().sum;
        match self.others().get(&of).map(|other| &other.known) {
            Some(Known::Says(file)) => vec![mine, file.sum],
            _ => vec![mine],
        }
    }

    /// The answer to whoever knows files of these sums.
    pub(super) fn answer(&self, known: &[u64]) -> Vec<u8> {
        let mine = self.mine.load();
        if mine.limits.is_empty() {
            return encode(&FileAnswer::Nothing);
        }
        encode(&match known.contains(&mine.sum) {
            true => FileAnswer::Known { sum: mine.sum },
            false => mine.tell(),
        })
    }

    /// Takes in what another has answered. `None`: it understands no such question.
    fn on_answer(&self, now: BootNanos, from: &Peer, answer: Option<FileAnswer>) {
        let mine = self.mine.load().sum;
        let mut others = self.others();
        let known = match answer {
            None => Known::Deaf,
            Some(FileAnswer::Nothing) => Known::Nothing,
            Some(FileAnswer::Known { sum }) if sum == mine => Known::Same { sum },
            // As it was when it told more; if this node's changed meanwhile, the next answer tells.
            Some(FileAnswer::Known { .. }) => return,
            Some(FileAnswer::Says {
                sum,
                limits,
                is_all,
            }) => Known::Says(Arc::new(File::told(sum, limits, is_all))),
        };
        let other = Other {
            name: from.name.clone(),
            known,
            alive_at: now,
        };
        others.insert(from.replica, other);
    }

    /// Of `members`, those that are alive are so now. Forgets those that have been silent for long, or are members no more.
    fn on_members(&self, now: BootNanos, members: &[Peer]) {
        self.others().retain(|replica, other| {
            let member = members.iter().find(|peer| peer.replica == *replica);
            if member.is_some_and(|peer| peer.status != Status::Dead) {
                other.alive_at = now;
            }
            member.is_some() && now - other.alive_at < SILENT_MAX
        });
    }

    /// What the files of this node, called `me`, and of those that it knows of differ in.
    fn compare(&self, me: &str) -> Vec<DifferingLimit> {
        let mine = self.mine.load_full();
        let others = self.others();
        let others = others
            .values()
            .filter_map(|Other { name, known, .. }| match known {
                Known::Deaf | Known::Nothing => None,
                Known::Same { sum } => (*sum == mine.sum).then_some((&**name, &*mine)),
                Known::Says(file) => Some((&**name, &**file)),
            });
        let mut files: BTreeMap<&str, &File> = others.collect();
        if mine.limits.is_empty() || files.values().all(|file| file.sum == mine.sum) {
            return Vec::new();
        }
        files.insert(me, &mine);
        differing(&files)
    }
}

impl Cluster {
    /// What this node's file says of limits, by their names, for members to compare. A node without any takes no part.
    pub fn define(&self, limits: impl IntoIterator<Item = (Arc<str>, String)>) {
        let file = File::new(&self.inner.keys, limits.into_iter().collect());
        self.inner.files.mine.store(Arc::new(file));
        self.inner.files.has_changed.notify_one();
    }

    /// The limits that this node's file and those of others define differently. `None`: none, as far as is known.
    #[must_use]
    pub fn config_differs(&self) -> Option<ConfigDiffers> {
        let (since, limits) = self.inner.files.differs().clone()?;
        Some(ConfigDiffers {
            lasts: self.inner.clock.now().boot - since,
            limits,
        })
    }

    pub(super) async fn compare_files(self) {
        let files = &self.inner.files;
        while !self.inner.is_stopped() {
            if !files.mine.load().limits.is_empty() {
                self.ask_for_files().await;
            }
            self.note_differing(files.compare(&self.inner.config.name));
            let _due = tokio::time::timeout(LOOK_EVERY, files.has_changed.notified()).await;
        }
    }

    /// Asks every live member that may understand what its file says.
    async fn ask_for_files(&self) {
        let files = &self.inner.files;
        let now = || self.inner.clock.now().boot;
        let mut members = self.peers();
        files.on_members(now(), &members);
        let is_live = |peer: &Peer| peer.replica != self.inner.me && peer.status != Status::Dead;
        members.retain(is_live);
        members.retain(|peer| {
            let version = self.inner.transport.version(peer.replica);
            version.is_some_and(wire::knows_catalogue) && !files.is_deaf(peer.replica)
        });
        let asked = members.into_iter().map(|peer| async move {
            let known = files.sums(peer.replica);
            let question = encode(&Question::File { known });
            let answer = self.control().ask(&peer.name, &question, ANSWER).await;
            // Who does not answer is as it was, until it is dead.
            if let Ok(answer) = answer {
                files.on_answer(now(), &peer, decode(&answer));
            }
        });
        let mut asked = futures_util::stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
        while asked.next().await.is_some() {}
    }

    /// Says once that files differ, and once that they agree again.
    fn note_differing(&self, limits: Vec<DifferingLimit>) {
        let now = self.inner.clock.now().boot;
        let mut differs = self.inner.files.differs();
        let before = differs.take();
        if limits.is_empty() {
            if before.is_some() {
                tracing::info!("the files of all members define the same limits again");
            }
            return;
        }
        if before.is_none() {
            let (limits, nodes) = told(&limits);
            tracing::warn!(
                limits,
                nodes,
                "files of members define limits differently, so that it depends on the node which one holds"
            );
        }
        let since = before.map_or(now, |(since, _)| since);
        *differs = Some((since, limits));
    }
}

/// Names of limits and of nodes, as a log line has them.
fn told(limits: &[DifferingLimit]) -> (String, String) {
    let names = limits.iter().take(NAMED_MAX).map(|it| &*it.limit);
    let mut names = names.collect::<Vec<_>>().join(", ");
    if let Some(more) = limits
        .len()
        .checked_sub(NAMED_MAX)
        .filter(|&more| more != 0)
    {
        names.push_str(&format!(" and {more} more"));
    }
    let definitions = limits.iter().flat_map(|it| &it.definitions);
    let nodes: BTreeSet<&str> = definitions
        .flat_map(|it| it.nodes.iter().map(|node| &**node))
        .collect();
    (names, nodes.into_iter().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests;
