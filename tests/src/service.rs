//! A service for many as its operator has it: by the command, with the cookie of the cluster.

use serde_json::Value;

use rehearsal::Response;

use crate::cluster::Cluster;
use crate::node::{Node, weir};
use crate::wait::eventually;

impl Node {
    /// What this node answers whoever brings an API key.
    #[track_caller]
    #[must_use]
    pub fn ask_by(&self, api_key: &str, method: &str, path: &str, body: Option<Value>) -> Response {
        let bearer = format!("Bearer {api_key}");
        let body = body.map(|body| body.to_string());
        self.ask(method, path, &[("Authorization", &bearer)], body.as_deref())
    }
}

impl Cluster {
    /// Nodes of a service, which forget all when they end, started with these arguments as well.
    ///
    /// # Panics
    ///
    /// If one ends before it is ready.
    #[track_caller]
    #[must_use]
    pub fn service(config: &str, names: &[&str], arguments: &[&str]) -> Self {
        let mut cluster = Self::with_config(config);
        let arguments = [&["--ephemeral"], arguments].concat();
        for name in names {
            let started = cluster.try_start(name, Self::COOKIE, &arguments);
            started.unwrap_or_else(|(status, log)| panic!("{name}: {status}:\n{log}"));
        }
        cluster
    }

    /// Waits until each of them says that nothing is wrong.
    ///
    /// # Panics
    ///
    /// If one does not.
    #[track_caller]
    pub fn until_well(&self) {
        for node in &self.nodes {
            eventually("nothing is wrong", || self.try_operator(node, &["status"]));
        }
    }

    /// What a command of an operator prints of a node.
    ///
    /// # Errors
    ///
    /// How it ended, if not with 0.
    ///
    /// # Panics
    ///
    /// If the command cannot be run, or prints what is no text.
    pub fn try_operator(&self, node: &Node, arguments: &[&str]) -> Result<String, String> {
        let url = format!("http://{}", node.http);
        let common = ["--cookie", Self::COOKIE, "--url", &url];
        let output = weir(self.home()).args(arguments).args(common).output();
        let output = output.expect("running weir");
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).expect("text")),
            false => Err(format!("{arguments:?}: {output:?}")),
        }
    }

    /// The same of one that succeeds.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn operator(&self, node: &Node, arguments: &[&str]) -> String {
        let told = self.try_operator(node, arguments);
        told.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A tenant, and an API key of it with these scopes.
    ///
    /// # Panics
    ///
    /// If they cannot be made.
    #[track_caller]
    #[must_use]
    pub fn tenant(&self, name: &str, scopes: &[&str]) -> (String, String) {
        let node = &self.nodes[0];
        let made = self.operator(node, &["tenant", "create", name, "--json"]);
        let made: Value = serde_json::from_str(&made).expect("JSON");
        let id = made["id"].as_str().expect("an id").to_owned();
        let scopes = scopes.iter().flat_map(|scope| ["--scope", scope]);
        let create = ["key", "create", "--tenant", &id, "--name", "edge"];
        let create: Vec<&str> = create.into_iter().chain(scopes).collect();
        let key = self.operator(node, &create);
        let key = key.strip_suffix('\n').expect("the API key and a newline");
        assert_eq!(key.len(), 59, "{key:?}");
        (id, key.to_owned())
    }
}
