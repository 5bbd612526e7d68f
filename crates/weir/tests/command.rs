//! The command as a program. That there is a test of it has it built with all others, for the end-to-end tests.

use std::process::Command;

#[test]
fn it_says_its_version() {
    let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
    let output = weir.arg("--version").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let version = format!("weir {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), version);
}
