//! What clients notice in a rough network, and what the books say afterwards: refusals, loss, a link that flaps, a slow
//! link, a minority.
//!
//! The nodes have hosts of their own (network namespaces, with root), and clients reach each of them whatever happens
//! between them.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use e2e::{Cluster, Hit, Load, Network, Outcome, Target, View, account, address, view};

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];
/// The one whose link is rough.
const HOST: usize = 1;
/// Hits per second, over all nodes and targets.
const RATE: u32 = 300;
/// Keys whose counts are compared with what clients were told.
const COUNTED: usize = 40;
/// Keys with a limit that is spent on the way.
const SPENT: usize = 20;
const SPENT_LIMIT: u64 = 100;
/// Before the trouble begins, and after it has ended.
const CALM: Duration = Duration::from_secs(3);
/// Most time that the nodes may take to be well again. Beyond it the run fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A kind of trouble.
struct Trouble {
    name: &'static str,
    partition: &'static str,
    play: fn(&Network),
}

const TROUBLES: [Trouble; 7] = [
    Trouble {
        name: "connections refused for 4 s (`REJECT`, both ways)",
        partition: "available",
        play: refuse,
    },
    Trouble {
        name: "30 % of packets lost for 30 s, every link",
        partition: "available",
        play: lose,
    },
    Trouble {
        name: "the same",
        partition: "quorum",
        play: lose,
    },
    Trouble {
        name: "a node's link 2 s off and 2 s on, for 30 s",
        partition: "available",
        play: flap,
    },
    Trouble {
        name: "the same",
        partition: "quorum",
        play: flap,
    },
    Trouble {
        name: "one node of three cut off for 10 s",
        partition: "available",
        play: cut_off,
    },
    Trouble {
        name: "the same: a minority",
        partition: "quorum",
        play: cut_off,
    },
];

fn refuse(network: &Network) {
    network.refuse(HOST);
    thread::sleep(Duration::from_secs(4));
    network.accept(HOST);
}

fn lose(network: &Network) {
    network.lose(0.3);
    thread::sleep(Duration::from_secs(30));
    network.lose_nothing(0.3);
}

fn flap(network: &Network) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        network.cut_off(HOST);
        thread::sleep(Duration::from_secs(2));
        network.heal(HOST);
        thread::sleep(Duration::from_secs(2));
    }
}

fn cut_off(network: &Network) {
    network.cut_off(HOST);
    thread::sleep(Duration::from_secs(10));
    network.heal(HOST);
}

/// What one run came to.
struct Run {
    hits: Vec<Hit>,
    forgotten: u64,
    beyond: u64,
    over_limit: u64,
    well_after: Duration,
}

pub(crate) fn measure() -> Result<String> {
    let mut table = format!(
        "Three nodes, {RATE} hits a second by turns through all of them, on {COUNTED} keys without a bound and {SPENT} keys of {SPENT_LIMIT}. \
         Each count is of one run. *Forgotten*: told as admitted and not counted at the end; *counted beyond*: counted, and neither told \
         as admitted nor unknown; *over the limit*: admitted beyond the bound of the {SPENT} keys; *well*: from the end of the trouble until all three \
         nodes report one view with everybody alive and no copy missing.\n\n\
         | trouble | `partition` | sent | admitted | denied | failed, not counted | unknown | slowest answer, ms | forgotten | counted beyond | over the limit | well after, s |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for trouble in &TROUBLES {
        let run = in_its_own_thread(|| run(trouble))?;
        table += &run.row(trouble);
    }
    table += &format!("\n{}", in_its_own_thread(join_over_a_slow_link)?);
    Ok(table)
}

/// A thread that has entered a network stays in it.
fn in_its_own_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        scope
            .spawn(work)
            .join()
            .unwrap_or_else(|_| Err(anyhow!("the run failed, see above")))
    })
}

fn config(partition: &str) -> String {
    let limit = |name: &str, limit: u64| {
        format!(
            "[[limit]]\nname = \"{name}\"\nalgorithm = \"fixed_window\"\nanchor = \"first_hit\"\nlimit = {limit}\nper = \"365d\"\n"
        )
    };
    format!(
        "[cluster]\npartition = \"{partition}\"\n{}{}",
        limit("counted", 1_000_000),
        limit("spent", SPENT_LIMIT)
    )
}

fn targets() -> Vec<Target> {
    let counted = (0..COUNTED).map(|key| Target::new("counted", &format!("key-{key}")));
    let spent = (0..SPENT).map(|key| Target::new("spent", &format!("key-{key}")));
    counted.chain(spent).collect()
}

