//! Three nodes in the background, for trying the strategies `raft` and `redis` by hand.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rehearsal::{Client, runs, until};

use crate::tools;

/// How long a node, or Redis, may take to be there.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where Redis is by the demo's file.
const REDIS_PORT: u16 = 6379;

/// One of the demos, by the name of its file below `demo`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Demo {
    Raft,
    Redis,
}

impl Demo {
    fn parse(name: &str) -> Result<Self> {
        match name {
            "raft" => Ok(Self::Raft),
            "redis" => Ok(Self::Redis),
            _ => bail!("unknown demo {name:?}; accepted: raft, redis"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Raft => "raft",
            Self::Redis => "redis",
        }
    }

    /// The HTTP port of the first node; the others follow.
    fn http(self) -> u16 {
        match self {
            Self::Raft => 20_001,
            Self::Redis => 8_081,
        }
    }

    /// The node-to-node port of the first node, where it is fixed.
    fn cluster(self) -> Option<u16> {
        (self == Self::Raft).then_some(50_001)
    }

    fn ports(self) -> impl Iterator<Item = u16> + Clone {
        (0..3).map(move |place| self.http() + place)
    }

    /// Cookie, logs and process ids of what runs.
    fn dir(self) -> PathBuf {
        Path::new("target/demo").join(self.name())
    }
}

/// `cargo xtask demo ACTION DEMO`. `false`: it ran, and was not as it should be.
///
/// # Errors
///
/// For an unknown action or demo, and when something cannot be started or asked.
pub(crate) fn demo(args: &[String]) -> Result<bool> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["start", name] => start(Demo::parse(name)?).map(|()| true),
        ["test", name] => test(Demo::parse(name)?),
        ["logs", name] => logs(Demo::parse(name)?).map(|()| true),
        ["health", name] => health(Demo::parse(name)?),
        ["redis-keys"] => redis_keys(),
        ["stop", name] => stop(Demo::parse(name)?).map(|()| true),
        _ => bail!("accepted: start, test, logs, health or stop, and raft or redis; redis-keys"),
    }
}

fn start(demo: Demo) -> Result<()> {
    if demo.dir().join("pids").exists() {
        bail!("it runs already; cargo xtask demo stop {}", demo.name());
    }
    let built = tools::cargo(["build", "--locked", "--release", "--package", "weir"]).status()?;
    if !built.success() {
        bail!("building weir: {built}");
    }
    fs::create_dir_all(demo.dir()).context("making the demo's folder")?;
    let home = std::path::absolute(demo.dir())?;
    let mut started = Started::default();
    if demo == Demo::Redis && !answers(REDIS_PORT) {
        tools::install_missing(&[
            ("redis-server", "redis-server"),
            ("redis-cli", "redis-tools"),
        ])?;
        let mut redis = Command::new("redis-server");
        redis.args(["--port", &REDIS_PORT.to_string(), "--bind", "127.0.0.1"]);
        redis.args(["--save", "", "--appendonly", "no"]);
        started.spawn(redis, &demo.dir().join("redis.log"))?;
        wait_until("Redis answers", || answers(REDIS_PORT))?;
    }
    for (place, http) in demo.ports().enumerate() {
        let name = format!("{}{}", demo.name(), place + 1);
        let mut node = Command::new(tools::target_dir().join("release/weir"));
        node.args(["node", "--name", &name, "--log", "json"])
            .args(["--config", &format!("demo/{}.toml", demo.name())])
            .args(["--http", &format!("127.0.0.1:{http}")])
            // The first makes a cookie there. Nodes of this user that are no part of the demo are not found, and do not
            // find it.
            .env("HOME", &home)
            .env("XDG_RUNTIME_DIR", &home);
        if let Some(first) = demo.cluster() {
            node.args(["--cluster", &format!("127.0.0.1:{}", first + place as u16)]);
        }
        let log = demo.dir().join(format!("{name}.log"));
        started.spawn(node, &log)?;
        let ready = format!("weir {name} ready");
        wait_until(&format!("{name} is ready; see {}", log.display()), || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains(&ready))
        })?;
        println!("{name} serves http://127.0.0.1:{http}");
    }
    started.keep(&demo.dir().join("pids"))
}

