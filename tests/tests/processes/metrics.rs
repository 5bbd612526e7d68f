//! What `/metrics` says, as Prometheus reads it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use e2e::Cluster;

/// Each family has a help and a name as Prometheus wants it; the process and the build are told.
#[test]
fn promtool_finds_nothing_to_say() {
    let cluster = Cluster::new().started(&["oskar", "oskar2"]);
    for node in &cluster.nodes {
        assert_eq!(node.check("user_home", "ada", 0).status, 200);
    }
    let metrics = cluster.nodes[0].get("/metrics", &[]).body;
    for told in [
        "weir_build_info{",
        "tzdb=\"",
        "process_resident_memory_bytes ",
    ] {
        assert!(metrics.contains(told), "{told} in {metrics}");
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, which `cargo xtask test end-to-end` installs");
    let mut input = promtool.stdin.take().expect("it is piped");
    input.write_all(metrics.as_bytes()).expect("it reads");
    drop(input);
    let output = promtool.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
