//! A service for many: what an API key costs a check, what a page costs, and what tenants take that do nothing.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rehearsal::{Client, Response, memory_of};
use serde_json::{Value, json};

use super::http::{Contender, load_in_turn, report, weir_request};
use crate::machine;
use crate::server::{self, Node, Nodes, bearer};
use crate::spread::Rounds;

/// A plan that refuses nothing that this asks.
const PLAN: &str = r#"
[[plan]]
name = "all"
requests_per_day = 2_147_483_647
per_second = 1_000_000
limits = 1_000
key_limits = 1_000
api_keys = 1_000
team = 10
"#;

const ROUNDS: usize = 3;
/// Pages of a round, one after the other: of all rounds together no more than a node answers a tenant in a minute.
const PAGES: usize = 30;
/// How many tenants are made, and what each has.
const TENANTS: usize = 10_000;
const API_KEYS: usize = 5;
const LIMITS: usize = 20;
/// Clients that make them.
const CLIENTS: usize = 8;
/// How long an idle node is looked at.
const IDLE: Duration = Duration::from_secs(10);

pub(crate) fn measure() -> Result<String> {
    let checks = checks()?;
    let pages = pages()?;
    let tenants = tenants()?;
    Ok(format!("{checks}\n{pages}\n{tenants}"))
}

/// Asks as an operator, in a tenant if one is named.
fn ask(
    client: &mut Client,
    tenant: Option<&str>,
    (method, path): (&str, &str),
    body: Option<Value>,
) -> Result<Response> {
    let operator = bearer(server::operator().reveal());
    let mut headers = vec![("Authorization", &*operator)];
    headers.extend(tenant.map(|id| ("Weir-Tenant", id)));
    let body = body.map(|body| body.to_string());
    let answer = client.request(method, path, &headers, body.as_deref())?;
    ensure!(answer.status < 300, "{method} {path}: {answer:?}");
    Ok(answer)
}

fn text(answer: &Response, field: &str) -> Result<String> {
    let json = answer.json();
    let text = json[field].as_str();
    Ok(text
        .with_context(|| format!("no {field} in {json}"))?
        .to_owned())
}

