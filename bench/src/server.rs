//! Servers under measurement: started, asked whether they serve, and ended, each by its process id.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use accounts::OperatorToken;
use anyhow::{Context as _, Result, bail, ensure};
use rehearsal::{Client, Process, Ready, SHARDS, View, family, free_address};
use rustix::process::Signal;

/// How long a server may take to serve, or a cluster to settle.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than any answer of a node takes.
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);

/// Limits for every measure: one that never denies, one that always does, and one that counts exactly.
const CONFIG: &str = r#"
[cluster]
ack = "ACK"

[[limit]]
name = "admit"
algorithm = "gcra"
limit = 2_000_000_000
per = "1d"

[[limit]]
name = "deny"
algorithm = "gcra"
limit = 1
per = "1d"

[[limit]]
name = "count"
algorithm = "fixed_window"
anchor = "first_hit"
limit = 1_000_000
per = "1d"
"#;

/// A process that is killed when this is dropped.
pub(crate) struct Server {
    process: Process,
    pub(crate) address: SocketAddr,
}

impl Server {
    fn start(command: &mut Command, address: SocketAddr) -> Result<Self> {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::start(command);
        let server = Self {
            process: process.with_context(|| format!("starting {command:?}"))?,
            address,
        };
        until("a server accepts connections", || {
            Ok(TcpStream::connect(address).is_ok())
        })?;
        Ok(server)
    }

    pub(crate) fn throttlecrab() -> Result<Self> {
        Self::throttlecrab_by("http")
    }

    fn throttlecrab_by(protocol: &str) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new("target/peers/bin/throttlecrab-server");
        let option = |of: &str| format!("--{protocol}{of}");
        command.args([option(""), option("-host"), "127.0.0.1".to_owned()]);
        command.args([option("-port"), address.port().to_string()]);
        // Room for the keys from the start, and no logs: at its best.
        command.args(["--store-capacity", "200000", "--log-level", "error"]);
        Self::start(&mut command, address)
    }

    /// The same over the Redis protocol.
    pub(crate) fn throttlecrab_redis() -> Result<Self> {
        Self::throttlecrab_by("redis")
    }

    /// The same by gRPC.
    pub(crate) fn throttlecrab_grpc() -> Result<Self> {
        Self::throttlecrab_by("grpc")
    }

    /// A server of the Redis protocol that only says PONG.
    pub(crate) fn pong() -> Result<Self> {
        let address = free_address()?;
        Self::start(
            Command::new(sibling("pong")?).arg(address.to_string()),
            address,
        )
    }

    pub(crate) fn nginx(dir: &Path) -> Result<Self> {
        let address = free_address()?;
        let config = include_str!("../nginx.conf");
        let config = config
            .replace("DIR", &dir.display().to_string())
            .replace("PORT", &address.port().to_string());
        let path = dir.join("nginx.conf");
        fs::write(&path, config)?;
        let mut command = Command::new("nginx");
        // Debian installs it in sbin, which an ordinary user's PATH lacks.
        command.env(
            "PATH",
            format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()),
        );
        command
            .arg("-c")
            .arg(&path)
            .arg("-p")
            .arg(dir)
            .args(["-e", "/dev/null"]);
        Self::start(&mut command, address)
    }

    pub(crate) fn redis(dir: &Path) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--save", "", "--dir"]).arg(dir);
        Self::start(&mut command, address)
    }

    pub(crate) fn axum_json() -> Result<Self> {
        let address = free_address()?;
        Self::start(
            Command::new(sibling("axum-json")?).arg(address.to_string()),
            address,
        )
    }

    /// A program with a node in it and the layer before its routes, or with neither.
    pub(crate) fn axum_layer(is_layered: bool) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(sibling("axum-layer")?);
        command.arg(address.to_string());
        if !is_layered {
            command.arg("bare");
        }
        Self::start(&mut command, address)
    }

    pub(crate) fn tonic_empty() -> Result<Self> {
        let address = free_address()?;
        Self::start(
            Command::new(sibling("tonic-empty")?).arg(address.to_string()),
            address,
        )
    }

    /// All its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        family(self.process.id())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal).context("signalling a process")
    }
}

/// A node of Weir.
pub(crate) struct Node {
    server: Server,
    pub(crate) name: String,
    /// Where it serves the Redis protocol.
    pub(crate) redis: SocketAddr,
    /// Where other nodes reach it.
    pub(crate) cluster: String,
    /// Where it serves Envoy's rate limit service, if it was told to.
    pub(crate) grpc: Option<SocketAddr>,
}

