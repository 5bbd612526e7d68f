//! How many hits a second the coordinator gets decided, beside `redis-benchmark` with the same script over as many
//! connections as there are callers here.
//!
//! ```text
//! cargo run --profile shipping -p coordinator-redis --example redis-throughput [CALLERS]
//! ```
//!
//! `redis-benchmark` cannot send the packed argument, which has zero bytes in it. Its copy of the script has it written in,
//! which spares that side sending and reading it.
//!
//! Starts a `redis-server` of its own, on a Unix socket. The sides take turns, and the medians of five turns are
//! compared: a minute where each does 16 000 a second, ten seconds where each does 100 000. Prints one line of JSON.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use coordinator::{Answer, Coordinator, FailMode, Hit, NoDecision, Policy, Strategy};
use coordinator_redis::{RedisConfig, RedisCoordinator, Servers};
use quota::{Algorithm, Cost, Limit, Nanos};

const CALLERS: usize = 64;
const ROUNDS: usize = 5;
/// A second of a Redis on a core of its own.
const REQUESTS: usize = 100_000;
/// Enough that callers rarely meet, few enough to stay in the processor's cache, as the keys of a busy limit do.
const KEYS: usize = 10_000;
/// No hit is denied: an admitted one writes, and costs more.
const UNITS: u32 = 1_000_000_000;
const PERIOD_MS: u64 = 60_000;

const PRELUDE: &str = include_str!("../src/scripts/prelude.lua");
const GCRA: &str = include_str!("../src/scripts/gcra.lua");

/// How the prelude reads its argument.
const READS: [&str; 2] = [
    "string.sub(ARGV[1], 1, 13)",
    "struct.unpack('<dddddd', ARGV[1], 14)",
];

#[tokio::main]
async fn main() -> Result<()> {
    let callers = std::env::args().nth(1).map(|n| n.parse()).transpose()?;
    let callers: usize = callers.unwrap_or(CALLERS);
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("s");
    let _server = Server::start(&socket)?;
    let sha = loaded(&socket)?;
    let coordinator = connected(&socket).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(redis_benchmark(&socket, &sha, callers)?);
        ours.push(hits_per_second(&coordinator, callers).await?);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let ratio = ours / theirs;
    println!(
        r#"{{"callers":{callers},"weir_per_second":{ours:.0},"redis_benchmark_per_second":{theirs:.0},"ratio":{ratio:.2}}}"#
    );
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A `redis-server` that ends with this value.
struct Server(Child);

impl Server {
    fn start(socket: &Path) -> Result<Self> {
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(socket)
            .stdout(Stdio::null())
            .spawn()
            .context("starting redis-server")?;
        Ok(Self(child))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Loads the script, as soon as the server is there, and tells its hash.
fn loaded(socket: &Path) -> Result<String> {
    let script = script_with_arguments()?;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut load = Command::new("redis-cli");
        load.arg("-s").arg(socket).args(["-x", "SCRIPT", "LOAD"]);
        let sha = output_of(load, script.as_bytes())?;
        if sha.trim().len() == 40 {
            return Ok(sha.trim().to_owned());
        }
        ensure!(
            Instant::now() < deadline,
            "redis-server does not answer: {sha}"
        );
    }
}

/// What `command` prints when it is given `input`.
fn output_of(mut command: Command, input: &[u8]) -> Result<String> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    child.stdin.take().expect("it is piped").write_all(input)?;
    let output = child.wait_with_output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The script with what the coordinator would tell it: see `prelude.lua`.
fn script_with_arguments() -> Result<String> {
    ensure!(
        READS.iter().all(|read| PRELUDE.contains(read)),
        "the prelude has changed"
    );
    let mut signature = vec![b'g'];
    signature.extend(UNITS.to_le_bytes());
    signature.extend(PERIOD_MS.to_le_bytes());
    let escaped: String = signature
        .iter()
        .map(|byte| format!("\\{byte:03}"))
        .collect();
    let period = PERIOD_MS * 1_000;
    let prelude = PRELUDE
        .replace(READS[0], &format!("'{escaped}'"))
        .replace(READS[1], &format!("1, {UNITS}, {UNITS}, {period}, 1000, 0"));
    Ok(prelude + GCRA)
}

fn redis_benchmark(socket: &Path, sha: &str, connections: usize) -> Result<f64> {
    let mut command = Command::new("redis-benchmark");
    command.arg("-s").arg(socket).arg("-q");
    command.args(["-c", &connections.to_string(), "-n", &REQUESTS.to_string()]);
    command.args(["-r", &KEYS.to_string()]);
    command.args(["EVALSHA", sha, "1", "bench:{__rand_int__}"]);
    let told = output_of(command, b"")?;
    let (before, _) = told
        .rsplit_once(" requests per second")
        .context("no result")?;
    let number = before
        .rsplit([' ', '\r', '\n'])
        .next()
        .context("no number")?;
    Ok(number.parse()?)
}

async fn connected(socket: &Path) -> Result<RedisCoordinator<Nobody>> {
    let url = format!("redis+unix://{}", socket.display());
    let config = RedisConfig::new(Servers::One(url), [7; 16])?;
    let config = config.with_timeout(Duration::from_secs(10))?;
    Ok(RedisCoordinator::connect(config, Nobody).await?)
}

async fn hits_per_second(coordinator: &RedisCoordinator<Nobody>, callers: usize) -> Result<f64> {
    let policy = Policy {
        namespace: "default".into(),
        name: "bench".into(),
        limit: Limit::new(Algorithm::Gcra, UNITS, Nanos::from_millis(PERIOD_MS))?,
        strategy: Strategy::Redis,
        on_failure: FailMode::Deny,
        top_keys: false,
    };
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let (coordinator, policy) = (coordinator.clone(), policy.clone());
        tasks.spawn(async move {
            let mut place = caller;
            for _ in 0..REQUESTS / callers {
                // A full cycle modulo the number of keys, from another place for each caller.
                place = (place * 21 + 7_919) % KEYS;
                let told = coordinator
                    .hit(&policy, &format!("{place:012}"), Cost::ONE)
                    .await?;
                ensure!(told.decision.is_allowed(), "a hit was denied");
            }
            Ok(())
        });
    }
    tasks.join_all().await.into_iter().collect::<Result<()>>()?;
    let done = (REQUESTS / callers * callers) as f64;
    Ok(done / start.elapsed().as_secs_f64())
}

/// Nobody counts in place of this Redis.
struct Nobody;

impl Coordinator for Nobody {
    async fn hit(&self, _: &Policy, _: &str, _: Cost) -> Result<Answer, NoDecision> {
        Err(GONE)
    }

    async fn hits(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        hits.iter().map(|_| Err(GONE)).collect()
    }

    async fn refund(&self, _: &Policy, _: &str, _: Cost) -> Result<Answer, NoDecision> {
        Err(GONE)
    }

    async fn reset(&self, _: &Policy, _: &str) -> Result<(), NoDecision> {
        Err(GONE)
    }
}

const GONE: NoDecision = NoDecision::Unavailable {
    retry_after: Nanos::ZERO,
};
