//! The two ends of a frame: numbers, lists and items in postcard's encoding.

use bytes::{Bytes, BytesMut};
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use super::{ITEMS_MAX, WireError};

/// Appends to a frame.
pub(super) struct Writer<'a> {
    out: &'a mut BytesMut,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut BytesMut) -> Self {
        Self { out }
    }

    pub(super) fn reserve(&mut self, bytes: usize) {
        self.out.reserve(bytes);
    }

    #[inline]
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Seven bits a byte, the lowest first; the top bit says that more follow.
    #[inline]
    pub(super) fn varint(&mut self, value: impl Into<u64>) {
        let mut rest: u64 = value.into();
        let mut digits = [0; VARINT_BYTES_MAX];
        let mut len = 0;
        while 0x80 <= rest {
            digits[len] = rest as u8 | 0x80;
            rest >>= 7;
            len += 1;
        }
        digits[len] = rest as u8;
        self.raw(&digits[..=len]);
    }

    pub(super) fn item(&mut self, item: &impl Serialize) {
        let sink = Sink { out: self.out };
        postcard::serialize_with_flavor(item, sink)
            .expect("a buffer that grows takes every struct of the wire");
    }

    /// Its length, then each item.
    pub(super) fn list<T>(&mut self, items: &[T], mut put: impl FnMut(&mut Self, &T)) {
        self.varint(items.len() as u64);
        for item in items {
            put(self, item);
        }
    }
}

/// Where postcard writes to.
struct Sink<'a> {
    out: &'a mut BytesMut,
}

impl Flavor for Sink<'_> {
    type Output = ();

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// What is left of a frame. Each reader names what it reads, for the error.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many items of at least `bytes_min` bytes may follow.
    fn items_max(&self, bytes_min: usize) -> usize {
        self.rest.len() / bytes_min
    }

    #[inline]
    pub(super) fn byte(&mut self, what: &'static str) -> Result<u8, WireError> {
        let [byte] = self.raw(what)?;
        Ok(byte)
    }

    #[inline]
    pub(super) fn raw<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let malformed = WireError::Malformed { what };
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(malformed)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// A number that fits `T`.
    #[inline]
    pub(super) fn varint<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, WireError> {
        let mut value = 0;
        for (place, &byte) in self.rest.iter().take(VARINT_BYTES_MAX).enumerate() {
            let digit = u64::from(byte & 0x7f);
            let shifted = digit << (7 * place);
            if shifted >> (7 * place) != digit {
                break;
            }
            value |= shifted;
            if byte < 0x80 {
                self.rest = &self.rest[place + 1..];
                return T::try_from(value).map_err(|_| WireError::OutOfBounds { what });
            }
        }
        Err(WireError::Malformed { what })
    }

    pub(super) fn item<T: Deserialize<'a>>(&mut self, what: &'static str) -> Result<T, WireError> {
        let (item, rest) =
            postcard::take_from_bytes(self.rest).map_err(|_| WireError::Malformed { what })?;
        self.rest = rest;
        Ok(item)
    }

    /// What [`Writer::list`] wrote, if each item takes at least `bytes_min` bytes, which bounds what is reserved.
    pub(super) fn list<T>(
        &mut self,
        what: &'static str,
        bytes_min: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let len = self.varint::<usize>(what)?;
        if self.items_max(bytes_min) < len {
            return Err(WireError::Malformed { what });
        }
        let mut items = Vec::with_capacity(len);
        for _ in 0..len {
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// What is left, up to the end of the frame, in items for which `bytes_each` is a good guess: it decides what is reserved.
    #[inline]
    pub(super) fn until_end<T>(
        &mut self,
        bytes_each: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let mut items = Vec::with_capacity(self.items_max(bytes_each).min(ITEMS_MAX));
        while !self.rest.is_empty() {
            if items.len() == ITEMS_MAX {
                return Err(WireError::OutOfBounds {
                    what: "number of items",
                });
            }
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> Bytes {
        Bytes::copy_from_slice(std::mem::take(&mut self.rest))
    }

    pub(super) fn end(&self) -> Result<(), WireError> {
        match self.rest {
            [] => Ok(()),
            _ => Err(WireError::Malformed { what: "end" }),
        }
    }
}

/// 64 bits, seven a byte.
const VARINT_BYTES_MAX: usize = 10;
