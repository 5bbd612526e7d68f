//! How many connections a process may have, whichever listener they come from.

use std::sync::{Arc, LazyLock};

use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// File descriptors left for everything else: peers, files, the runtime.
const RESERVED_FILES: u64 = 256;
/// A process that may open next to nothing still serves somebody.
const PLACES_MIN: u64 = 16;

/// What the process may open, shared out to the connections of all its listeners: without one sum for all, three listeners
/// would each promise all of it.
#[derive(Clone, Debug)]
pub struct Places(Arc<Semaphore>);

/// A place for one connection, free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// Those of this process: what it may open at the first call, less 256.
    #[must_use]
    pub fn of_process() -> Self {
        static PLACES: LazyLock<Places> = LazyLock::new(|| {
            let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
            let places = files.saturating_sub(RESERVED_FILES).max(PLACES_MIN);
            Places::new(usize::try_from(places).unwrap_or(usize::MAX))
        });
        PLACES.clone()
    }

    /// So many.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))))
    }

    /// One of them. `None`: all are taken.
    #[must_use]
    pub fn take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.0).try_acquire_owned().ok()?;
        Some(Place { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_given_back() {
        let places = Places::new(2);
        let (first, second) = (places.take(), places.take());
        assert!(first.is_some() && second.is_some() && places.take().is_none());
        drop(first);
        assert!(places.take().is_some());
    }

    #[test]
    fn the_places_of_a_process_are_one_sum() {
        let before = Places::of_process().0.available_permits();
        let _place = Places::of_process().take();
        assert_eq!(Places::of_process().0.available_permits(), before - 1);
    }
}
