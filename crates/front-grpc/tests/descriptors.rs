//! The descriptors that reflection has are those of the files that come with envoy-types.

use std::path::{Path, PathBuf};
use std::process::Command;

use prost::Message as _;

const KEPT: &str = "src/reflection/rls.binpb";

/// Where cargo has put the source of envoy-types.
fn protos() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = Command::new(cargo)
        .args(["metadata", "--locked", "--format-version=1"])
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages
        .iter()
        .find(|package| package["name"] == "envoy-types");
    let manifest = package.unwrap()["manifest_path"].as_str().unwrap();
    Path::new(manifest).with_file_name("proto")
}

/// After an update of envoy-types: delete the file, and run this to have it written anew.
#[test]
fn reflection_tells_what_is_spoken() {
    let protos = protos();
    let folders = ["data-plane-api", "xds", "protoc-gen-validate", "googleapis"];
    let folders = folders.map(|folder| protos.join(folder));
    let mut compiler = protox::Compiler::new(folders).unwrap();
    compiler.include_imports(true).include_source_info(false);
    compiler
        .open_file("envoy/service/ratelimit/v3/rls.proto")
        .unwrap();
    let compiled = compiler.file_descriptor_set().encode_to_vec();
    if !Path::new(KEPT).exists() {
        std::fs::write(KEPT, &compiled).unwrap();
        panic!("{KEPT} was not there, and is now");
    }
    assert!(
        std::fs::read(KEPT).unwrap() == compiled,
        "{KEPT} is of other files"
    );
}
