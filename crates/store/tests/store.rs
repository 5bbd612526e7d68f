//! What a data directory keeps, and which it refuses.

use std::fs;
use std::path::Path;

use store::{Change, Kept, OpenError, Store};
use tempfile::TempDir;

const OURS: [u8; 16] = [7; 16];

fn set(place: u8, bytes: &[u8]) -> Change {
    Change {
        place: vec![place; 17],
        bytes: Some(bytes.to_vec()),
    }
}

fn removed(place: u8) -> Change {
    Change {
        place: vec![place; 17],
        bytes: None,
    }
}

fn folder() -> TempDir {
    TempDir::new().unwrap()
}

fn open(path: &Path) -> (Store, Kept) {
    let (store, _log, kept) = Store::open(path, OURS).unwrap();
    (store, kept)
}

/// A directory with one record, closed.
fn kept() -> TempDir {
    let folder = folder();
    let (mut store, _) = open(folder.path());
    store.write(&[set(1, &[b'x'; 100])], 5).unwrap();
    folder
}

/// Every file, and what is in it.
fn contents(path: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let mut contents: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    contents.sort_unstable();
    contents
}

/// Opening is refused, and every file is as it was.
fn refused(path: &Path) -> OpenError {
    let before = contents(path);
    let error = Store::open(path, OURS).expect_err("not to be opened");
    assert!(contents(path) == before, "something was written");
    error
}

#[test]
fn what_was_written_is_there_again() {
    let folder = folder();
    let path = folder.path().join("made/on/the/way");
    let (mut store, kept) = open(&path);
    assert_eq!(kept, Kept::default());
    store.write(&[set(1, b"one"), set(2, b"two")], 5).unwrap();
    store.write(&[removed(1), set(3, b"three")], 6).unwrap();
    drop(store);
    let (mut store, kept) = open(&path);
    assert_eq!(kept.records, [&b"two"[..], b"three"]);
    assert_eq!(kept.written_at, Some(6));
    store.clear(7).unwrap();
    drop(store);
    let (_store, kept) = open(&path);
    let records = vec![];
    assert_eq!(
        kept,
        Kept {
            records,
            written_at: Some(7),
            ..Kept::default()
        }
    );
}

/// As after `kill -9`: the files as they were at a moment in which the directory was in use.
#[test]
fn what_was_written_is_there_after_a_process_that_was_killed() {
    let (folder, copy) = (folder(), self::folder());
    let (mut store, _) = open(folder.path());
    store.write(&[set(1, b"one")], 5).unwrap();
    for (name, bytes) in contents(folder.path()) {
        fs::write(copy.path().join(name), bytes).unwrap();
    }
    drop(store);
    assert_eq!(open(copy.path()).1.records, [b"one"]);
}

#[test]
fn one_that_is_in_use_is_refused_until_it_is_closed() {
    let folder = folder();
    let first = open(folder.path());
    let second = Store::open(folder.path(), OURS);
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
    drop(first);
    open(folder.path());
}

#[test]
fn one_of_another_cluster_is_refused() {
    let folder = folder();
    drop(Store::open(folder.path(), [8; 16]).unwrap());
    let error = refused(folder.path());
    assert!(matches!(error, OpenError::OtherCluster { .. }), "{error:?}");
}

#[test]
fn a_newer_one_is_refused() {
    let folder = kept();
    let sign = folder.path().join("format");
    let text = fs::read_to_string(&sign).unwrap();
    assert!(text.contains("\nformat 1\n"), "{text}");
    // With whatever a later version writes there.
    fs::write(&sign, "weir data directory\nformat 2\nand more\n").unwrap();
    let error = refused(folder.path());
    assert!(
        matches!(error, OpenError::Newer { given: 2, .. }),
        "{error:?}"
    );
}

#[test]
fn files_of_somebody_else_are_refused() {
    for name in ["notes.txt", "catalogue.redb"] {
        let folder = folder();
        fs::write(folder.path().join(name), "not ours").unwrap();
        let error = refused(folder.path());
        assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    }
    // A file system of its own.
    let folder = folder();
    fs::create_dir(folder.path().join("lost+found")).unwrap();
    open(folder.path());
}

#[test]
fn damaged_ones_are_refused() {
    type Damage = fn(&mut Vec<u8>);
    let damage: [(&str, Damage); 6] = [
        ("format", Vec::clear),
        ("format", |bytes| bytes[0] = b'W'),
        ("format", |bytes| bytes.truncate(40)),
        ("catalogue.redb", Vec::clear),
        ("catalogue.redb", |bytes| bytes.fill(b'z')),
        // A bit of the record.
        ("catalogue.redb", |bytes| {
            let record = bytes.windows(100).position(|it| it == [b'x'; 100]);
            bytes[record.unwrap() + 50] ^= 1;
        }),
    ];
    for (number, (name, damage)) in damage.into_iter().enumerate() {
        let folder = kept();
        let path = folder.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let error = refused(folder.path());
        assert!(
            matches!(error, OpenError::Corrupt { .. }),
            "{number}: {error:?}"
        );
    }
}

/// A start that was cut short leaves nothing that the next one stumbles over.
#[test]
fn a_directory_that_was_cut_short_while_it_was_made_is_made_again() {
    let folder = kept();
    let left = |name: &str| folder.path().join(name);
    fs::remove_file(left("catalogue.redb")).unwrap();
    fs::write(left("catalogue.redb.new"), "half").unwrap();
    assert_eq!(open(folder.path()).1, Kept::default());
    fs::remove_file(left("format")).unwrap();
    fs::remove_file(left("catalogue.redb")).unwrap();
    fs::remove_file(left("counts.log")).unwrap();
    fs::write(left("format.new"), "half").unwrap();
    open(folder.path());
}
