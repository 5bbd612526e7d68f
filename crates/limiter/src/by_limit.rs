//! What fronts were told of each limit, counted: of as many limits as a dashboard has room for.
//!
//! Clients make limits up, so that names have no bound. A limit of the file has series of its own; another gets them once it was
//! asked for [`ASKED`] times, as long as there is room for one more; all others are counted together.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use coordinator::{Answer, NoDecision, Strategy};
use metrics::with_local_recorder;

use crate::meter::Meter;
use crate::{Front, Recorder};

/// Limits that are not the file's and have series of their own, at most. Each has up to five for each front that it is asked by.
const OWN_MAX: usize = 200;

/// So often a limit that is not the file's is asked before it has series of its own: one that comes once takes no room.
const ASKED: u32 = 100;

/// Limits that are known here, at most; beyond it those without series of their own are forgotten, and count from 0 again.
const KNOWN_MAX: usize = 4_096;

/// What all others are called.
const OTHERS: &str = "other";

/// `weir_limit_decisions_total`, of all limits of a namespace.
pub(crate) struct ByLimit {
    /// Where it is counted. `None`: nowhere.
    recorder: OnceLock<Recorder>,
    known: Mutex<HashMap<Arc<str>, Arc<OfLimit>>>,
    /// How many have series of their own and are not the file's.
    own: AtomicUsize,
    others: OfLimit,
}

/// What is counted of one limit.
pub(crate) struct OfLimit {
    name: Arc<str>,
    has_own: AtomicBool,
    asked: AtomicU32,
    /// By front and strategy. Made when first counted: a limit is asked by few, and has one.
    meters: [[OnceLock<Meter>; Strategy::ALL.len()]; Front::ALL.len()],
}

impl fmt::Debug for OfLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OfLimit").field(&self.name).finish()
    }
}

impl OfLimit {
    fn new(name: Arc<str>, has_own: bool) -> Self {
        Self {
            name,
            has_own: AtomicBool::new(has_own),
            asked: AtomicU32::new(0),
            meters: Default::default(),
        }
    }

    fn count(
        &self,
        recorder: &Recorder,
        front: Front,
        strategy: Strategy,
        told: &Result<Answer, NoDecision>,
    ) {
        let meter = self.meters[front as usize][strategy as usize].get_or_init(|| {
            with_local_recorder(recorder, || Meter::of_limit(&self.name, front, strategy))
        });
        meter.count(told);
    }
}

impl ByLimit {
    /// Counts nothing, until it is told [where](Self::count_in).
    pub(crate) fn new() -> Self {
        Self {
            recorder: OnceLock::new(),
            known: Mutex::default(),
            own: AtomicUsize::new(0),
            others: OfLimit::new(OTHERS.into(), true),
        }
    }

    /// From now on it is counted there. The first to say so is heard.
    pub(crate) fn count_in(&self, recorder: Recorder) {
        // A second one would be of the same node.
        let _first = self.recorder.set(recorder);
    }

    /// Whether it is counted anywhere.
    #[inline]
    pub(crate) fn is_counted(&self) -> bool {
        self.recorder.get().is_some()
    }

    /// What is counted of the limit of that name; `is_of_file` whether the file defines it.
    pub(crate) fn of(&self, name: &Arc<str>, is_of_file: impl Fn() -> bool) -> Arc<OfLimit> {
        let mut known = locked(&self.known);
        if let Some(known) = known.get(name) {
            return Arc::clone(known);
        }
        if KNOWN_MAX <= known.len() {
            known.retain(|_, of_limit| of_limit.has_own.load(Ordering::Relaxed));
        }
        let of_limit = Arc::new(OfLimit::new(Arc::clone(name), is_of_file()));
        known.insert(Arc::clone(name), Arc::clone(&of_limit));
        of_limit
    }

    /// The file defines the limit of that name now.
    pub(crate) fn is_of_file(&self, name: &str) {
        if let Some(known) = locked(&self.known).get(name) {
            known.has_own.store(true, Ordering::Relaxed);
        }
    }

    /// `front` was told this of one hit on a limit of `strategy`.
    #[inline]
    pub(crate) fn count(
        &self,
        of_limit: &OfLimit,
        front: Front,
        strategy: Strategy,
        told: &Result<Answer, NoDecision>,
    ) {
        let Some(recorder) = self.recorder.get() else {
            return;
        };
        if of_limit.has_own.load(Ordering::Relaxed) {
            return of_limit.count(recorder, front, strategy, told);
        }
        self.others.count(recorder, front, strategy, told);
        if of_limit.asked.fetch_add(1, Ordering::Relaxed) + 1 == ASKED {
            self.give_own(of_limit);
        }
    }

    #[cold]
    fn give_own(&self, of_limit: &OfLimit) {
        let one_more = |own| (own < OWN_MAX).then_some(own + 1);
        let order = Ordering::Relaxed;
        if self.own.fetch_update(order, order, one_more).is_ok() {
            of_limit.has_own.store(true, order);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
