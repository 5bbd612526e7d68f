//! The reference of the file is complete.

use std::collections::BTreeSet;

use super::file;

/// A file with a key that no section takes, so that each says which it takes.
const UNKNOWN_EVERYWHERE: &str = r#"
    nothing = 1
    [node]
    nothing = 1
    [cluster]
    nothing = 1
    [[limit]]
    nothing = 1
    [[route]]
    nothing = 1
    identify = [{ nothing = 1 }]
    [[rule]]
    nothing = 1
    match = [{ nothing = 1 }]
    [grpc]
    nothing = 1
    [redis]
    nothing = 1
    [raft]
    nothing = 1
    [service]
    nothing = 1
    [[plan]]
    nothing = 1
    [billing]
    nothing = 1
    [telemetry]
    nothing = 1
"#;

#[test]
fn every_key_of_the_file_is_in_the_reference_and_no_other() {
    let reference = include_str!("../../../../../docs/configuration.md");
    let problems = file(UNKNOWN_EVERYWHERE).unwrap_err();
    let mut sections = 0;
    let mut read = BTreeSet::new();
    for problem in &problems {
        // weir.toml:4: node.nothing: unknown key; accepted: name, cookie_file, …
        if let Some((_, accepted)) = problem.split_once("unknown key; accepted: ") {
            sections += 1;
            read.extend(accepted.split(", ").map(str::to_owned));
        }
    }
    assert_eq!(sections, 15, "{problems:#?}");
    let rows = reference
        .lines()
        .filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.map(|row| row.split(" | ").next().unwrap_or_default());
    let mut documented: BTreeSet<String> = rows
        .flat_map(|keys| keys.split(", "))
        .map(|key| key.trim_matches('`').to_owned())
        .collect();
    let headings = reference.lines().filter(|line| line.starts_with("## "));
    let headings = headings.flat_map(|line| line.split('`').skip(1).step_by(2));
    documented.extend(headings.map(|name| name.trim_matches(['[', ']']).to_owned()));
    assert_eq!(documented, read);
}
