//! What the fuzzer has found worth keeping, read again: see `fuzz/README.md`.

#[path = "../../../fuzz/laws/grpc-request.rs"]
mod grpc_request;
#[path = "../../../fuzz/laws/ratelimit-config.rs"]
mod ratelimit_config;

fn each_of(target: &str, count_min: usize, check: impl Fn(&[u8])) {
    let folder = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert!(count_min <= files.len(), "{} files", files.len());
    for file in files {
        check(&std::fs::read(file.unwrap().path()).unwrap());
    }
}

#[test]
fn a_request_is_asked_or_refused() {
    each_of("grpc-request", 7, grpc_request::check);
}

#[test]
fn a_file_is_read_or_refused_the_same_each_time() {
    each_of("ratelimit-config", 6, ratelimit_config::check);
}
