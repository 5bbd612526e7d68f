//! What a log keeps of counts, whatever happens to its process.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use store::{Entry, Kept, Log, OpenError, Places, Store};
use tempfile::TempDir;

const OURS: [u8; 16] = [7; 16];

fn open(path: &Path) -> (Store, Log, Places) {
    let (store, log, Kept { counts, .. }) = Store::open(path, OURS).unwrap();
    (store, log, counts)
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("counts.log")
}

fn places(expected: &[(&[u8], &[u8])]) -> Places {
    let expected = expected.iter();
    expected
        .map(|&(place, bytes)| (place.into(), bytes.into()))
        .collect()
}

/// Two batches, closed.
fn two() -> TempDir {
    let folder = TempDir::new().unwrap();
    let (_store, mut log, found) = open(folder.path());
    assert_eq!(found, Places::new());
    let first = [Entry::Set(b"a1", b"one"), Entry::Set(b"b1", b"two")];
    log.append(first).unwrap();
    let second = [
        Entry::Set(b"a2", b"three"),
        Entry::Set(b"b1", b"four"),
        Entry::Removed(b"a1"),
    ];
    log.append(second).unwrap();
    folder
}

const AFTER_ONE: [(&[u8], &[u8]); 2] = [(b"a1", b"one"), (b"b1", b"two")];
const AFTER_TWO: [(&[u8], &[u8]); 2] = [(b"a2", b"three"), (b"b1", b"four")];

#[test]
fn the_last_word_about_a_place_counts() {
    let folder = two();
    let (_store, mut log, found) = open(folder.path());
    assert_eq!(found, places(&AFTER_TWO));
    log.append([Entry::RemovedAll(b"a"), Entry::Set(b"a3", b"")])
        .unwrap();
    drop((_store, log));
    let expected: [(&[u8], &[u8]); 2] = [(b"a3", b""), (b"b1", b"four")];
    assert_eq!(open(folder.path()).2, places(&expected));
}

/// A process that was killed in the middle of a write leaves a part of the last batch, as long as it may be.
#[test]
fn a_batch_that_was_cut_short_is_as_if_it_had_never_been_begun() {
    let whole = fs::read(file(&two())).unwrap();
    let folder = TempDir::new().unwrap();
    let first = {
        let (_store, mut log, _) = open(folder.path());
        log.append([Entry::Set(b"a1", b"one"), Entry::Set(b"b1", b"two")])
            .unwrap();
        fs::read(file(&folder)).unwrap().len()
    };
    for cut in first..whole.len() {
        fs::write(file(&folder), &whole[..cut]).unwrap();
        let (store, mut log, found) = open(folder.path());
        assert_eq!(found, places(&AFTER_ONE), "cut at {cut}");
        log.append([Entry::Set(b"c", b"new")]).unwrap();
        drop((store, log));
        assert_eq!(open(folder.path()).2.len(), 3, "cut at {cut}");
    }
    // A host that lost its power: the file is as long as it was to become, and its end never came to the disk.
    for lost in first..whole.len() {
        let mut bytes = whole.clone();
        bytes[lost..].fill(0);
        fs::write(file(&folder), bytes).unwrap();
        assert_eq!(
            open(folder.path()).2,
            places(&AFTER_ONE),
            "lost from {lost}"
        );
    }
}

#[test]
fn damage_before_the_end_is_refused_and_left_as_it_is() {
    let whole = fs::read(file(&two())).unwrap();
    // The title, the format, the length, the sum and the entries of the first batch.
    for place in [0, 15, 23, 25, 40] {
        let folder = two();
        let mut bytes = whole.clone();
        bytes[place] ^= 0x40;
        fs::write(file(&folder), &bytes).unwrap();
        let error = Store::open(folder.path(), OURS).expect_err("damage");
        let is_told = match place {
            15.. | 0 => matches!(error, OpenError::Corrupt { .. }),
            _ => false,
        };
        assert!(is_told, "{place}: {error:?}");
        assert_eq!(fs::read(file(&folder)).unwrap(), bytes);
    }
    let folder = two();
    fs::write(file(&folder), &whole[..10]).unwrap();
    let error = Store::open(folder.path(), OURS).expect_err("a title that is cut short");
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
}

