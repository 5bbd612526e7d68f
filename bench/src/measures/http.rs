//! One decision per HTTP request, Weir beside its peers.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::server::{self, Nodes, Server};
use crate::spread::Rounds;
use crate::wrk::{self, Request};

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
/// Longer if not every key is hit by then: a key must be spent to be denied.
const WARM_UP: Duration = Duration::from_secs(2);
const KEYS: usize = 100_000;

/// A load that every server gets.
struct Case {
    name: &'static str,
    keys: usize,
    admit: bool,
}

const CASES: [Case; 4] = [
    Case {
        name: "hot key, admit",
        keys: 1,
        admit: true,
    },
    Case {
        name: "100 k keys, admit",
        keys: KEYS,
        admit: true,
    },
    Case {
        name: "hot key, deny",
        keys: 1,
        admit: false,
    },
    Case {
        name: "100 k keys, deny",
        keys: KEYS,
        admit: false,
    },
];

/// A server and how it is asked.
pub(super) struct Contender<'a> {
    name: &'static str,
    server: &'a Server,
    /// What asks for a key, so that it is admitted or not.
    request: fn(&str, bool) -> Request,
    /// The share of answers that say "denied" tells whether it does what the case wants.
    status_tells: bool,
    /// What each request brings.
    credential: Option<String>,
    /// By case: thousand requests a second, and microseconds of CPU for each.
    results: Vec<(Rounds, Rounds)>,
}

impl<'a> Contender<'a> {
    pub(super) fn new(
        name: &'static str,
        server: &'a Server,
        request: fn(&str, bool) -> Request,
        status_tells: bool,
    ) -> Self {
        Self {
            name,
            server,
            request,
            status_tells,
            credential: None,
            results: vec![],
        }
    }

    /// The same, with a credential in each request.
    pub(super) fn with(self, credential: &str) -> Self {
        Self {
            credential: Some(credential.to_owned()),
            ..self
        }
    }
}

pub(super) fn weir_request(key: &str, admit: bool) -> Request {
    let limit = if admit { "admit" } else { "deny" };
    Request {
        method: "POST",
        path: "/v1/check".to_owned(),
        body: format!(r#"{{"limit":"{limit}","key":"{key}"}}"#),
    }
}

/// throttlecrab answers 200 and tells in the body. Its limits come with each request.
fn throttlecrab_request(key: &str, admit: bool) -> Request {
    let (burst, count) = if admit {
        (2_000_000_000, 2_000_000_000)
    } else {
        (1, 1)
    };
    let body = format!(
        r#"{{"key":"{key}","max_burst":{burst},"count_per_period":{count},"period":86400}}"#
    );
    Request {
        method: "POST",
        path: "/throttle".to_owned(),
        body,
    }
}

/// Asks for a path that is limited by the parameter `k`.
pub(super) fn path_request(key: &str, admit: bool) -> Request {
    let path = format!("/{}?k={key}", if admit { "admit" } else { "deny" });
    Request {
        method: "GET",
        path,
        body: String::new(),
    }
}

pub(crate) fn measure() -> Result<String> {
    let dir = tempfile::tempdir()?;
    let weir = Nodes::start(1, "fast")?;
    let servers = [
        Server::throttlecrab()?,
        Server::nginx(dir.path())?,
        Server::axum_json()?,
    ];
    let [throttlecrab, nginx, axum] = &servers;
    let mut contenders = [
        Contender::new("**Weir**, one node", &weir.nodes[0], weir_request, true),
        Contender::new(
            "throttlecrab-server 0.4.40",
            throttlecrab,
            throttlecrab_request,
            false,
        ),
        Contender::new(
            "nginx 1.22 `limit_req` (GET, no JSON)",
            nginx,
            path_request,
            true,
        ),
        Contender::new(
            "axum POST, JSON in and out, decides nothing",
            axum,
            weir_request,
            false,
        ),
    ];
    load_in_turn(&mut contenders)?;
    Ok(report(&contenders))
}

/// Loads all of them with each case, in turn within each round.
pub(super) fn load_in_turn(contenders: &mut [Contender<'_>]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    for case in &CASES {
        let mut files: Vec<PathBuf> = Vec::new();
        for (index, contender) in contenders.iter_mut().enumerate() {
            let path = dir.path().join(format!("requests-{index}"));
            // A hot key of its own for each case, and an order that is not that of insertion.
            let keys = (0..case.keys).map(|number| {
                server::key(if case.keys == 1 {
                    KEYS
                } else {
                    number * 7_919 % KEYS
                })
            });
            let requests = keys.map(|key| (contender.request)(&key, case.admit));
            wrk::write_requests_of(contender.credential.as_deref(), &path, requests)?;
            let mut warm_up = WARM_UP;
            while wrk::run(contender.server, &path, warm_up, None)?.requests < case.keys as u64 {
                warm_up *= 2;
            }
            files.push(path);
            contender.results.push(Default::default());
        }
        for _ in 0..ROUNDS {
            for (contender, file) in contenders.iter_mut().zip(&files) {
                let expected = contender.status_tells.then_some(case.admit);
                let load = wrk::run(contender.server, file, ROUND, expected)?;
                eprintln!(
                    "{}, {}: {:.0}/s, {:.2} µs",
                    contender.name, case.name, load.per_second, load.cpu_us
                );
                let (per_second, cpu_us) = contender.results.last_mut().expect("pushed above");
                per_second.push(load.per_second / 1e3);
                cpu_us.push(load.cpu_us);
            }
        }
    }
    Ok(())
}

/// What the rounds came to, as two tables.
pub(super) fn report(contenders: &[Contender<'_>]) -> String {
    let titles: String = CASES
        .iter()
        .map(|case| format!(" | {}", case.name))
        .collect();
    let table = |cell: &dyn Fn(&(Rounds, Rounds)) -> String| {
        let mut table = format!("| {titles} |\n|---{}|\n", "|---".repeat(CASES.len()));
        for contender in contenders {
            let cells: String = contender
                .results
                .iter()
                .map(|result| format!(" | {}", cell(result)))
                .collect();
            table += &format!("| {}{cells} |\n", contender.name);
        }
        table
    };
    let per_second = table(&|(per_second, _)| per_second.show(0));
    let cpu = table(&|(_, cpu_us)| cpu_us.show(2));
    format!(
        "`wrk -t1 -c64`, 14-byte keys, {ROUNDS} rounds of {} s, servers in turn within each round; median (least to most).\n\n\
         Server CPU, µs per request:\n\n{cpu}\nThousand requests a second:\n\n{per_second}",
        ROUND.as_secs()
    )
}
