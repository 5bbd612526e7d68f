//! What only tests and the simulator may have is in no build that serves.

use std::process::Command;

/// Bugs to switch on were looked for on the path of every hit.
#[test]
fn weir_is_built_without_faults() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--package", "weir"])
        .args(["--edges", "features,normal,build", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let features = String::from_utf8(tree.stdout).unwrap();
    assert!(features.contains("delta-crdt"), "{features}");
    let faults = features.lines().find(|line| line.contains("\"faults\""));
    assert_eq!(faults, None);
}
