//! Reading a log that somebody else may have left unfinished.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Bound;
use std::path::Path;

use super::{
    BATCH_BYTES_MAX, BATCH_HEAD_BYTES, ENTRY_HEAD_BYTES, Entry, FORMAT, HEADER_BYTES, Places,
    TITLE, io_at, sum,
};
use crate::error::OpenError;

/// What was read of a log.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) places: Places,
    /// How long it is without a batch that was cut short. `None`: there is none.
    pub(crate) bytes: Option<u64>,
}

pub(super) fn read(file: &mut File, path: &Path) -> Result<Found, OpenError> {
    let corrupt = |what: String| OpenError::Corrupt {
        path: path.to_owned(),
        what,
    };
    let io = io_at(path);
    let length = file.metadata().map_err(&io)?.len();
    let mut input = io::BufReader::new(file);
    let mut header = [0; HEADER_BYTES];
    if length < HEADER_BYTES as u64 {
        return Err(corrupt("its title is cut short".to_owned()));
    }
    input.read_exact(&mut header).map_err(&io)?;
    let (title, format) = header.split_at(TITLE.len());
    let format = u32::from_le_bytes(format.try_into().expect("four bytes"));
    if title != TITLE || format == 0 {
        return Err(corrupt("it has another title".to_owned()));
    }
    if FORMAT < format {
        return Err(OpenError::NewerLog {
            path: path.to_owned(),
            given: format,
            accepted: FORMAT,
        });
    }
    let mut places = Places::new();
    let mut at = HEADER_BYTES as u64;
    let mut body = Vec::new();
    while at < length {
        let Some(left) = (length - at).checked_sub(BATCH_HEAD_BYTES as u64) else {
            break;
        };
        let mut head = [0; BATCH_HEAD_BYTES];
        input.read_exact(&mut head).map_err(&io)?;
        let (claimed, told) = head.split_at(4);
        let claimed = u32::from_le_bytes(claimed.try_into().expect("four bytes"));
        let is_last = left == u64::from(claimed);
        let damaged = || corrupt(format!("a part from byte {at} is not as it was written"));
        if is_blank(&head) {
            break;
        }
        if BATCH_BYTES_MAX < claimed as usize {
            return Err(damaged());
        }
        if left < claimed.into() {
            break;
        }
        body.resize(claimed as usize, 0);
        input.read_exact(&mut body).map_err(&io)?;
        if told != sum(&body) {
            match is_last {
                true => break,
                false => return Err(damaged()),
            }
        }
        let mut rest = &body[..];
        while let Some((entry, others)) = entry(rest) {
            apply(&mut places, entry);
            rest = others;
        }
        if !rest.is_empty() {
            return Err(damaged());
        }
        at += BATCH_HEAD_BYTES as u64 + u64::from(claimed);
    }
    let bytes = Some(at);
    Ok(Found { places, bytes })
}

/// A file system that was cut off may have made a file longer than what reached the disk: it reads as zeros then.
fn is_blank(head: &[u8]) -> bool {
    head.iter().all(|&byte| byte == 0)
}

/// The first entry, and what follows it. `None`: there is none.
fn entry(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (&[kind, place_bytes, length @ ..], rest) =
        bytes.split_first_chunk::<ENTRY_HEAD_BYTES>()?;
    let length = u32::from_le_bytes(length);
    let (place, rest) = rest.split_at_checked(place_bytes.into())?;
    let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let entry = match kind {
        1 => Entry::Set(place, bytes),
        2 if bytes.is_empty() => Entry::Removed(place),
        3 if bytes.is_empty() => Entry::RemovedAll(place),
        _ => return None,
    };
    Some((entry, rest))
}

fn apply(places: &mut Places, entry: Entry<'_>) {
    match entry {
        Entry::Set(place, bytes) => {
            places.insert(place.into(), bytes.into());
        }
        Entry::Removed(place) => {
            places.remove(place);
        }
        Entry::RemovedAll(prefix) => {
            let from = places
                .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
                .map(|(place, _)| place);
            let gone: Vec<_> = from
                .take_while(|place| place.starts_with(prefix))
                .cloned()
                .collect();
            for place in gone {
                places.remove(&place);
            }
        }
    }
}
