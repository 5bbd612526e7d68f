//! Where the nodes are that serve just now, as a load balancer before them would know it.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::client::Client;
use crate::process::News;

/// Nodes of a cluster: one may be lost, and two still are a majority.
pub(crate) const NODES: usize = 3;

/// Every node that serves has its client.
#[derive(Default, Debug)]
pub(crate) struct Targets {
    nodes: RwLock<[Target; NODES]>,
}

/// One node.
#[derive(Default, Debug)]
struct Target {
    /// Counts how often it was started: news of an earlier process is old.
    run: u32,
    client: Option<Arc<Client>>,
    /// Of a process that ended.
    last_words: Option<Vec<String>>,
}

impl Targets {
    /// A process is about to be started for this node. What it will tell goes to [`Self::on_news`] with this number.
    pub(crate) fn begin(&self, node: usize) -> u32 {
        let target = &mut self.write()[node];
        *target = Target {
            run: target.run + 1,
            ..Target::default()
        };
        target.run
    }

    /// A node's process told something.
    pub(crate) fn on_news(&self, node: usize, run: u32, news: News) {
        let target = &mut self.write()[node];
        if target.run != run {
            return;
        }
        match news {
            News::Ready { http, .. } => target.client = Some(Arc::new(Client::new(http))),
            News::Said(_) => {}
            News::Ended { last_words } => {
                target.client = None;
                target.last_words = Some(last_words);
            }
        }
    }

    /// The client of this node, or else of the next one that serves.
    pub(crate) fn nearest(&self, node: usize) -> Option<Arc<Client>> {
        let targets = self.read();
        (0..NODES).find_map(|step| targets[(node + step) % NODES].client.clone())
    }

    /// Clients of all nodes that serve.
    pub(crate) fn live(&self) -> Vec<Arc<Client>> {
        let targets = self.read();
        targets.iter().filter_map(|it| it.client.clone()).collect()
    }

    /// What a node that ended by itself said last.
    pub(crate) fn last_words(&self) -> Option<(usize, String)> {
        let targets = self.read();
        targets.iter().enumerate().find_map(|(node, target)| {
            let words = target.last_words.as_ref()?;
            Some((node, words.last().cloned().unwrap_or_default()))
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, [Target; NODES]> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, [Target; NODES]> {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> News {
        News::Ready {
            pid: 1,
            http: "127.0.0.1:1".parse().unwrap(),
        }
    }

    fn ended() -> News {
        let last_words = vec!["no port".to_owned()];
        News::Ended { last_words }
    }

    #[test]
    fn who_asks_a_dead_node_gets_the_next() {
        let targets = Targets::default();
        assert!(targets.nearest(0).is_none());
        let runs = [0, 1, 2].map(|node| targets.begin(node));
        targets.on_news(2, runs[2], ready());
        assert!(targets.nearest(0).is_some());
        assert_eq!(targets.live().len(), 1);
        targets.on_news(2, runs[2], ended());
        assert!(targets.nearest(0).is_none());
        assert_eq!(targets.last_words(), Some((2, "no port".to_owned())));
    }

    #[test]
    fn news_of_an_earlier_process_is_old() {
        let targets = Targets::default();
        let first = targets.begin(0);
        let second = targets.begin(0);
        targets.on_news(0, second, ready());
        targets.on_news(0, first, ended());
        assert_eq!(targets.live().len(), 1);
    }
}
