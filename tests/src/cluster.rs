//! Several nodes of one home, user and cookie, which therefore find each other.

use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;

use rehearsal::View;
use tempfile::TempDir;

use crate::network::{Network, address};
use crate::node::{Node, Options, Starting};
use crate::wait::eventually;

/// A cluster of its own: no other test's nodes can meet these.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes that were started and not taken out.
    pub nodes: Vec<Node>,
    config: Option<PathBuf>,
    home: TempDir,
}

impl Cluster {
    /// The cookie of every node, unless a test says otherwise.
    pub const COOKIE: &str = "wojtyra-of-the-tests";

    /// No node yet; the built-in configuration.
    #[must_use]
    pub fn new() -> Self {
        Self {
            nodes: Vec::new(),
            config: None,
            home: TempDir::with_prefix("weir-e2e-").expect("a temporary folder"),
        }
    }

    /// No node yet; this configuration.
    #[must_use]
    pub fn with_config(config: &str) -> Self {
        let mut cluster = Self::new();
        let path = cluster.home.path().join("weir.toml");
        fs::write(&path, config).expect("writing a configuration");
        cluster.config = Some(path);
        cluster
    }

    /// Starts nodes of these names and waits until they agree.
    #[must_use]
    pub fn started(mut self, names: &[&str]) -> Self {
        for name in names {
            self.start(name);
        }
        self.settle();
        self
    }

    /// Where its nodes live.
    #[must_use]
    pub fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    /// Starts one more node and waits until it is ready.
    ///
    /// # Panics
    ///
    /// If it does not get there.
    #[track_caller]
    pub fn start(&mut self, name: &str) {
        let started = self.try_start(name, Self::COOKIE, &[]);
        if let Err((status, log)) = started {
            panic!("{name} ended before it was ready, {status}:\n{log}");
        }
    }

    /// Starts one more node, if it lives long enough to be ready.
    ///
    /// # Errors
    ///
    /// As [`Node::start`].
    pub fn try_start(
        &mut self,
        name: &str,
        cookie: &str,
        args: &[&str],
    ) -> Result<(), (ExitStatus, String)> {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        self.launch(Options {
            args,
            ..Options::new(name, cookie)
        })
    }

    /// Starts one more node, whose wall clock is off by so much, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// If it does not get there.
    pub fn start_off_by(&mut self, name: &str, clock: &str) {
        self.launch(Options {
            clock: Some(clock.to_owned()),
            ..Options::new(name, Self::COOKIE)
        })
        .unwrap_or_else(|(status, log)| panic!("{name}: {status}:\n{log}"));
    }

    /// Starts a node of that name on every host of `network`, and waits until they agree.
    ///
    /// # Panics
    ///
    /// If they do not get there.
    #[must_use]
    pub fn started_on(mut self, network: &Network, names: &[&str]) -> Self {
        for (host, name) in names.iter().enumerate() {
            let host = (network.namespace(host), address(host));
            self.start_on(name, &[], Some(host));
        }
        self.settle();
        self
    }

    /// Starts one more node on a host of a [`Network`], which joins through these addresses, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// If it does not get there.
    pub fn start_on(&mut self, name: &str, join: &[&str], host: Option<(String, String)>) {
        let args = join.iter().flat_map(|&address| ["--join", address]);
        let args = args.map(str::to_owned).collect();
        self.launch(Options {
            args,
            host,
            ..Options::new(name, Self::COOKIE)
        })
        .unwrap_or_else(|(status, log)| panic!("{name}: {status}:\n{log}"));
    }

    /// Starts one more node, and waits for nothing. Push it to [`Self::nodes`] when it is ready.
    #[must_use]
    pub fn starting(&self, mut options: Options) -> Starting {
        if let Some(config) = &self.config {
            let config = config.display().to_string();
            options.args.extend(["--config".to_owned(), config]);
        }
        Starting::launch(self.home.path(), &options)
    }

    fn launch(&mut self, options: Options) -> Result<(), (ExitStatus, String)> {
        let node = self.starting(options).ready()?;
        self.nodes.push(node);
        Ok(())
    }

    /// The node of that name.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn node(&self, name: &str) -> &Node {
        let mut named = self.nodes.iter().filter(|node| node.name == name);
        named.next().expect("a node of that name")
    }

    /// Takes the node of that name out: [`Self::settle`] no longer asks it, nor expects it alive.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn take(&mut self, name: &str) -> Node {
        let named = self.nodes.iter().position(|node| node.name == name);
        self.nodes.remove(named.expect("a node of that name"))
    }

    /// Waits until every node reports the same view, in which exactly these nodes live and each owns some of the
    /// shards, all of them between them, and no shard lacks a copy.
    ///
    /// Before a newcomer has compared its clock with the others' it lives, and owns nothing.
    ///
    /// # Panics
    ///
    /// If that does not come to pass.
    #[track_caller]
    pub fn settle(&self) {
        let names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        self.settle_on(&names);
    }

    /// As [`Self::settle`], with shards of these nodes alone.
    ///
    /// # Panics
    ///
    /// If that does not come to pass.
    #[track_caller]
    pub fn settle_on(&self, owners: &[&str]) {
        let what =
            format!("every node reports the same view, fully replicated, owned by {owners:?}");
        eventually(&what, || {
            let views: Vec<View> = self.nodes.iter().map(view).collect();
            let agreed = views
                .iter()
                .all(|view| self.is_settled(view, &views[0], owners));
            agreed.then_some(()).ok_or_else(|| format!("{views:#?}"))
        });
    }

    fn is_settled(&self, view: &View, first: &View, owners: &[&str]) -> bool {
        let is_right = |node: &Node| {
            let owns = owners.contains(&node.name.as_str());
            let member = view.members.get(&node.name);
            member.is_some_and(|it| it.status == "alive" && owns == (0 < it.shards))
        };
        view.digest == first.digest
            && view.is_settled()
            && view.living().count() == self.nodes.len()
            && self.nodes.iter().all(is_right)
    }

    /// The owner of `key`, as the first node says.
    #[must_use]
    #[track_caller]
    pub fn owner(&self, limit: &str, key: &str) -> String {
        let path = format!("/v1/owner?limit={limit}&key={key}");
        let answer = self.nodes[0].get(&path, &[]);
        let owner = answer.json()["owner"].as_str().map(str::to_owned);
        owner.unwrap_or_else(|| panic!("{answer:?}"))
    }

    /// `count` keys that `owner` owns.
    #[must_use]
    pub fn keys_of(&self, owner: &str, limit: &str, count: usize) -> Vec<String> {
        let keys = (0..).map(|number| format!("{owner}-{number}"));
        let owned = keys.filter(|key| self.owner(limit, key) == owner);
        owned.take(count).collect()
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

/// What `node` says of its cluster now.
///
/// # Panics
///
/// If it does not say it as promised.
#[must_use]
#[track_caller]
pub fn view(node: &Node) -> View {
    let answer = node.get("/v1/cluster", &[]);
    View::read(&answer.json()).unwrap_or_else(|| panic!("{answer:?}"))
}
