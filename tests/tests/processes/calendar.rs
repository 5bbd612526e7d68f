//! Windows of a calendar, as a real process counts in them. Clocks are set by libfaketime.

use std::process::Output;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::{Cluster, Response, weir};

const DAY: u64 = 24 * 60 * 60;

const CONFIG: &str = r#"
[[limit]]
name = "owner"
algorithm = "fixed_window"
limit = 2
anchor = "day"
zone = "Europe/Vienna"

[[limit]]
name = "local"
algorithm = "fixed_window"
limit = 2
anchor = "day"
zone = "Europe/Vienna"
strategy = "local"

[[limit]]
name = "raft"
algorithm = "fixed_window"
limit = 2
anchor = "day"
zone = "Europe/Vienna"
strategy = "raft"

[[limit]]
name = "utc"
algorithm = "fixed_window"
limit = 2
anchor = "day"
"#;

/// 29 March 2027, 0:00 in Vienna: the end of a day of 23 hours.
const MIDNIGHT: u64 = 1_806_271_200;

/// From the start of a node to that midnight: longer than it takes to start, and to spend its limits.
const AHEAD: u64 = 20;

fn now() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is right")
}

fn waits(answer: &Response) -> (u64, Option<u64>) {
    let json = answer.json();
    let reset = json["reset_after_ms"].as_u64();
    let retry = json["retry_after_ms"].as_u64();
    (reset.unwrap_or_else(|| panic!("{answer:?}")), retry)
}

fn window(answer: &Response) -> &str {
    let policy = answer.header("ratelimit-policy").expect("a policy");
    policy.rsplit(";w=").next().expect("something")
}

#[test]
fn a_day_ends_at_midnight_though_it_has_23_hours() {
    let mut cluster = Cluster::with_config(CONFIG);
    let start = now();
    let offset = (MIDNIGHT - AHEAD) as i64 - start.as_secs() as i64;
    cluster.start_off_by("oskar", &format!("{offset:+}"));
    // As the node has it, and at most a second more: its clock was set in whole seconds.
    let until_midnight = || (start + Duration::from_secs(AHEAD + 1)).saturating_sub(now());

    let node = &cluster.nodes[0];
    for limit in ["owner", "local", "raft"] {
        let admitted = node.check(limit, "ada", 2);
        assert_eq!(admitted.status, 200, "{limit}: {admitted:?}");
        assert_eq!(window(&admitted), (DAY - 60 * 60).to_string(), "{limit}");
        let denied = node.check(limit, "ada", 1);
        let left = until_midnight().as_millis() as u64;
        assert_eq!(denied.status, 429, "{limit}: {denied:?}");
        let (reset, retry) = waits(&denied);
        assert_eq!(retry, Some(reset), "{limit}");
        assert!(
            left.saturating_sub(2_500) <= reset && reset <= left + 1_000,
            "{limit}: {reset} of {left}"
        );
    }
    thread::sleep(until_midnight() + Duration::from_millis(100));
    for limit in ["owner", "local", "raft"] {
        let tomorrow = node.check(limit, "ada", 2);
        assert_eq!(tomorrow.status, 200, "{limit}: {tomorrow:?}");
        assert_eq!(window(&tomorrow), DAY.to_string(), "{limit}");
        let (reset, _) = waits(&tomorrow);
        assert!(
            ((DAY - 10) * 1_000..=DAY * 1_000).contains(&reset),
            "{limit}: {reset}"
        );
    }
}

fn run(cluster: &Cluster, args: &[&str]) -> (Output, String) {
    let url = format!("http://{}", cluster.nodes[0].http);
    let mut command = weir(cluster.home());
    let output = command.args(args).args(["--url", &url]).output();
    let output = output.expect("the command runs");
    let mut told = String::from_utf8_lossy(&output.stdout).into_owned();
    told.push_str(&String::from_utf8_lossy(&output.stderr));
    (output, told)
}

#[test]
fn calendars_are_set_told_and_refused_by_the_command() {
    let mut cluster = Cluster::with_config(CONFIG);
    cluster.start("oskar");
    let before = DAY - now().as_secs() % DAY;
    let utc = cluster.nodes[0].check("utc", "ada", 1);
    let after = DAY - now().as_secs() % DAY;
    let (reset, _) = waits(&utc);
    let expected = after.saturating_sub(1) * 1_000..=before * 1_000;
    assert!(
        expected.contains(&reset) || before < after,
        "{reset} of {expected:?}"
    );

    let set = [
        "limits",
        "set",
        "quota",
        "--algorithm",
        "fixed_window",
        "--limit",
        "3",
    ];
    let month = ["--anchor", "month", "--zone", "Europe/Vienna"];
    let (made, told) = run(&cluster, &[&set[..], &month].concat());
    assert!(made.status.success(), "{told}");
    assert!(told.contains("month of Europe/Vienna"), "{told}");
    let (_, told) = run(&cluster, &["limits", "get", "quota", "--json"]);
    assert!(
        told.contains(r#""zone":"Europe/Vienna""#) && !told.contains("\"per\""),
        "{told}"
    );
    assert_eq!(cluster.nodes[0].check("quota", "ada", 3).status, 200);
    let denied = cluster.nodes[0].check("quota", "ada", 1);
    assert_eq!(denied.status, 429);
    let (reset, _) = waits(&denied);
    assert!(reset <= 31 * DAY * 1_000 + 60 * 60 * 1_000, "{reset}");
    let (_, told) = run(&cluster, &["explain", "quota", "ada"]);
    assert!(told.contains("3 per month of Europe/Vienna"), "{told}");

    let (refused, told) = run(
        &cluster,
        &[&set[..], &["--anchor", "month", "--zone", "Europe/Wien"]].concat(),
    );
    assert!(!refused.status.success() && told.contains("zone"), "{told}");
    assert!(told.contains("Europe/"), "{told}");
    let (refused, told) = run(&cluster, &[&set[..], &month, &["--per", "1d"]].concat());
    assert!(!refused.status.success() && told.contains("per"), "{told}");
}
