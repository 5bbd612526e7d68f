//! Whether the files of all members say the same, and if not, which of them, and of what.
//!
//! Each node asks every other once a second, on the control plane, naming sums of what it knows: of limits, and of other
//! sections, as routes, plans or `[cluster]`. Only where the other's file has a sum of its own is it told what that says, once; then each compares for
//! itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use coordinator::{ConfigDiffers, Definition, DifferingEntry, DifferingLimit};
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

/// What one answer tells, in bytes of text: some 30 000 limits, within what the control plane carries. Of a file with
/// more, the first by name are compared.
const TOLD_MAX: usize = 3 * 1024 * 1024;

/// A member that has been silent for so long counts no more. One that is merely late would make files agree and differ in turns.
const SILENT_MAX: Nanos = Nanos::from_secs(10);

/// Limits, or entries of other sections, that a log line names.
const NAMED_MAX: usize = 10;

/// What a file says: of limits by their names, or of entries of other sections by section and name, as `[[route]] /login`. That
/// a file speaks of a section at all says an entry with the name of the section alone.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct File {
    /// Over all entries. 0 only without any, but for one chance in 2^64.
    sum: u64,
    /// What it says of each.
    entries: BTreeMap<Arc<str>, String>,
    /// The last name of which anything is known here. `None`: everything is.
    through: Option<Arc<str>>,
}

/// The answer to [`Question::File`] and to [`Question::Sections`].
#[derive(Serialize, Deserialize)]
enum FileAnswer {
    /// The file has one of the sums that the asker knows.
    Known { sum: u64 },
    /// What it says, in the order of names; of all, or of the first.
    Says {
        sum: u64,
        entries: Vec<(String, String)>,
        is_all: bool,
    },
    /// There is nothing of a file here: the node of a program that brings its own limits.
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
    limits: Compared,
    sections: Compared,
    /// What they differ in, and since when.
    differs: Mutex<Option<Differs>>,
    has_changed: Notify,
}

/// One part of the files of this node and of the others.
#[derive(Default)]
struct Compared {
    mine: ArcSwap<File>,
    others: Mutex<HashMap<ReplicaId, Other>>,
}

/// A part of the files.
#[derive(Clone, Copy)]
enum Part {
    Limits,
    Sections,
}

#[derive(Clone)]
struct Differs {
    since: BootNanos,
    limits: Vec<Differing>,
    sections: Vec<Differing>,
}

/// An entry that files say differently, by its name.
type Differing = (Arc<str>, Vec<Definition>);

impl File {
    fn new(keys: &KeyHasher, entries: BTreeMap<Arc<str>, String>) -> Self {
        let hash = |(name, says): (&Arc<str>, &String)| keys.hash("@file", name, says).get() as u64;
        let sum = entries.iter().map(hash).fold(0, u64::wrapping_add);
        Self {
            sum,
            entries,
            through: None,
        }
    }

    fn tell(&self) -> FileAnswer {
        let mut bytes = 0;
        let entries = self.entries.iter().take_while(|(name, says)| {
            bytes += name.len() + says.len();
            bytes <= TOLD_MAX
        });
        let entries: Vec<_> = entries
            .map(|(name, says)| (name.to_string(), says.clone()))
            .collect();
        FileAnswer::Says {
            sum: self.sum,
            is_all: entries.len() == self.entries.len(),
            entries,
        }
    }

    fn told(sum: u64, entries: Vec<(String, String)>, is_all: bool) -> Self {
        let entries = entries.into_iter().map(|(name, says)| (name.into(), says));
        let entries: BTreeMap<Arc<str>, String> = entries.collect();
        let last = entries.keys().next_back().cloned();
        Self {
            sum,
            through: last.filter(|_| !is_all),
            entries,
        }
    }

    fn is_known(&self, name: &str) -> bool {
        self.through.as_deref().is_none_or(|last| name <= last)
    }

