//! How rosters and views are named: two nodes compare what each computed, so every byte that is hashed is stated here.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// SipHash-1-3 under a key of sixteen bytes, read as two little-endian words, of the parts that are put in: a number as
/// its 8 little-endian bytes, a text as its length and its bytes, a text that may be missing as its presence (0 or 1) and
/// then itself.
///
/// The standard `Hash` is not used: what it feeds, and to which function, is nowhere promised, and two builds of one
/// version would send each other their rosters with every heartbeat.
pub(crate) struct Digest(SipHasher13);

impl Digest {
    pub(crate) fn new(key: &[u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(key))
    }

    pub(crate) fn number(&mut self, number: impl Into<u64>) {
        self.0.write(&number.into().to_le_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.write(text.as_bytes());
    }

    pub(crate) fn optional(&mut self, text: Option<&str>) {
        self.number(text.is_some());
        if let Some(text) = text {
            self.text(text);
        }
    }

    pub(crate) fn finish(&self) -> u64 {
        self.0.finish()
    }
}