fn run(trouble: &Trouble) -> Result<Run> {
    let network = Network::new(NAMES.len());
    let cluster = Cluster::with_config(&config(trouble.partition)).started_on(&network, &NAMES);
    let load = Load::start(&cluster.nodes, &targets(), RATE);
    thread::sleep(CALM);
    (trouble.play)(&network);
    let well_after = until_well(&cluster)?;
    thread::sleep(CALM);
    let hits = load.stop();
    for node in &cluster.nodes {
        node.replicated();
    }
    let mut run = Run {
        forgotten: 0,
        beyond: 0,
        over_limit: 0,
        well_after,
        hits,
    };
    for (target, books) in account(&cluster.nodes[0], &run.hits) {
        if target.limit == "counted" {
            run.forgotten += books.forgotten();
            run.beyond += books.invented();
        } else {
            run.over_limit += books.admitted.saturating_sub(SPENT_LIMIT);
        }
    }
    Ok(run)
}

fn until_well(cluster: &Cluster) -> Result<Duration> {
    let healed = Instant::now();
    let look = || {
        let views: Vec<View> = cluster.nodes.iter().map(view).collect();
        let is_well = |view: &View| {
            view.digest == views[0].digest
                && view.under_replicated == 0
                && view.members.values().all(|member| member.status == "alive")
        };
        match views.iter().all(is_well) {
            true => Ok(healed.elapsed()),
            false => Err(format!("{views:#?}")),
        }
    };
    Ok(rehearsal::until(PATIENCE, "the nodes are well", look)?)
}

impl Run {
    fn row(&self, trouble: &Trouble) -> String {
        let of = |is: fn(&Outcome) -> bool| self.hits.iter().filter(|hit| is(&hit.outcome)).count();
        let slowest = self.hits.iter().map(|hit| hit.answered - hit.sent).max();
        format!(
            "| {} | `{}` | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} |\n",
            trouble.name,
            trouble.partition,
            self.hits.len(),
            of(|outcome| *outcome == Outcome::Admitted),
            of(|outcome| *outcome == Outcome::Denied),
            of(is_failed),
            of(is_unknown),
            slowest.unwrap_or_default().as_millis(),
            self.forgotten,
            self.beyond,
            self.over_limit,
            self.well_after.as_secs_f64(),
        )
    }
}

/// Refused, and certainly not counted.
fn is_failed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(_, body) if !body.contains("unknown whether"))
}

fn is_unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(_, body) if body.contains("unknown whether"))
        || matches!(outcome, Outcome::Unanswered(_))
}

/// Keys that two nodes hold before a third joins over a slow link: some 32 MB of copies.
const JOINED_KEYS: usize = 200_000;
const MEGABITS: u32 = 50;

fn join_over_a_slow_link() -> Result<String> {
    let network = Network::new(NAMES.len());
    network.slow_down(2, MEGABITS);
    let mut cluster = Cluster::with_config(&config("available"));
    for (host, name) in NAMES.iter().enumerate().take(2) {
        let place = (network.namespace(host), address(host));
        cluster.start_on(name, &[], Some(place));
    }
    cluster.settle();
    fill(&cluster)?;
    let load = Load::start(&cluster.nodes, &targets(), RATE);
    let start = Instant::now();
    let place = (network.namespace(2), address(2));
    cluster.start_on(NAMES[2], &[], Some(place));
    let ready = start.elapsed();
    until_well(&cluster)?;
    let well = start.elapsed();
    let hits = load.stop();
    let failed = hits
        .iter()
        .filter(|hit| !matches!(hit.outcome, Outcome::Admitted | Outcome::Denied))
        .count();
    let slowest = hits.iter().map(|hit| hit.answered - hit.sent).max();
    Ok(format!(
        "A third node joins two that hold {JOINED_KEYS} keys, over a link of {MEGABITS} Mbit/s, while both serve {RATE} hits a second: ready after \
         {:.1} s, all copies there after {:.1} s; of {} hits {failed} failed, the slowest took {} ms.\n",
        ready.as_secs_f64(),
        well.as_secs_f64(),
        hits.len(),
        slowest.unwrap_or_default().as_millis(),
    ))
}

/// Hits every key once, a thousand at a time.
fn fill(cluster: &Cluster) -> Result<()> {
    let mut client = cluster.nodes[0].client();
    for batch in 0..JOINED_KEYS / 1_000 {
        let checks: Vec<_> = (0..1_000)
            .map(|key| serde_json::json!({ "limit": "counted", "key": format!("held-{batch}-{key}") }))
            .collect();
        let body = serde_json::json!({ "checks": checks }).to_string();
        let answer = client.request("POST", "/v1/check/batch", &[], Some(&body))?;
        anyhow::ensure!(answer.status == 200, "{answer:?}");
    }
    Ok(())
}