#[test]
fn one_of_a_later_version_is_refused() {
    let folder = two();
    let mut bytes = fs::read(file(&folder)).unwrap();
    bytes[16] = 2;
    fs::write(file(&folder), &bytes).unwrap();
    let error = Store::open(folder.path(), OURS).expect_err("a later version");
    assert!(
        matches!(error, OpenError::NewerLog { given: 2, .. }),
        "{error:?}"
    );
    assert_eq!(fs::read(file(&folder)).unwrap(), bytes);
}

#[test]
fn a_file_in_the_place_of_another_says_what_was_added_meanwhile() {
    let folder = two();
    let (store, mut log, _) = open(folder.path());
    for number in 0..1_000_u32 {
        log.append([Entry::Set(b"b1", &number.to_le_bytes())])
            .unwrap();
    }
    let before = log.bytes();
    log.begin_rewrite().unwrap();
    log.rewrite([Entry::Set(b"a2", b"three")]).unwrap();
    log.append([Entry::Set(b"c", b"meanwhile")]).unwrap();
    let now: [(&[u8], &[u8]); 3] = [
        (b"a2", b"three"),
        (b"b1", &999_u32.to_le_bytes()),
        (b"c", b"meanwhile"),
    ];
    // Killed before it took the place.
    let copy = TempDir::new().unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let (_store, _log, found) = open(copy.path());
    assert_eq!(found, places(&now));
    log.rewrite([Entry::Set(b"b1", &999_u32.to_le_bytes())])
        .unwrap();
    log.end_rewrite().unwrap();
    assert!(log.bytes() < before);
    log.append([Entry::Set(b"d", b"afterwards")]).unwrap();
    drop((store, log));
    let found = open(folder.path()).2;
    assert_eq!(found.len(), 4);
    assert_eq!(found.get(&b"c"[..]), Some(&b"meanwhile"[..].into()));
    assert_eq!(
        found.get(&b"b1"[..]),
        Some(&999_u32.to_le_bytes()[..].into())
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// As a map that does the same, with the log opened anew after some steps.
    #[test]
    fn a_log_is_a_map(
        steps in proptest::collection::vec(
            (proptest::collection::vec((0..4_u8, 0..3_u8, 0..9_u8), 0..6), any::<bool>()),
            1..12,
        ),
    ) {
        let folder = TempDir::new().unwrap();
        let mut expected = Places::new();
        let (mut store, mut log, _) = open(folder.path());
        for (entries, again) in steps {
            let entries: Vec<_> = entries.into_iter().map(|(kind, group, byte)| (kind, [group, byte])).collect();
            for (kind, place) in &entries {
                match kind {
                    0 | 1 => drop(expected.insert(place[..].into(), vec![7; place[1].into()].into())),
                    2 => drop(expected.remove(&place[..])),
                    _ => expected.retain(|it, _| it[0] != place[0]),
                }
            }
            let bytes: Vec<Vec<u8>> = entries.iter().map(|(_, place)| vec![7; place[1].into()]).collect();
            let said = entries.iter().zip(&bytes).map(|((kind, place), bytes)| match kind {
                0 | 1 => Entry::Set(place, bytes),
                2 => Entry::Removed(place),
                _ => Entry::RemovedAll(&place[..1]),
            });
            log.append(said).unwrap();
            if again {
                drop((store, log));
                let found;
                (store, log, found) = open(folder.path());
                prop_assert_eq!(found, expected.clone());
            }
        }
        drop((store, log));
        prop_assert_eq!(open(folder.path()).2, expected);
    }
}
