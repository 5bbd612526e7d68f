//! What the fuzzer has found worth keeping, read again: see `fuzz/README.md`.

#[path = "../../../fuzz/laws/handed.rs"]
mod handed;
#[path = "../../../fuzz/laws/http-chunks.rs"]
mod http_chunks;
#[path = "../../../fuzz/laws/http-head.rs"]
mod http_head;

fn each_of(target: &str, count_min: usize, check: impl Fn(&[u8])) {
    let folder = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert!(count_min <= files.len(), "{} files", files.len());
    for file in files {
        check(&std::fs::read(file.unwrap().path()).unwrap());
    }
}

#[test]
fn a_head_that_is_well_is_what_hyper_reads() {
    each_of("http-head", 25, http_head::check);
}

#[test]
fn a_chunked_body_has_one_end() {
    each_of("http-chunks", 14, http_chunks::check);
}