    /// Whether it says something of the section of this entry.
    fn speaks_of(&self, name: &str) -> bool {
        self.entries.contains_key(section_of(name).0)
    }
}

/// Section and name of an entry.
fn section_of(name: &str) -> (&str, &str) {
    name.split_once(' ').unwrap_or((name, ""))
}

/// What files say differently, by name. A node's file is beside its name.
fn differing(files: &BTreeMap<&str, &File>, part: Part) -> Vec<Differing> {
    let names = files.values().flat_map(|file| file.entries.keys());
    let names: BTreeSet<&Arc<str>> = names.collect();
    let differing = names.into_iter().filter_map(|name| {
        let mut definitions: Vec<Definition> = Vec::new();
        for (node, file) in files {
            let is_compared = match part {
                Part::Limits => true,
                Part::Sections => file.speaks_of(name),
            };
            if !is_compared || !file.is_known(name) {
                continue;
            }
            let says = file.entries.get(name);
            let alike = definitions.iter_mut().find(|it| it.says.as_ref() == says);
            match alike {
                Some(alike) => alike.nodes.push((*node).to_owned()),
                None => definitions.push(Definition {
                    nodes: vec![(*node).to_owned()],
                    says: says.cloned(),
                }),
            }
        }
        (1 < definitions.len()).then(|| (Arc::clone(name), definitions))
    });
    differing.collect()
}

impl Files {
    fn part(&self, part: Part) -> &Compared {
        match part {
            Part::Limits => &self.limits,
            Part::Sections => &self.sections,
        }
    }

    fn differs(&self) -> MutexGuard<'_, Option<Differs>> {
        self.differs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file of this node says of limits, to whoever knows files of these sums.
    pub(super) fn answer_limits(&self, known: &[u64]) -> Vec<u8> {
        self.limits.answer(known)
    }

    /// What it says of other sections.
    pub(super) fn answer_sections(&self, known: &[u64]) -> Vec<u8> {
        self.sections.answer(known)
    }
}

impl Compared {
    fn others(&self) -> MutexGuard<'_, HashMap<ReplicaId, Other>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn answer(&self, known: &[u64]) -> Vec<u8> {
        let mine = self.mine.load();
        if mine.entries.is_empty() {
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
                entries,
                is_all,
            }) => Known::Says(Arc::new(File::told(sum, entries, is_all))),
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
    fn compare(&self, me: &str, part: Part) -> Vec<Differing> {
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
        if mine.entries.is_empty() || files.values().all(|file| file.sum == mine.sum) {
            return Vec::new();
        }
        files.insert(me, &mine);
        differing(&files, part)
    }
}

impl Cluster {
    /// What this node's file says, for members to compare: of limits by their names, and of other sections by section and name,
    /// as `[[route]] /login`. Of a section that is not named by itself, as `[[route]]`, this node takes no part in comparing.
    pub fn define(
        &self,
        limits: impl IntoIterator<Item = (Arc<str>, String)>,
        sections: impl IntoIterator<Item = (Arc<str>, String)>,
    ) {
        let files = &self.inner.files;
        let limits = File::new(&self.inner.keys, limits.into_iter().collect());
        let sections = File::new(&self.inner.keys, sections.into_iter().collect());
        files.limits.mine.store(Arc::new(limits));
        files.sections.mine.store(Arc::new(sections));
        files.has_changed.notify_one();
    }

    /// What this node's file and those of others say differently. `None`: nothing, as far as is known.
    #[must_use]
    pub fn config_differs(&self) -> Option<ConfigDiffers> {
        let differs = self.inner.files.differs().clone()?;
        let limits = differs.limits.into_iter().map(|(name, definitions)| {
            let limit = name.to_string();
            DifferingLimit { limit, definitions }
        });
        let entries = differs.sections.into_iter().map(|(name, definitions)| {
            let (section, name) = section_of(&name);
            DifferingEntry {
                section: section.to_owned(),
                name: name.to_owned(),
                definitions,
            }
        });
        Some(ConfigDiffers {
            lasts: self.inner.clock.now().boot - differs.since,
            limits: limits.collect(),
            entries: entries.collect(),
        })
    }

