//! `weir compare`: the four ways to count, side by side. Needs `redis-server`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use e2e::{eventually, weir};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A comparison that keeps its files below `home`, where its processes are found by them.
fn compare(home: &Path, args: &[&str]) -> Command {
    let mut command = weir(home);
    command.arg("compare").args(args).env("TMPDIR", home);
    command
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("an object")
}

/// Processes of this program, or that it started, with a temporary directory of the comparison.
fn processes(home: &Path) -> Vec<String> {
    let below = format!("{}/weir-compare-", home.display());
    let told = |path: &Path| {
        let text = fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&text).replace('\0', " ")
    };
    let entries = fs::read_dir("/proc").expect("there are processes");
    let processes = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        // Redis writes its title over its environment, and works in the directory.
        let cwd = fs::read_link(path.join("cwd")).unwrap_or_default();
        let is_ours = told(&path.join("environ")).contains(&below)
            || cwd.to_string_lossy().starts_with(&below);
        is_ours.then(|| told(&path.join("cmdline")))
    });
    processes.collect()
}

fn temporary(home: &Path) -> usize {
    let entries = fs::read_dir(home).expect("the home is there").flatten();
    let names = entries.map(|entry| entry.file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with("weir-compare-"))
        .count()
}

#[test]
fn four_strategies_are_compared_and_nothing_is_left_behind() {
    let home = TempDir::new().expect("a temporary folder");
    let picture = home.path().join("compare.svg");
    let picture = picture.to_str().expect("a plain path");
    let args = ["--seconds", "2", "--clients", "6", "--keys", "50"];
    let args = [&args[..], &["--json", "--svg", picture]].concat();
    let output = compare(home.path(), &args).output().expect("starting weir");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let json = json(&output);
    let rows = json["strategies"].as_array().expect("a list");
    let names: Vec<&Value> = rows.iter().map(|row| &row["strategy"]).collect();
    assert_eq!(names, ["owner", "local", "redis", "raft"]);
    for row in rows {
        let number = |name: &str| {
            let number = row[name].as_u64();
            number.unwrap_or_else(|| panic!("{name} in {row}"))
        };
        assert_eq!(row["compared"], true);
        let [sent, ideal, admitted] = ["sent", "ideal", "admitted"].map(number);
        assert!(0 < admitted && ideal <= sent && admitted <= sent, "{row}");
        let balance = admitted + number("under_admitted");
        assert_eq!(balance, ideal + number("over_admitted"), "{row}");
        assert_eq!(number("failed_before_fault"), 0, "{row}");
        assert!(row["quiet"]["p50_ms"].as_f64() <= row["quiet"]["p99_ms"].as_f64());
        assert!(row["quiet"]["decisions_per_second"].as_f64() > Some(0.0));
    }
    let [redis, raft] = [&rows[2], &rows[3]];
    assert_eq!(redis["killed"], "redis-server");
    assert!(
        Some(0) < redis["failed"].as_u64(),
        "it fails closed: {redis}"
    );
    assert!(
        raft["killed"]
            .as_str()
            .expect("a name")
            .starts_with("leader ")
    );
    assert_eq!(
        (&raft["over_admitted"], &raft["forgotten"]),
        (&0.into(), &0.into())
    );
    let svg = fs::read_to_string(picture).expect("the picture");
    assert!(svg.starts_with("<svg") && svg.matches("class=\"fault\"").count() == 8);
    assert_eq!(
        (processes(home.path()), temporary(home.path())),
        (vec![], 0)
    );
}

#[test]
fn what_cannot_be_compared_is_named_and_told_by_the_exit_code() {
    let home = TempDir::new().expect("a temporary folder");
    let args = [
        "--strategies",
        "redis,local",
        "--seconds",
        "1",
        "--keys",
        "5",
    ];
    let without_redis = compare(home.path(), &args)
        .env("PATH", home.path())
        .output();
    let output = without_redis.expect("starting weir");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let told = "redis was not compared: redis-server is not installed";
    assert!(text.contains(told), "{text}");
    assert!(text.contains("kill -9 of"), "the other is: {text}");
}

/// Starts a comparison, ends it by `signal` in its midst, and waits until all that it started is gone.
#[track_caller]
fn check_end(signal: Signal) -> TempDir {
    let home = TempDir::new().expect("a temporary folder");
    let args = ["--strategies", "redis", "--seconds", "60", "--rate", "30"];
    let mut command = compare(home.path(), &args);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("starting weir");
    eventually("all processes run", || {
        let processes = processes(home.path());
        let nodes = processes.iter().filter(|it| it.contains(" node ")).count();
        let has_all = nodes == 3 && processes.iter().any(|it| it.contains("redis-server"));
        has_all.then_some(()).ok_or(format!("{processes:?}"))
    });
    kill_process(Pid::from_child(&child), signal).expect("signalling a child");
    let status = child.wait().expect("waiting for a child");
    assert!(!status.success());
    eventually("all processes have ended", || {
        let left = processes(home.path());
        left.is_empty().then_some(()).ok_or(format!("{left:?}"))
    });
    home
}

#[test]
fn ctrl_c_ends_everything_and_removes_its_files() {
    let home = check_end(Signal::INT);
    assert_eq!(temporary(home.path()), 0);
}

/// The kernel sees to it.
#[test]
#[cfg(target_os = "linux")]
fn a_killed_comparison_takes_its_processes_along() {
    check_end(Signal::KILL);
}