impl std::ops::Deref for Node {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// A cluster of nodes with a folder of its own, so that it meets no other.
pub(crate) struct Nodes {
    pub(crate) nodes: Vec<Node>,
    // Last: removed when the processes are gone.
    dir: tempfile::TempDir,
}

/// The cookie of all clusters here: they are told apart by their folders.
pub(crate) const COOKIE: &str = "a cookie for measuring, not for keeping secrets";

/// What an operator of these clusters brings.
pub(crate) fn operator() -> OperatorToken {
    OperatorToken::derive(COOKIE.as_bytes())
}

/// The value of the header that brings a credential.
pub(crate) fn bearer(credential: &str) -> String {
    format!("Bearer {credential}")
}

impl Nodes {
    /// Starts one node of a service for many, with this in its file.
    pub(crate) fn service(more: &str) -> Result<Self> {
        let service = "[service]\npublic_url = \"http://127.0.0.1:4000\"\nsignup = \"open\"\n";
        Self::start_with(1, "fast", &format!("{service}{more}"))
    }

    /// Starts `count` nodes and waits until each shard has its owner and its replicas.
    pub(crate) fn start(count: usize, ack: &str) -> Result<Self> {
        Self::start_with(count, ack, "")
    }

    /// As [`Self::start`], with more in the configuration.
    pub(crate) fn start_with(count: usize, ack: &str, more: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let config = CONFIG.replace("ACK", ack) + more;
        fs::write(dir.path().join("weir.toml"), config)?;
        let mut cluster = Self {
            nodes: Vec::new(),
            dir,
        };
        for name in ["oskar", "berta", "carla"].iter().take(count) {
            let node = cluster.start_node(name)?;
            cluster.nodes.push(node);
        }
        cluster.settle(count)?;
        Ok(cluster)
    }

    fn start_node(&self, name: &str) -> Result<Node> {
        let dir = self.dir.path();
        let mut command = Command::new(sibling("weir")?);
        command.args([
            "node",
            "--name",
            name,
            "--cookie",
            COOKIE,
            "--http",
            "127.0.0.1:0",
            "--redis",
            "127.0.0.1:0",
            // What is made at run time goes with the nodes.
            "--ephemeral",
            "--log",
            "json",
        ]);
        command
            .arg("--config")
            .arg(dir.join("weir.toml"))
            .env("HOME", dir)
            .env("XDG_RUNTIME_DIR", dir);
        let log = File::create(dir.join(format!("{name}.log")))?;
        command.stdout(Stdio::piped()).stderr(log);
        let mut process = Process::start(&mut command).context("starting weir")?;
        let stdout = process.stdout().context("stdout is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let Ok(ready) = line.parse::<Ready>() else {
            let log = fs::read_to_string(dir.join(format!("{name}.log"))).unwrap_or_default();
            bail!("{name} is not ready: {line}{log}");
        };
        let server = Server {
            process,
            address: ready.http,
        };
        Ok(Node {
            server,
            name: ready.name,
            redis: ready.redis.context("it was told to serve Redis clients")?,
            cluster: ready.cluster.to_string(),
            grpc: ready.grpc,
        })
    }

    /// Waits until all of `count` members see each other and every shard has its copies.
    fn settle(&self, count: usize) -> Result<()> {
        for node in &self.nodes {
            let mut client = open(node.address)?;
            until("the cluster has settled", || {
                let operator = [("Authorization", &*bearer(operator().reveal()))];
                let cluster = client.request("GET", "/v1/cluster", &operator, None)?;
                let view = View::read(&cluster.json()).context("a view")?;
                let members = view.members.values();
                let alive = members.filter(|member| member.status == "alive");
                // A newcomer that owns nothing yet has not been handed its share.
                let share = SHARDS / (2 * count as u64);
                let have_theirs = alive.filter(|member| share <= member.shards);
                Ok(have_theirs.count() == count && view.is_settled())
            })?;
        }
        Ok(())
    }

    /// Keys of `limit` that the node named `owner` decides, found by asking `node`.
    pub(crate) fn keys_of(
        &self,
        owner: &str,
        limit: &str,
        count: usize,
        asked: &Node,
    ) -> Result<Vec<String>> {
        let mut client = open(asked.address)?;
        let mut keys = Vec::with_capacity(count);
        for number in 0.. {
            ensure!(number < 1_000 + 100 * count, "{owner} owns too few keys");
            let key = key(number);
            let path = format!("/v1/owner?limit={limit}&key={key}");
            let found = client.request("GET", &path, &[], None)?;
            if found.json()["owner"] == owner {
                keys.push(key);
            }
            if keys.len() == count {
                break;
            }
        }
        Ok(keys)
    }
}

/// Keys have 14 bytes, as a short name of a user or an address.
pub(crate) fn key(number: usize) -> String {
    format!("user:{number:09}")
}

/// A program built beside this one.
fn sibling(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(
        path.exists(),
        "{} is missing: start this with cargo xtask bench",
        path.display()
    );
    Ok(path)
}

/// A connection to a node or server.
pub(crate) fn open(address: SocketAddr) -> std::io::Result<Client> {
    Client::connect_within(address, ANSWERED_WITHIN)
}

/// Waits until something holds. What goes wrong meanwhile is told if it never does.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let look = || match holds() {
        Ok(true) => Ok(()),
        Ok(false) => Err("it does not hold".to_owned()),
        Err(error) => Err(format!("{error:#}")),
    };
    Ok(rehearsal::until(PATIENCE, what, look)?)
}
