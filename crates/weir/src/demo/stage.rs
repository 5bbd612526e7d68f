//! Does what the story asks for: processes, clients, questions.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rehearsal::Process;
use tempfile::TempDir;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::keys::CONFIG;
use super::questions;
use super::story::{Effect, Event, NAMES, NODES};
use super::traffic::{Clients, Traffic};
use crate::client::Client;
use crate::process::{self, News};

/// Three nodes and their clients. All processes end when this is dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    start: Instant,
    events: Sender<Event>,
    // Before the directory, which is removed once no process uses it.
    processes: [Option<Process>; NODES],
    home: TempDir,
    clients: Arc<Clients>,
    traffic: Traffic,
    hitting: Vec<JoinHandle<()>>,
    watching: [Option<JoinHandle<()>>; NODES],
}

impl Stage {
    /// A stage without a node.
    ///
    /// # Errors
    ///
    /// When there is no room for temporary files.
    pub(crate) fn new(start: Instant, events: Sender<Event>) -> anyhow::Result<Self> {
        let home = tempfile::Builder::new()
            .prefix("weir-demo-")
            .tempdir()
            .context("making a temporary directory")?;
        write_config(home.path())?;
        let clients = Arc::new(Clients::default());
        Ok(Self {
            traffic: Traffic::new(start, clients.clone(), events.clone()),
            start,
            events,
            processes: Default::default(),
            home,
            clients,
            hitting: Vec::new(),
            watching: Default::default(),
        })
    }

    /// Does one thing. What comes of it arrives as events; what is known at once is returned.
    ///
    /// # Errors
    ///
    /// When a process cannot be started or killed.
    pub(crate) fn perform(&mut self, effect: Effect) -> anyhow::Result<Option<Event>> {
        match effect {
            Effect::Start { node, run } => {
                self.processes[node] = Some(self.start_node(node, run)?);
            }
            Effect::StartTraffic => self.hitting = self.traffic.start(),
            Effect::StopTraffic => self.stop_traffic(),
            Effect::Locate => match self.clients.live().into_iter().next() {
                Some((_, client)) => {
                    tokio::spawn(questions::locate(client, self.events.clone()));
                }
                None => return Ok(Some(Event::Located { owners: Vec::new() })),
            },
            Effect::Kill { node } => return self.kill(node).map(Some),
            Effect::Probe { keys } => {
                tokio::spawn(self.traffic.clone().probe(keys));
            }
            Effect::Audit { admitted } => {
                let live = self.clients.live().into_iter().map(|(_, client)| client);
                tokio::spawn(questions::audit(
                    live.collect(),
                    admitted,
                    self.events.clone(),
                ));
            }
        }
        Ok(None)
    }

    /// To be told of each event, before the story is: a node that is ready gets its clients.
    pub(crate) fn on_event(&mut self, event: &Event) {
        if let Event::Ready {
            node, run, http, ..
        } = *event
        {
            let client = Arc::new(Client::new(http));
            self.clients.put(node, Some(client.clone()));
            let watch = questions::watch(node, run, client, self.events.clone());
            self.watching[node] = Some(tokio::spawn(watch));
        }
    }

    /// What the node says arrives as events; the last is [`Event::Ended`].
    fn start_node(&self, node: usize, run: u32) -> anyhow::Result<Process> {
        let (home, events) = (self.home.path(), self.events.clone());
        let tell = move |news| {
            let event = match news {
                News::Ready { pid, http } => Event::Ready {
                    node,
                    run,
                    pid,
                    http,
                },
                News::Said(text) => Event::Said { node, text },
                News::Ended { last_words } => Event::Ended {
                    node,
                    run,
                    last_words,
                },
            };
            // When the demo has ended, nobody listens any more.
            let _ = events.blocking_send(event);
        };
        process::node(NAMES[node], home, &home.join("replicated.toml"), tell)
    }

    fn kill(&mut self, node: usize) -> anyhow::Result<Event> {
        self.clients.put(node, None);
        if let Some(watching) = self.watching[node].take() {
            watching.abort();
        }
        let killed_at = self.start.elapsed();
        if let Some(mut process) = self.processes[node].take() {
            process.kill().context("killing a node")?;
        }
        let dead_at = self.start.elapsed();
        Ok(Event::Killed {
            node,
            killed_at,
            dead_at,
        })
    }

    fn stop_traffic(&mut self) {
        self.hitting.drain(..).for_each(|hitting| hitting.abort());
        let (traffic, events) = (self.traffic.clone(), self.events.clone());
        tokio::spawn(async move {
            traffic.quiet().await;
            let _ = events.send(Event::Quiet).await;
        });
    }
}

fn write_config(home: &Path) -> anyhow::Result<()> {
    std::fs::write(home.join("replicated.toml"), CONFIG).context("writing the nodes' configuration")
}
