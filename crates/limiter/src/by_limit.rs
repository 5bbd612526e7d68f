//! What fronts were told of each limit, counted: of as many limits as a dashboard has room for.
//!
//! Clients make limits up, so that names have no bound. A limit of the file has series of its own; another gets them once it was
//! asked for [`ASKED`] times, as long as there is room for one more; all others are counted together.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use coordinator::{Answer, NoDecision, Strategy};
use metrics::with_local_recorder;

use crate::meter::Meter;
use crate::{Front, Recorder};

/// Limits that are not the file's and have series of their own, at most. Each has up to five for each front that it is asked by.
const OWN_MAX: usize = 200;

/// So often a limit that is not the file's is asked before it has series of its own: one that comes once takes no room.
const ASKED: u32 = 100;

/// Limits that may yet get series of their own, at most: some 400 KiB. One more, and all of them count from 0 again.
const CANDIDATES_MAX: usize = 4_096;

/// What all others are called.
const OTHERS: &str = "other";

/// `weir_limit_decisions_total`, of all limits of a namespace.
pub(crate) struct ByLimit {
    recorder: Recorder,
    /// Those that have series of their own, by name. Read without a lock for every hit; only ever grows.
    own: ArcSwap<HashMap<Arc<str>, Arc<OfLimit>>>,
    candidates: Mutex<Candidates>,
    others: OfLimit,
}

/// Limits that may yet get series of their own.
#[derive(Default)]
struct Candidates {
    /// How often each was asked.
    asked: HashMap<Arc<str>, u32>,
    /// How many have become more.
    chosen: usize,
}

/// What is counted of one limit that has series of its own, or of all that have none.
pub(crate) struct OfLimit {
    name: Arc<str>,
    /// By front and strategy. Made when first counted: a limit is asked by few fronts, and has one strategy.
    meters: [[OnceLock<Meter>; Strategy::ALL.len()]; Front::ALL.len()],
}

impl fmt::Debug for OfLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OfLimit").field(&self.name).finish()
    }
}

impl OfLimit {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            meters: Default::default(),
        }
    }
}

/// What one front was told of a hit.
#[derive(Clone, Copy)]
pub(crate) struct Told<'t> {
    pub(crate) front: Front,
    pub(crate) strategy: Strategy,
    pub(crate) told: &'t Result<Answer, NoDecision>,
}

impl ByLimit {
    /// Counts in `recorder`; these are the limits of the file.
    pub(crate) fn new(recorder: Recorder, of_file: impl IntoIterator<Item = Arc<str>>) -> Self {
        let by_limit = Self {
            recorder,
            own: ArcSwap::default(),
            candidates: Mutex::default(),
            others: OfLimit::new(OTHERS.into()),
        };
        by_limit.give_own(of_file);
        by_limit
    }

    /// These have series of their own from now on.
    pub(crate) fn give_own(&self, names: impl IntoIterator<Item = Arc<str>>) {
        let names: Vec<Arc<str>> = names.into_iter().collect();
        self.own.rcu(|own| {
            let mut changed = HashMap::clone(own);
            for name in &names {
                let new = || Arc::new(OfLimit::new(Arc::clone(name)));
                changed.entry(Arc::clone(name)).or_insert_with(new);
            }
            changed
        });
    }

    /// What is counted of the limit of that name. `None`: it has no series of its own.
    pub(crate) fn own(&self, name: &str) -> Option<Arc<OfLimit>> {
        self.own.load().get(name).cloned()
    }

    /// Counts what a front was told of a hit on a limit that has series of its own.
    #[inline]
    pub(crate) fn count(&self, of_limit: &OfLimit, told: Told<'_>) {
        let meter = &of_limit.meters[told.front as usize][told.strategy as usize];
        let make = || Meter::of_limit(&of_limit.name, told.front, told.strategy);
        let meter = meter.get_or_init(|| with_local_recorder(&self.recorder, make));
        meter.count(told.told);
    }

    /// Counts what a front was told of a hit on a limit that has none, which may get them by that.
    pub(crate) fn count_other(&self, name: &Arc<str>, told: Told<'_>) {
        self.count(&self.others, told);
        let mut candidates = self
            .candidates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if candidates.chosen == OWN_MAX {
            return;
        }
        if CANDIDATES_MAX <= candidates.asked.len() && !candidates.asked.contains_key(name) {
            candidates.asked.clear();
        }
        let asked = candidates.asked.entry(Arc::clone(name)).or_default();
        *asked += 1;
        if *asked == ASKED {
            candidates.asked.remove(name);
            candidates.chosen += 1;
            self.give_own([Arc::clone(name)]);
        }
    }
}
