//! What the fuzzer has found worth keeping, read again: see `fuzz/README.md`.

#[path = "../../../fuzz/laws/http-clues.rs"]
mod law;

#[test]
fn whoever_a_request_is_from_is_told_apart() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/http-clues");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert!(8 <= files.len(), "{} files", files.len());
    for file in files {
        law::check(&std::fs::read(file.unwrap().path()).unwrap());
    }
}