/// 15 requests of one new user, spread over the nodes: the limit is 10 a minute.
fn test(demo: Demo) -> Result<bool> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let user = format!("user-{}", since.as_nanos());
    let mut statuses = Vec::new();
    for port in demo.ports().cycle().take(15) {
        let (status, _) = get(port, "/api/data", &user)?;
        println!("127.0.0.1:{port} /api/data {status}");
        statuses.push(status);
    }
    let count = |status| statuses.iter().filter(|&&told| told == status).count();
    println!("{} succeeded, {} got 429", count(200), count(429));
    Ok((count(200), count(429)) == (10, 5))
}

fn health(demo: Demo) -> Result<bool> {
    let mut is_well = true;
    for port in demo.ports() {
        for path in ["/health", "/api/status", "/v1/cluster"] {
            let (status, body) = get(port, path, "nobody")?;
            println!("127.0.0.1:{port} {path} {status} {}", body.trim());
            is_well &= status == 200;
        }
    }
    Ok(is_well)
}

fn logs(demo: Demo) -> Result<()> {
    for entry in fs::read_dir(demo.dir()).context("the demo was not started")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            println!("== {}", path.display());
            print!("{}", fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

fn redis_keys() -> Result<bool> {
    let port = REDIS_PORT.to_string();
    let mut keys = Command::new("redis-cli");
    keys.args(["-p", &port, "--scan", "--pattern", "weir:*"]);
    Ok(keys.status().context("running redis-cli")?.success())
}

/// Ends what [`start`] started, by id: nodes hand over first.
fn stop(demo: Demo) -> Result<()> {
    let pids = demo.dir().join("pids");
    let listed = fs::read_to_string(&pids).context("the demo does not run")?;
    // The last first, so that Redis goes when no node needs it.
    for pid in listed.lines().rev() {
        let _gone = Command::new("kill")
            .arg(pid)
            .stderr(Stdio::null())
            .status()?;
        let ended = || match runs(pid.parse().unwrap_or_default()) {
            true => Err("it runs".to_owned()),
            false => Ok(()),
        };
        // One that does not end is left alone, as it always was.
        let _late = until(DEADLINE, "it ends", ended);
    }
    fs::remove_file(&pids).context("forgetting the processes")
}

/// Processes that are ended again unless they are kept.
#[derive(Default)]
struct Started(Vec<u32>);

impl Started {
    fn spawn(&mut self, mut command: Command, log: &Path) -> Result<()> {
        let log = File::create(log).context("creating a log")?;
        // A group of its own, so that Ctrl-C in this terminal is not for it.
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        self.0.push(child.id());
        Ok(())
    }

    fn keep(mut self, path: &Path) -> Result<()> {
        let lines: String = self.0.iter().map(|pid| format!("{pid}\n")).collect();
        fs::write(path, lines).context("noting the processes")?;
        self.0.clear();
        Ok(())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _gone = Command::new("kill").arg(pid.to_string()).status();
        }
    }
}

fn answers(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) -> Result<()> {
    let look = || is_so().then_some(()).ok_or_else(|| "it is not".to_owned());
    Ok(until(DEADLINE, what, look)?)
}

/// Status and body of one request of `user`.
fn get(port: u16, path: &str, user: &str) -> Result<(u16, String)> {
    let mut client = Client::connect((Ipv4Addr::LOCALHOST, port).into())
        .with_context(|| format!("port {port}"))?;
    let answer = client.request("GET", path, &[("X-User-ID", user)], None)?;
    Ok((answer.status, answer.body))
}
