//! Which keys are to outlive all nodes, and what has changed of them.
//!
//! Whether a key is kept is one bit beside its count, that of the limit under which it was last written, and it goes
//! wherever the cell goes. What has changed is listed key by key, each once, until somebody takes the list to a disk. A key
//! that is not kept costs no more than a look at that bit.

use quota::KeyHash;

use crate::cell::Cell;
use crate::cells::Cells;

/// What has changed since it was last taken.
#[derive(Default, Debug)]
pub(crate) struct Kept {
    /// At most each key that is held once, and once for each time that it was removed.
    keys: Vec<KeyHash>,
    /// All that was held before is gone.
    all_gone: bool,
    /// What had changed of that and was not taken before it went.
    gone: Vec<(KeyHash, Option<Cell>)>,
}

/// What has changed of the keys that are to outlive all nodes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct KeptChanges {
    /// What had changed before all was gone: that comes first, and is of interest where what is gone is to stay on the disk.
    /// Empty unless `all_gone`.
    pub gone: Vec<(KeyHash, Option<Cell>)>,
    /// Whatever was kept before of this map is gone: that comes next.
    pub all_gone: bool,
    /// The cells as they are now. `None`: not to be kept, or not any more.
    pub cells: Vec<(KeyHash, Option<Cell>)>,
}

impl Cells {
    /// From now on lists what changes of the keys that are kept: [`Self::take_kept_changes`].
    pub fn list_kept_changes(&mut self) {
        self.kept.get_or_insert_default();
    }

    /// Whether it does.
    #[must_use]
    pub fn lists_kept_changes(&self) -> bool {
        self.kept.is_some()
    }

    /// Goes on with the list of `before`, all of which is gone. `told`: it is to be gone from the disk as well.
    pub fn replace_kept(&mut self, before: &mut Self, told: bool) {
        if !before.lists_kept_changes() {
            return;
        }
        let KeptChanges {
            mut gone,
            all_gone,
            cells,
        } = before.take_kept_changes();
        if told {
            gone.extend(cells);
        }
        self.kept = Some(Box::new(Kept {
            keys: Vec::new(),
            all_gone: told || all_gone,
            gone,
        }));
    }

    /// Whether anything is listed. Costs nothing.
    #[must_use]
    pub fn has_kept_changes(&self) -> bool {
        let has = |kept: &Kept| kept.all_gone || !kept.keys.is_empty();
        self.kept.as_deref().is_some_and(has)
    }

    /// What has changed since this was last asked, and nothing where nothing is listed. Looks at the changed keys alone.
    pub fn take_kept_changes(&mut self) -> KeptChanges {
        let Some(kept) = &mut self.kept else {
            return KeptChanges::default();
        };
        let keys = std::mem::take(&mut kept.keys);
        let all_gone = std::mem::take(&mut kept.all_gone);
        let gone = std::mem::take(&mut kept.gone);
        let cells = keys.into_iter().map(|key| {
            let place = self.store.place_of(key);
            if let Some(place) = place {
                self.store.entry_mut(place).set_listed(false);
            }
            let kept = place.filter(|&place| self.store.entry(place).is_kept());
            (key, kept.map(|place| self.store.cell(place)))
        });
        KeptChanges {
            gone,
            all_gone,
            cells: cells.collect(),
        }
    }

    /// The keys that are kept, in any order. Looks at every key.
    pub fn kept_keys(&self) -> impl Iterator<Item = KeyHash> {
        let kept = self.store.entries().filter(|entry| entry.is_kept());
        kept.map(|entry| entry.key)
    }

    /// What stands at `place` has changed, and is kept or was.
    #[inline]
    pub(crate) fn list_kept(&mut self, place: usize) {
        if let Some(kept) = &mut self.kept {
            let entry = self.store.entry_mut(place);
            if !entry.is_listed() {
                entry.set_listed(true);
                kept.keys.push(entry.key);
            }
        }
    }

    /// What stands at `place` is about to go.
    #[inline]
    pub(crate) fn note_removal(&mut self, place: usize) {
        if let Some(kept) = &mut self.kept {
            let entry = self.store.entry(place);
            if entry.is_kept() && !entry.is_listed() {
                kept.keys.push(entry.key);
            }
        }
    }
}
