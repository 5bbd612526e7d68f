//! What nodes that each count for themselves tell each other, for limits with the strategy `local`.

use bytes::{Bytes, BytesMut};
use delta_crdt::{Cell, Digest};
use quota::KeyHash;

use super::VERSION_BEFORE;
use super::cells::{CELL_BYTES_MIN, cell, put_cell};
use super::encoding::{Reader, Writer};
use super::shards::WireDigest;
use super::{ITEMS_MAX, Kind, WireError, begin};

/// A stripe and its buckets, eight bytes each.
const DIGEST_BYTES: usize = 1 + 8 * Digest::BUCKETS;
/// A stripe and one bit for each bucket.
const WANTED_BYTES_USUAL: usize = 3;

pub(super) fn put_told(out: &mut Writer<'_>, cells: &[(KeyHash, Cell)]) {
    for (key, cell) in cells {
        put_cell(out, VERSION_BEFORE, *key, cell);
    }
}

pub(super) fn told(input: &mut Reader<'_>) -> Result<Vec<(KeyHash, Cell)>, WireError> {
    input.until_end(CELL_BYTES_MIN, |input| cell(input, VERSION_BEFORE))
}

pub(super) fn put_digests(out: &mut Writer<'_>, digests: &[(u8, Digest)]) {
    for (stripe, digest) in digests {
        out.raw(&[*stripe]);
        out.item(&WireDigest::from(digest));
    }
}

pub(super) fn digests(input: &mut Reader<'_>) -> Result<Vec<(u8, Digest)>, WireError> {
    input.until_end(DIGEST_BYTES, |input| {
        let stripe = input.byte("stripe")?;
        Ok((stripe, input.item::<WireDigest>("digest")?.into()))
    })
}

pub(super) fn put_wanted(out: &mut Writer<'_>, wanted: &[(u8, u16)]) {
    for (stripe, buckets) in wanted {
        out.raw(&[*stripe]);
        out.raw(&buckets.to_le_bytes());
    }
}

pub(super) fn wanted(input: &mut Reader<'_>) -> Result<Vec<(u8, u16)>, WireError> {
    input.until_end(WANTED_BYTES_USUAL, |input| {
        let stripe = input.byte("stripe")?;
        Ok((stripe, u16::from_le_bytes(input.raw("buckets")?)))
    })
}

/// The bytes of as many [`Frame::Told`](super::Frame::Told) as it takes for none to pass `max_bytes` or
/// [`ITEMS_MAX`], in order. A cell that alone is longer gets a frame of its own.
#[must_use]
pub fn encode_told_split(
    cells: impl IntoIterator<Item = (KeyHash, Cell)>,
    max_bytes: usize,
) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut frame = BytesMut::new();
    let mut items = 0;
    for (key, cell) in cells {
        if items == 0 {
            begin(&mut Writer::new(&mut frame), Kind::Told);
        }
        let before = frame.len();
        put_cell(&mut Writer::new(&mut frame), VERSION_BEFORE, key, &cell);
        let is_too_much = max_bytes < frame.len() || items == ITEMS_MAX;
        if is_too_much && items != 0 {
            let last = frame.split_off(before);
            frames.push(std::mem::take(&mut frame).freeze());
            begin(&mut Writer::new(&mut frame), Kind::Told);
            frame.extend_from_slice(&last);
            items = 0;
        }
        items += 1;
    }
    if items != 0 {
        frames.push(frame.freeze());
    }
    frames
}
