use super::*;

mod arbitrary;
mod catalogue;
mod known;
mod people;
mod refused;

use arbitrary::{frame, member, shard_messages, told};
use proptest::prelude::*;

proptest! {
    #[test]
    fn decoding_what_was_encoded_gives_it_back(frame in frame()) {
        prop_assert_eq!(decode(&encode(&frame)), Ok(frame));
    }

    #[test]
    fn encoding_appends(frame in frame(), before in proptest::collection::vec(any::<u8>(), 0..9)) {
        let mut out = BytesMut::from(before.as_slice());
        encode_into(&frame, &mut out);
        prop_assert_eq!(&out[..before.len()], before.as_slice());
        prop_assert_eq!(&out[before.len()..], &encode(&frame)[..]);
    }

    #[test]
    fn decoding_an_encoded_roster_gives_it_back(
        members in proptest::collection::vec(member(), 0..9),
    ) {
        prop_assert_eq!(decode_roster(&encode_roster(&members)), Ok(members));
    }

    #[test]
    fn a_frame_cut_short_is_refused_or_holds_fewer_items(frame in frame(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&frame);
        let bytes = &bytes[..cut.index(bytes.len())];
        if let Ok(shorter) = decode(bytes) {
            prop_assert_ne!(&shorter, &frame);
            let again = encode(&shorter);
            // What needed the newest version may be what was cut off.
            prop_assert!(again == bytes || bytes[0] == VERSION && again[0] < VERSION);
            prop_assert_eq!(decode(&again), Ok(shorter));
        }
    }

    /// Whatever is decoded is a value that a node could have sent, however it came about.
    #[test]
    fn a_changed_frame_is_refused_or_valid(frame in frame(), changes in changes()) {
        check_survives(&changed(&encode(&frame), &changes));
    }

    #[test]
    fn random_bytes_are_refused_or_valid(
        kind in 0..16u8,
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        check_survives(&bytes);
        bytes.splice(0..0, [VERSION, kind]);
        check_survives(&bytes);
    }

    #[test]
    fn a_split_list_is_the_list_in_frames_no_longer_than_asked(
        messages in shard_messages(),
        max_bytes in 0..600usize,
    ) {
        let mut joined = Vec::new();
        for bytes in encode_shards_split(VERSION, &messages, max_bytes) {
            let Ok(Frame::Shards(part)) = decode(&bytes) else {
                return Err(TestCaseError::fail("a part is no frame of shard messages"));
            };
            prop_assert!(!part.is_empty());
            prop_assert!(bytes.len() <= max_bytes || part.len() == 1, "{} bytes", bytes.len());
            joined.extend(part);
        }
        prop_assert_eq!(joined, messages);
    }
}

proptest! {
    #[test]
    fn what_a_disk_keeps_of_a_key_is_read_again(cell in told()) {
        for (key, cell) in cell {
            let kept = cell.with_kept(true);
            let mut bytes = BytesMut::new();
            put_kept(&mut bytes, key, &kept);
            prop_assert_eq!(decode_kept(&bytes), Ok((key, kept)));
        }
    }

    #[test]
    fn split_news_are_the_news_in_frames_no_longer_than_asked(
        cells in told(),
        max_bytes in 0..600usize,
    ) {
        let mut joined = Vec::new();
        for bytes in encode_told_split(cells.clone(), max_bytes) {
            let Ok(Frame::Told(part)) = decode(&bytes) else {
                return Err(TestCaseError::fail("a part is no frame of news"));
            };
            prop_assert!(bytes.len() <= max_bytes || part.len() == 1, "{} bytes", bytes.len());
            joined.extend(part);
        }
        prop_assert_eq!(joined, cells);
    }
}

/// A frame that fits is not split, however many messages it holds.
#[test]
fn a_list_that_fits_is_one_frame() {
    let term = delta_crdt::Term {
        number: 1,
        replica: ReplicaId(2),
    };
    let messages = vec![(ShardId(3), shard::Message::Synced { term }); 4];
    let whole = encode(&Frame::Shards(messages.clone()));
    let frames = |messages, max_bytes| encode_shards_split(VERSION, messages, max_bytes).len();
    assert_eq!(frames(&messages, whole.len()), 1);
    assert_eq!(frames(&messages, whole.len() - 1), 2);
    assert_eq!(frames(&[], whole.len()), 0);
}

#[test]
fn a_frame_of_too_many_items_is_refused_and_never_made_by_splitting() {
    let term = delta_crdt::Term {
        number: 1,
        replica: ReplicaId(2),
    };
    let mut messages = vec![(ShardId(3), shard::Message::Synced { term }); ITEMS_MAX];
    assert_eq!(encode_shards_split(VERSION, &messages, usize::MAX).len(), 1);
    let bytes = encode(&Frame::Shards(messages.clone()));
    assert!(decode(&bytes).is_ok());

    messages.push(messages[0].clone());
    assert_eq!(encode_shards_split(VERSION, &messages, usize::MAX).len(), 2);
    let bytes = encode(&Frame::Shards(messages));
    let what = "number of items";
    assert_eq!(decode(&bytes), Err(WireError::OutOfBounds { what }));
}

/// The version and the kind.
const HEADER_BYTES: usize = 2;

#[derive(Clone, Debug)]
enum Change {
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let place = any::<prop::sample::Index>;
    let change = prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        // A long varint: lengths and numbers beyond what there is.
        (place(), Just(vec![0xff; 9])).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (place(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, vec![byte])),
        place().prop_map(Change::Remove),
    ];
    proptest::collection::vec(change, 1..4)
}

fn changed(bytes: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes {
        // Behind the header, which other tests change.
        let body = bytes.len() - HEADER_BYTES;
        match change {
            Change::Replace(at, byte) if 0 < body => {
                bytes[HEADER_BYTES + at.index(body)] = *byte;
            }
            Change::Insert(at, inserted) => {
                let at = HEADER_BYTES + at.index(body + 1);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Change::Remove(at) if 0 < body => {
                bytes.remove(HEADER_BYTES + at.index(body));
            }
            Change::Replace(..) | Change::Remove(_) => {}
        }
    }
    bytes
}

/// The bytes written in hexadecimal, in groups of any length.
fn bytes_of(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}

#[track_caller]
fn check_survives(bytes: &[u8]) {
    if let Ok(frame) = decode(bytes) {
        assert_eq!(decode(&encode(&frame)), Ok(frame));
    }
    if let Ok(members) = decode_roster(bytes) {
        assert_eq!(decode_roster(&encode_roster(&members)), Ok(members));
    }
}