/// The limits of the file, as a tenant has them.
fn limits() -> [(&'static str, Value); 2] {
    let limit = |units: u32| json!({ "algorithm": "gcra", "limit": units, "per": "1d" });
    [("admit", limit(2_000_000_000)), ("deny", limit(1))]
}

/// The same checks by an operator's token and by an API key.
fn checks() -> Result<String> {
    let cluster = Nodes::service(PLAN)?;
    let node = &cluster.nodes[0];
    let mut client = server::open(node.address)?;
    let body = json!({ "name": "Acme" });
    let tenant = text(
        &ask(&mut client, None, ("POST", "/v1/tenants"), Some(body))?,
        "id",
    )?;
    for (name, limit) in limits() {
        let path = format!("/v1/limits/{name}");
        ask(&mut client, Some(&tenant), ("PUT", &path), Some(limit))?;
    }
    let body = json!({ "name": "edge", "scopes": ["check"] });
    let made = ask(
        &mut client,
        Some(&tenant),
        ("POST", "/v1/api-keys"),
        Some(body),
    )?;
    let key = text(&made, "key")?;
    let operator = server::operator();
    let mut contenders = [
        Contender::new("an operator's token", node, weir_request, true).with(operator.reveal()),
        Contender::new("an API key", node, weir_request, true).with(&key),
    ];
    load_in_turn(&mut contenders)?;
    Ok(report(&contenders))
}

/// Pages of a tenant with limits, as a browser asks for them.
fn pages() -> Result<String> {
    let mut rows = String::new();
    for (name, path) in [("overview", ""), ("limits", "/limits"), ("usage", "/usage")] {
        rows += &format!("| {name} | {} |\n", page(path)?);
    }
    Ok(format!(
        "Pages of a tenant with {LIMITS} limits, one after the other over one connection, {ROUNDS} rounds of {PAGES}; median (least to most):\n\n\
         | page | CPU of the node, ms | until it is there, ms | KiB |\n|---|---|---|---|\n{rows}\n\
         `/proc` counts CPU in steps of 10 ms, {:.2} ms for each of {PAGES} pages: 0.00 is less than one step.\n",
        10.0 / PAGES as f64
    ))
}

/// What one page costs on a node of its own.
fn page(path: &str) -> Result<String> {
    let cluster = Nodes::service(PLAN)?;
    let node = &cluster.nodes[0];
    let mut client = server::open(node.address)?;
    let body = json!({ "email": "ada@example.com", "password": "correct horse battery", "tenant": "Acme" });
    let json = [("Content-Type", "application/json")];
    let signed_up = client.request("POST", "/v1/auth/sign-up", &json, Some(&body.to_string()))?;
    ensure!(signed_up.status == 201, "{signed_up:?}");
    let cookie = signed_up.header("set-cookie").context("a session")?;
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    let told = signed_up.json();
    let tenant = told["tenant"]["id"].as_str().context("a tenant")?;
    for number in 0..LIMITS {
        let path = format!("/v1/limits/limit{number}");
        let [(_, limit), _] = limits();
        ask(&mut client, Some(tenant), ("PUT", &path), Some(limit))?;
    }
    let path = format!("/dashboard/{tenant}{path}");
    let (mut cpu, mut took, mut bytes) = (Rounds::default(), Rounds::default(), 0);
    for _ in 0..ROUNDS {
        let before = machine::cpu_time(&node.pids())?;
        let began = Instant::now();
        for _ in 0..PAGES {
            let page = client.request("GET", &path, &[("Cookie", &cookie)], None)?;
            ensure!(page.status == 200, "{path}: {page:?}");
            bytes = page.body.len();
        }
        let each = 1e3 / PAGES as f64;
        took.push(began.elapsed().as_secs_f64() * each);
        cpu.push((machine::cpu_time(&node.pids())? - before).as_secs_f64() * each);
    }
    let (cpu, took) = (cpu.show(2), took.show(2));
    Ok(format!("{cpu} | {took} | {:.1}", bytes as f64 / 1024.0))
}

/// What a node takes for tenants that are there and ask nothing.
fn tenants() -> Result<String> {
    let cluster = Nodes::service(PLAN)?;
    let node = &cluster.nodes[0];
    let memory = || memory_of(node.pids()[0]).context("a node runs");
    let empty = memory()?;
    let began = Instant::now();
    thread::scope(|scope| {
        let makers: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| make_tenants(node, TENANTS / CLIENTS)))
            .collect();
        makers
            .into_iter()
            .try_for_each(|maker| maker.join().expect("no panic"))
    })?;
    let took = began.elapsed().as_secs_f64();
    let full = memory()?;
    // What making them has left to do.
    thread::sleep(IDLE);
    let before = machine::cpu_time(&node.pids())?;
    thread::sleep(IDLE);
    let idle =
        (machine::cpu_time(&node.pids())? - before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    Ok(format!(
        "{TENANTS} tenants with {API_KEYS} API keys and {LIMITS} limits each, made over HTTP by {CLIENTS} clients in {took:.0} s, with an entry of the audit for each change: \
         {:.0} MiB more than the {:.0} MiB of a node without, and {idle:.1} % of one core while nobody asks.\n",
        (full - empty) as f64 / f64::from(1 << 20),
        empty as f64 / f64::from(1 << 20),
    ))
}

fn make_tenants(node: &Node, count: usize) -> Result<()> {
    let mut client = server::open(node.address)?;
    for _ in 0..count {
        let body = json!({ "name": "Acme" });
        let made = ask(&mut client, None, ("POST", "/v1/tenants"), Some(body))?;
        let tenant = text(&made, "id")?;
        for number in 0..LIMITS {
            let [(_, limit), _] = limits();
            let path = format!("/v1/limits/limit{number}");
            ask(&mut client, Some(&tenant), ("PUT", &path), Some(limit))?;
        }
        for _ in 0..API_KEYS {
            let body = json!({ "name": "edge" });
            ask(
                &mut client,
                Some(&tenant),
                ("POST", "/v1/api-keys"),
                Some(body),
            )?;
        }
    }
    Ok(())
}
