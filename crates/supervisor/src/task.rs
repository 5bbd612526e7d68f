//! A future as an actor: it runs inside one message, and a panic in it is the actor's.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use ractor_cluster_derive::RactorMessage;

use crate::restarts::Restarts;

/// Makes the future of a task, each time that it is started.
pub(crate) type Make = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A task with its name and its failures so far.
pub(crate) struct Task {
    pub(crate) name: &'static str,
    pub(crate) make: Make,
    pub(crate) restarts: Restarts,
    pub(crate) restarted: metrics::Counter,
    #[cfg(feature = "faults")]
    pub(crate) fault: Arc<Fault>,
}

/// How a test makes a task panic.
#[cfg(feature = "faults")]
#[derive(Default)]
pub(crate) struct Fault {
    pub(crate) told: tokio::sync::Notify,
    /// How often the task was started.
    pub(crate) starts: tokio::sync::watch::Sender<u32>,
}

impl Task {
    /// Starts the actor of the task below `supervisor`.
    pub(crate) async fn start(&self, supervisor: ActorCell) -> Result<ActorCell, SpawnErr> {
        let make = Arc::clone(&self.make);
        #[cfg(feature = "faults")]
        let make: Make = {
            let fault = Arc::clone(&self.fault);
            Arc::new(move || Box::pin(faulty(make(), Arc::clone(&fault))))
        };
        let (actor, _ended) = Actor::spawn_linked(None, Running, make, supervisor).await?;
        Ok(actor.get_cell())
    }
}

#[cfg(feature = "faults")]
async fn faulty(task: impl Future<Output = ()>, fault: Arc<Fault>) {
    fault.starts.send_modify(|starts| *starts += 1);
    tokio::select! {
        () = task => {}
        () = fault.told.notified() => panic!("on purpose"),
    }
}

/// What wakes the actor of a task.
#[derive(RactorMessage)]
struct Begin;

struct Running;

impl Actor for Running {
    type Msg = Begin;
    type State = Make;
    type Arguments = Make;

    async fn pre_start(&self, me: ActorRef<Begin>, make: Make) -> Result<Make, ActorProcessingErr> {
        me.cast(Begin)?;
        Ok(make)
    }

    async fn handle(
        &self,
        me: ActorRef<Begin>,
        Begin: Begin,
        make: &mut Make,
    ) -> Result<(), ActorProcessingErr> {
        make().await;
        me.stop(None);
        Ok(())
    }
}
