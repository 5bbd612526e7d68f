//! Hashing passwords: it takes a core for tens of milliseconds and 19 MiB each time, so that few are hashed at once.

use std::sync::Arc;

use quota::Nanos;
use tokio::sync::Semaphore;

use crate::{Kind, Refusal};

/// Passwords that are hashed at once: a flood of logins leaves the other cores to checks.
const AT_ONCE: usize = 2;

/// Passwords that wait meanwhile: at 30 ms each the last waits half a second.
const WAITING: usize = 32;

/// Where passwords are hashed. Clones share what there is.
#[derive(Clone)]
pub(super) struct Hashing {
    places: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Hashing {
    pub(super) fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
            running: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Does this on a thread that may block, once it is its turn. What has begun is finished, also when nobody waits for it any
    /// more.
    ///
    /// # Errors
    ///
    /// [`Kind::Overloaded`]: too many wait already. It was not done.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| overloaded())?;
        let running = Arc::clone(&self.running).acquire_owned().await;
        let running = running.map_err(|_| overloaded())?;
        let work = tokio::task::spawn_blocking(move || {
            let result = work();
            drop((place, running));
            result
        });
        work.await.map_err(|_| overloaded())
    }
}

fn overloaded() -> Refusal {
    let detail = "too many passwords wait to be hashed; nothing was changed";
    Refusal::new(Kind::Overloaded, detail).with_retry_after(Nanos::from_secs(1))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Mutex, mpsc};

    use super::*;

    #[test]
    fn two_run_at_once_thirty_two_wait_and_the_next_is_refused() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let hashing = Hashing::new();
            let (begin, begun) = mpsc::channel();
            let most = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
            // Opened when its other end is dropped.
            let (closed, gate) = mpsc::channel::<()>();
            let gate = Arc::new(Mutex::new(gate));
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..AT_ONCE + WAITING {
                let (hashing, most) = (hashing.clone(), Arc::clone(&most));
                let (begin, gate) = (begin.clone(), Arc::clone(&gate));
                tasks.spawn(async move {
                    let work = move || {
                        let (now, high) = &*most;
                        high.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                        begin.send(()).unwrap();
                        let _opened = gate.lock().unwrap().recv();
                        now.fetch_sub(1, SeqCst);
                    };
                    hashing.run(work).await
                });
            }
            // Each takes its place before it waits.
            tokio::task::yield_now().await;
            let refused = hashing.run(|| ()).await.unwrap_err();
            assert_eq!(refused.kind(), Kind::Overloaded);
            for _ in 0..AT_ONCE {
                begun.recv().unwrap();
            }
            drop(closed);
            while let Some(done) = tasks.join_next().await {
                done.unwrap().unwrap();
            }
            assert_eq!(most.1.load(SeqCst), AT_ONCE);
            hashing.run(|| ()).await.unwrap();
        });
    }
}
