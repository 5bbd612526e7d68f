//! A list that grows and shrinks without moving what is in it.

use crate::store::Entry;

/// Entries that are allocated together: half a page. Half of the last such chunk is empty on average, a sixtieth of a
/// thousand keys. A `Vec` would have to be copied to grow, and leave holes that nothing fits into: with a
/// million keys a quarter more than they take.
const CHUNK: usize = 32;

type Chunk = [Option<Entry>; CHUNK];

const _: () = assert!(size_of::<Chunk>() == 2_048);

/// The entries of a map, each at a place below the length.
#[derive(Default)]
pub(crate) struct Entries {
    /// Those after the last entry are at most one.
    #[allow(clippy::vec_box, reason = "the list grows without moving its entries")]
    chunks: Vec<Box<Chunk>>,
    len: usize,
}

impl Entries {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        let all = self.chunks.iter().flat_map(|chunk| chunk.iter());
        all.map_while(Option::as_ref)
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        if self.len == self.chunks.len() * CHUNK {
            self.chunks.push(Box::new([const { None }; CHUNK]));
        }
        self.chunks[self.len / CHUNK][self.len % CHUNK] = Some(entry);
        self.len += 1;
    }

    /// Removes the entry at `place`; the last one moves there.
    pub(crate) fn swap_remove(&mut self, place: usize) {
        self.len -= 1;
        let last = self.chunks[self.len / CHUNK][self.len % CHUNK].take();
        if place < self.len {
            self.chunks[place / CHUNK][place % CHUNK] = last;
        }
        // One is kept, or a map whose length goes up and down by one would allocate each time.
        if self.len.div_ceil(CHUNK) + 1 < self.chunks.len() {
            self.chunks.pop();
        }
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.len() * size_of::<Chunk>() + self.chunks.capacity() * size_of::<Box<Chunk>>()
    }
}

impl std::ops::Index<usize> for Entries {
    type Output = Entry;

    #[inline]
    fn index(&self, place: usize) -> &Entry {
        let entry = self.chunks[place / CHUNK][place % CHUNK].as_ref();
        entry.expect("a place is below the length")
    }
}

impl std::ops::IndexMut<usize> for Entries {
    #[inline]
    fn index_mut(&mut self, place: usize) -> &mut Entry {
        let entry = self.chunks[place / CHUNK][place % CHUNK].as_mut();
        entry.expect("a place is below the length")
    }
}
