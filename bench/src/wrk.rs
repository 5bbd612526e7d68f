//! The load generator, as a process of its own: <https://github.com/wg/wrk>.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, str};

use anyhow::{Context as _, Result, ensure};

use crate::machine;
use crate::server::{Server, bearer};

/// What one run of 64 connections came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    /// CPU of the server for one request, in microseconds.
    pub(crate) cpu_us: f64,
}

/// One request of a file for `requests.lua`.
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: String,
}

/// Writes the requests where [`run`] reads them.
pub(crate) fn write_requests(path: &Path, requests: impl Iterator<Item = Request>) -> Result<()> {
    write_requests_of(None, path, requests)
}

/// The same requests, each with this credential.
pub(crate) fn write_requests_of(
    credential: Option<&str>,
    path: &Path,
    requests: impl Iterator<Item = Request>,
) -> Result<()> {
    let mut lines = String::new();
    if let Some(credential) = credential {
        writeln!(lines, "Authorization: {}", bearer(credential))?;
    }
    for Request { method, path, body } in requests {
        writeln!(lines, "{method} {path} {body}")?;
    }
    fs::write(path, lines).with_context(|| format!("writing {}", path.display()))
}

/// Loads the server from one thread with 64 connections, and checks that (nearly) all answers were 2xx if `admitted`,
/// else (nearly) none.
pub(crate) fn run(
    server: &Server,
    requests: &Path,
    time: Duration,
    admitted: Option<bool>,
) -> Result<Load> {
    let pids = server.pids();
    let before = machine::cpu_time(&pids)?;
    let report = generate(server.address, requests, time)?;
    let cpu = machine::cpu_time(&pids)? - before;
    let requests = report.requests as f64;
    let denied = report.denied as f64 / requests;
    ensure!(report.errors.is_empty(), "wrk reports {}", report.errors);
    if let Some(admitted) = admitted {
        let wrong = if admitted { denied } else { 1.0 - denied };
        ensure!(
            wrong < 0.01,
            "{:.0} % of {} answers were denied",
            denied * 100.0,
            report.requests
        );
    }
    Ok(Load {
        requests: report.requests,
        per_second: report.per_second,
        cpu_us: cpu.as_secs_f64() * 1e6 / requests,
    })
}

struct Report {
    requests: u64,
    per_second: f64,
    denied: u64,
    errors: String,
}

fn generate(address: SocketAddr, requests: &Path, time: Duration) -> Result<Report> {
    let time = format!("{}s", time.as_secs());
    let output = Command::new("wrk")
        .args(["-t1", "-c64", "-d", &time, "-s", "bench/requests.lua"])
        .arg(format!("http://{address}"))
        .arg("--")
        .arg(requests)
        .output()
        .context("starting wrk")?;
    let text = str::from_utf8(&output.stdout)?;
    ensure!(
        output.status.success(),
        "wrk failed: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let line = |label: &str| {
        text.lines()
            .map(str::trim)
            .find(|line| line.contains(label))
    };
    let requests = line(" requests in ").and_then(|line| line.split(' ').next()?.parse().ok());
    let per_second = line("Requests/sec:").and_then(|line| line.rsplit(' ').next()?.parse().ok());
    let denied = line("Non-2xx").and_then(|line| line.rsplit(' ').next()?.parse().ok());
    Ok(Report {
        requests: requests.context("wrk reports how many requests")?,
        per_second: per_second.context("wrk reports a rate")?,
        denied: denied.unwrap_or(0),
        errors: line("Socket errors").unwrap_or_default().to_owned(),
    })
}