    pub(super) async fn compare_files(self) {
        let files = &self.inner.files;
        while !self.inner.is_stopped() {
            for part in [Part::Limits, Part::Sections] {
                if !files.part(part).mine.load().entries.is_empty() {
                    self.ask_for_files(part).await;
                }
            }
            let me = &self.inner.config.name;
            let differing = |part| files.part(part).compare(me, part);
            self.note_differing(differing(Part::Limits), differing(Part::Sections));
            let _due = tokio::time::timeout(LOOK_EVERY, files.has_changed.notified()).await;
        }
    }

    /// Asks every live member that may understand what its file says.
    async fn ask_for_files(&self, part: Part) {
        let files = self.inner.files.part(part);
        let now = || self.inner.clock.now().boot;
        let mut members = self.peers();
        files.on_members(now(), &members);
        let is_live = |peer: &Peer| peer.replica != self.inner.me && peer.status != Status::Dead;
        members.retain(is_live);
        members.retain(|peer| {
            let version = self.inner.transport.version(peer.replica);
            let understands = version.is_some_and(|version| match part {
                Part::Limits => wire::knows_catalogue(version),
                Part::Sections => wire::knows_sections(version),
            });
            understands && !files.is_deaf(peer.replica)
        });
        let asked = members.into_iter().map(|peer| async move {
            let known = files.sums(peer.replica);
            let question = encode(&match part {
                Part::Limits => Question::File { known },
                Part::Sections => Question::Sections { known },
            });
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
    fn note_differing(&self, limits: Vec<Differing>, sections: Vec<Differing>) {
        let now = self.inner.clock.now().boot;
        let mut differs = self.inner.files.differs();
        let before = differs.take();
        let differed = |part: fn(&Differs) -> &Vec<Differing>| {
            before
                .as_ref()
                .is_some_and(|before| !part(before).is_empty())
        };
        say(
            differed(|it| &it.limits),
            &limits,
            "files of members define limits differently, so that it depends on the node which one holds",
            "the files of all members define the same limits again",
        );
        say(
            differed(|it| &it.sections),
            &sections,
            "files of members differ in routes, rules, plans, [cluster] or [service], so that it depends on the node which limit holds, how, and what clients are told",
            "the files of all members say the same of routes, rules, plans, [cluster] and [service] again",
        );
        if !(limits.is_empty() && sections.is_empty()) {
            *differs = Some(Differs {
                since: before.map_or(now, |before| before.since),
                limits,
                sections,
            });
        }
    }
}

/// Says that files have come to differ, or to agree.
fn say(differed: bool, differing: &[Differing], apart: &str, again: &str) {
    match (differed, !differing.is_empty()) {
        (true, false) => tracing::info!("{again}"),
        (false, true) => {
            let (names, nodes) = told(differing);
            tracing::warn!(names, nodes, "{apart}");
        }
        _ => {}
    }
}

/// Names of entries and of nodes, as a log line has them.
fn told(differing: &[Differing]) -> (String, String) {
    let names = differing.iter().take(NAMED_MAX).map(|(name, _)| &**name);
    let mut names = names.collect::<Vec<_>>().join(", ");
    if let Some(more) = differing
        .len()
        .checked_sub(NAMED_MAX)
        .filter(|&more| more != 0)
    {
        names.push_str(&format!(" and {more} more"));
    }
    let definitions = differing.iter().flat_map(|(_, definitions)| definitions);
    let nodes: BTreeSet<&str> = definitions
        .flat_map(|it| it.nodes.iter().map(|node| &**node))
        .collect();
    (names, nodes.into_iter().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests;
