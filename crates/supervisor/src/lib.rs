//! Tasks that live as long as a node, each an actor below one supervisor that starts it again when it panics.
//!
//! A driver's loop (heartbeats, flush, clock, links) is written as a plain future and handed to [`Supervisor::run`] by
//! way of a function that makes it, so that it can be made again. The crate knows neither clusters nor shards: what a
//! task must mend before it goes on is the first thing that its future does.

mod restarts;
mod task;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorRuntime, SupervisionEvent,
};
use ractor_cluster_derive::RactorMessage;

use crate::restarts::Restarts;
use crate::task::Task;

/// How long a task may take to end once it was told to: it ends at its next `.await`, and none of them blocks for long.
const END: Duration = Duration::from_secs(1);

/// The handle on a supervisor. Clones share it; the tasks end with [`Supervisor::stop`], not with the handle.
#[derive(Clone, Debug)]
pub struct Supervisor {
    actor: ActorRef<SupervisorMsg>,
}

impl Supervisor {
    /// Starts a supervisor without tasks.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[must_use]
    pub fn start() -> Self {
        let (actor, _started) = ActorRuntime::spawn_instant(None, Supervising, ())
            .expect("an actor without a name can always be started");
        Self { actor }
    }

    /// Runs what `make` makes, as an actor called `name` in logs and metrics.
    ///
    /// A task that returns has ended. One that panics is logged, counted in `weir_task_restarts_total`, and made again:
    /// at once the first time, and after a growing pause when it fails again and again. After
    /// [`Supervisor::stop`] nothing is started.
    pub fn run<F>(&self, name: &'static str, make: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = Task {
            name,
            make: Arc::new(move || Box::pin(make())),
            restarts: Restarts::default(),
            restarted: metrics::counter!("weir_task_restarts_total", "task" => name),
            #[cfg(feature = "faults")]
            fault: Arc::default(),
        };
        // Refused by a supervisor that has stopped, as it should be.
        let _stopped = self.actor.cast(SupervisorMsg::Run(task));
    }

    /// Makes the task called `name` panic at its next `.await`, and returns when it has been started again.
    ///
    /// # Panics
    ///
    /// When no task of that name runs.
    #[cfg(feature = "faults")]
    pub async fn panic(&self, name: &'static str) {
        let (reply, starts) = tokio::sync::oneshot::channel();
        let _stopped = self.actor.cast(SupervisorMsg::Panic { name, reply });
        let mut starts: tokio::sync::watch::Receiver<u32> = starts
            .await
            .unwrap_or_else(|_| panic!("no task {name} runs"));
        let _ended = starts.changed().await;
    }

    /// Ends every task at its next `.await`, without waiting for that: for whoever cannot wait.
    pub fn cut_off(&self) {
        self.actor.stop(None);
    }

    /// Ends every task at its next `.await`, and returns when they have ended. May be called again.
    pub async fn stop(&self) {
        // An error means that it has stopped before.
        let _before = self.actor.stop_and_wait(None, None).await;
    }
}

/// What wakes a supervisor.
#[derive(RactorMessage)]
enum SupervisorMsg {
    /// Start a task, for the first time or again.
    Run(Task),
    /// Make a task panic, and tell how its starts can be watched.
    #[cfg(feature = "faults")]
    Panic {
        name: &'static str,
        reply: tokio::sync::oneshot::Sender<tokio::sync::watch::Receiver<u32>>,
    },
}

/// The actor behind [`Supervisor`].
struct Supervising;

/// A task that runs.
struct Child {
    cell: ActorCell,
    task: Task,
}

#[derive(Default)]
struct Children(Vec<Child>);

impl Children {
    fn take(&mut self, ended: ActorId) -> Option<Child> {
        let place = self
            .0
            .iter()
            .position(|child| child.cell.get_id() == ended)?;
        Some(self.0.swap_remove(place))
    }
}

impl Actor for Supervising {
    type Msg = SupervisorMsg;
    type State = Children;
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ActorRef<SupervisorMsg>,
        (): (),
    ) -> Result<Children, ActorProcessingErr> {
        Ok(Children::default())
    }

    async fn handle(
        &self,
        me: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        children: &mut Children,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMsg::Run(task) => {
                let cell = task.start(me.get_cell()).await?;
                children.0.push(Child { cell, task });
            }
            #[cfg(feature = "faults")]
            SupervisorMsg::Panic { name, reply } => {
                if let Some(child) = children.0.iter().find(|child| child.task.name == name) {
                    let _left = reply.send(child.task.fault.starts.subscribe());
                    child.task.fault.told.notify_one();
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        children: &mut Children,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(failed, error) => {
                let Some(Child { mut task, .. }) = children.take(failed.get_id()) else {
                    return Ok(());
                };
                let pause = task.restarts.next();
                let pause_ms = pause.as_millis();
                tracing::error!(task = task.name, error = %error, pause_ms, "task panicked, starting it again");
                task.restarted.increment(1);
                if pause.is_zero() {
                    return self.handle(me, SupervisorMsg::Run(task), children).await;
                }
                me.send_after(pause, move || SupervisorMsg::Run(task));
            }
            SupervisionEvent::ActorTerminated(ended, ..) => {
                let _ended = children.take(ended.get_id());
            }
            _ => {}
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<SupervisorMsg>,
        children: &mut Children,
    ) -> Result<(), ActorProcessingErr> {
        for child in &children.0 {
            child.cell.kill();
        }
        for child in &children.0 {
            if child.cell.wait(Some(END)).await.is_err() {
                tracing::error!(task = child.task.name, "task did not end when told to");
            }
        }
        Ok(())
    }
}
