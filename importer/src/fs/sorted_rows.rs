//! Keys and values in memory that come in any order, and how they are sorted. What is too much for memory goes into [`Runs`].

#![warn(
    clippy::arithmetic_side_effects,
    reason = "places of rows in memory and in files are calculated here"
)]

mod runs;

use rayon::prelude::*;

pub(crate) use self::runs::{Merged, Runs, WrittenRun};

/// Bytes that are allocated at once: a buffer that grew would be copied each time.
const CHUNK: usize = 1 << 20;

/// Rows: a key and a value each.
#[derive(Debug)]
pub(crate) struct Rows {
    /// Keys and values, none of which lies in two chunks.
    chunks: Vec<Vec<u8>>,
    /// Bytes in chunks.
    bytes: usize,
    places: Vec<Place>,
    /// The last key of those that were taken.
    after: Vec<u8>,
    is_ordered: bool,
}

/// Where a row is.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Sixteen bytes of the key, after those that all keys share.
    head: u128,
    chunk: u32,
    /// Where in the chunk the key begins, the value, and what comes after it.
    start: u32,
    middle: u32,
    end: u32,
}

impl Rows {
    pub(crate) fn new() -> Self {
        Self {
            chunks: Vec::new(),
            bytes: 0,
            places: Vec::new(),
            after: Vec::new(),
            is_ordered: true,
        }
    }

    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) {
        let last = self.places.last().map_or(self.after.as_slice(), |last| self.key(last));
        self.is_ordered = self.is_ordered && last < key;
        let size = key.len().saturating_add(value.len());
        let has_space = |chunk: &Vec<u8>| chunk.capacity().saturating_sub(chunk.len()) >= size;
        if !self.chunks.last().is_some_and(has_space) {
            self.chunks.push(Vec::with_capacity(size.max(CHUNK)));
        }
        let chunk = number(self.chunks.len().saturating_sub(1));
        let Some(bytes) = self.chunks.last_mut() else { return };
        let start = number(bytes.len());
        bytes.extend_from_slice(key);
        let middle = number(bytes.len());
        bytes.extend_from_slice(value);
        let end = number(bytes.len());
        self.bytes = self.bytes.saturating_add(size);
        self.places.push(Place { head: 0, chunk, start, middle, end });
    }

    /// Bytes in memory.
    pub(crate) fn size(&self) -> usize {
        self.places.len().saturating_mul(size_of::<Place>()).saturating_add(self.bytes)
    }

    /// All rows; leaves none.
    pub(crate) fn take(&mut self) -> Self {
        let mut empty = Self::new();
        empty.after = self.places.last().map(|last| self.key(last).to_vec()).unwrap_or_default();
        std::mem::replace(self, empty)
    }

    /// Whether each key is greater than those that came before it, taken ones included.
    pub(crate) fn is_ordered(&self) -> bool {
        self.is_ordered
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn slice(&self, chunk: u32, from: u32, to: u32) -> &[u8] {
        let [chunk, from, to] =
            [chunk, from, to].map(|place| usize::try_from(place).unwrap_or(usize::MAX));
        self.chunks.get(chunk).and_then(|bytes| bytes.get(from..to)).unwrap_or_default()
    }

    fn key(&self, place: &Place) -> &[u8] {
        self.slice(place.chunk, place.start, place.middle)
    }

    fn value(&self, place: &Place) -> &[u8] {
        self.slice(place.chunk, place.middle, place.end)
    }

    /// Sorts by key; rows of one key stay in the order in which they came.
    pub(crate) fn sort(&mut self) {
        if self.is_ordered {
            return;
        }
        let mut places = std::mem::take(&mut self.places);
        let shared = self.shared(&places);
        for place in &mut places {
            place.head = head(self.key(place).get(shared..).unwrap_or_default());
        }
        // Sorted in place: a stable sort takes the memory of all places once more.
        let order = |place: &Place| (place.chunk, place.start, place.end);
        places.par_sort_unstable_by(|a, b| {
            let by_key = a.head.cmp(&b.head).then_with(|| self.key(a).cmp(self.key(b)));
            by_key.then_with(|| order(a).cmp(&order(b)))
        });
        self.places = places;
    }

    /// How many bytes at their beginning all keys have in common.
    fn shared(&self, places: &[Place]) -> usize {
        let Some((first, rest)) = places.split_first() else { return 0 };
        let first = self.key(first);
        rest.iter().fold(first.len(), |shared, place| {
            let pairs = first.iter().zip(self.key(place)).take(shared);
            pairs.take_while(|(a, b)| a == b).count()
        })
    }

    /// The next key and its last value; counts the rows that were passed. To be called after [`Self::sort`].
    pub(crate) fn next(&self, passed: &mut usize) -> Option<(&[u8], &[u8])> {
        loop {
            let place = self.places.get(*passed)?;
            *passed = passed.saturating_add(1);
            let key = self.key(place);
            let is_same = |next: &Place| next.head == place.head && self.key(next) == key;
            // Keys that ascend are distinct.
            if self.is_ordered || !self.places.get(*passed).is_some_and(is_same) {
                return Some((key, self.value(place)));
            }
        }
    }

    /// Keys and values; of one key, the last value. To be called after [`Self::sort`].
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut passed = 0;
        std::iter::from_fn(move || self.next(&mut passed))
    }
}

/// A place in a chunk; keys and values have at most some MiB.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// The first sixteen bytes as a number; zeros after shorter ones.
fn head(bytes: &[u8]) -> u128 {
    let mut head = [0; 16];
    for (to, from) in head.iter_mut().zip(bytes) {
        *to = *from;
    }
    u128::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first sixteen bytes after the common beginning decide nothing: they are the same, or zeros that are not there.
    #[test]
    fn keys_are_told_apart_by_all_their_bytes() {
        let long = [b'x'; 20];
        let keys: [&[u8]; 6] = [
            &[&long[..], b"b"].concat(),
            &[&long[..], b"a"].concat(),
            b"x\0",
            b"x",
            b"x\0\0",
            b"x\0",
        ];
        let mut rows = Rows::new();
        for (key, value) in keys.iter().zip(b'1'..) {
            rows.push(key, &[value]);
        }
        rows.sort();
        let found: Vec<_> = rows.iter().map(|(_, value)| value).collect();
        assert_eq!(found, [b"4", b"6", b"5", b"2", b"1"]);
    }

    proptest! {
        #[test]
        fn rows_come_out_as_from_a_map(
            pairs in proptest::collection::vec((".{0,12}", ".{0,3}"), 0..200)
        ) {
            let mut rows = Rows::new();
            let mut map = std::collections::BTreeMap::new();
            for (key, value) in &pairs {
                rows.push(key.as_bytes(), value.as_bytes());
                map.insert(key.as_bytes(), value.as_bytes());
            }
            rows.sort();
            assert_eq!(rows.iter().collect::<Vec<_>>(), map.into_iter().collect::<Vec<_>>());
        }
    }
}
