//! Rows of large trees on their way into an engine: collected until they are many, then sorted, so that they can be added
//! in the order of their keys.

use rayon::prelude::*;

use super::Row;
use crate::conduit::trees::{self, Tree};

/// Trees with rows for each event, word or member. No such row is read before [`super::KvStore::settle`].
const TREES: [&Tree; 16] = [
    &trees::PDUID_PDU,
    &trees::TOKENIDS,
    &trees::REFERENCEDEVENTS,
    &trees::EVENTID_PDUID,
    &trees::EVENTID_SHORTEVENTID,
    &trees::SHORTEVENTID_EVENTID,
    &trees::SHORTEVENTID_SHORTSTATEHASH,
    &trees::SHORTSTATEHASH_STATEDIFF,
    &trees::EVENTID_OUTLIERPDU,
    &trees::TOFROM_RELATION,
    &trees::USERROOMID_JOINED,
    &trees::ROOMUSERID_JOINED,
    &trees::ROOMUSERONCEJOINEDIDS,
    &trees::USERROOMID_LEFTSTATE,
    &trees::ROOMUSERID_LEFTCOUNT,
    &trees::KEYCHANGEID_USERID,
];

/// Bytes of rows of one tree that are enough for a file, if they came in order: the file is final.
const ORDERED: usize = 32 << 20;
/// Bytes of all rows that are held.
const ALL: usize = 128 << 20;
/// Bytes that are allocated at once: a buffer that grew would be copied each time.
const CHUNK: usize = 1 << 20;

/// Rows of one tree.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) tree: &'static Tree,
    /// Keys and values, none of which lies in two chunks.
    chunks: Vec<Vec<u8>>,
    /// Bytes in chunks.
    bytes: usize,
    places: Vec<Place>,
    is_ordered: bool,
}

/// Where a row is.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Eight bytes of the key, after those that all keys share.
    head: u64,
    chunk: u32,
    /// Where in the chunk the key begins, the value, and what comes after it.
    start: u32,
    middle: u32,
    end: u32,
}

impl Rows {
    fn new(tree: &'static Tree) -> Self {
        Self { tree, chunks: Vec::new(), bytes: 0, places: Vec::new(), is_ordered: true }
    }

    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.is_ordered =
            self.is_ordered && self.places.last().is_none_or(|last| self.key(last) < key);
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

    fn size(&self) -> usize {
        self.places.len().saturating_mul(size_of::<Place>()).saturating_add(self.bytes)
    }

    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.tree))
    }

    pub(super) fn is_empty(&self) -> bool {
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
    pub(super) fn sort(&mut self) {
        if self.is_ordered {
            return;
        }
        let mut places = std::mem::take(&mut self.places);
        let shared = self.shared(&places);
        for place in &mut places {
            place.head = head(self.key(place).get(shared..).unwrap_or_default());
        }
        places.par_sort_by(|a, b| a.head.cmp(&b.head).then_with(|| self.key(a).cmp(self.key(b))));
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

    /// Keys and values; of one key, the last value. To be called after [`Self::sort`].
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let next = self.places.iter().skip(1).map(Some).chain([None]);
        self.places.iter().zip(next).filter_map(|(place, next)| {
            let key = self.key(place);
            let is_last = next.is_none_or(|next| self.key(next) != key);
            is_last.then(|| (key, self.value(place)))
        })
    }
}

/// A place in a chunk; keys and values have at most some MiB.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// The first eight bytes as a number; zeros after shorter ones.
fn head(bytes: &[u8]) -> u64 {
    let mut head = [0; 8];
    for (to, from) in head.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_be_bytes(head)
}

/// Rows of all large trees.
#[derive(Debug)]
pub(super) struct Collected {
    trees: Vec<Rows>,
    size: usize,
}

impl Collected {
    pub(super) fn new() -> Self {
        Self { trees: TREES.into_iter().map(Rows::new).collect(), size: 0 }
    }

    /// Takes a row of a large tree; gives back one of another tree.
    pub(super) fn push(&mut self, row: Row) -> Option<Row> {
        let found = self.trees.iter_mut().find(|rows| std::ptr::eq(rows.tree, row.tree));
        let Some(rows) = found else { return Some(row) };
        let before = rows.size();
        rows.push(&row.key, &row.value);
        self.size = self.size.saturating_add(rows.size().saturating_sub(before));
        None
    }

    /// Rows that should go to the engine now.
    pub(super) fn due(&mut self) -> Option<Rows> {
        let ordered = self.trees.iter().position(|rows| rows.is_ordered && rows.size() >= ORDERED);
        let due = match ordered {
            None if self.size < ALL => return None,
            None => self.trees.iter_mut().max_by_key(|rows| rows.size()),
            Some(at) => self.trees.get_mut(at),
        }?;
        self.size = self.size.saturating_sub(due.size());
        Some(due.take())
    }

    /// Everything, the most first.
    pub(super) fn drain(&mut self) -> Vec<Rows> {
        self.size = 0;
        let mut all: Vec<_> = self.trees.iter_mut().map(Rows::take).collect();
        all.retain(|rows| !rows.is_empty());
        all.sort_by_key(|rows| std::cmp::Reverse(rows.size()));
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_come_out_as_from_a_map(
            pairs in proptest::collection::vec((".{0,12}", ".{0,3}"), 0..200)
        ) {
            let mut rows = Rows::new(&trees::TOKENIDS);
            let mut map = std::collections::BTreeMap::new();
            for (key, value) in &pairs {
                rows.push(key.as_bytes(), value.as_bytes());
                map.insert(key.as_bytes(), value.as_bytes());
            }
            rows.sort();
            assert_eq!(rows.iter().collect::<Vec<_>>(), map.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn ordered_rows_leave_early_and_the_largest_when_all_are_many() {
        let mut collected = Collected::new();
        let row = |tree, key: u64, size| Row {
            tree,
            key: key.to_be_bytes().to_vec(),
            value: vec![0; size],
        };
        assert!(collected.push(row(&trees::GLOBAL, 1, 1)).is_some());
        assert!(collected.push(row(&trees::PDUID_PDU, 1, ORDERED)).is_none());
        assert_eq!(collected.due().map(|rows| rows.tree), Some(&trees::PDUID_PDU));
        assert!(collected.due().is_none());
        for key in [3, 2, 1] {
            collected.push(row(&trees::TOKENIDS, key, ORDERED));
        }
        collected.push(row(&trees::EVENTID_PDUID, 2, ORDERED / 2));
        collected.push(row(&trees::EVENTID_PDUID, 1, ORDERED / 2));
        let due = collected.due().unwrap();
        assert_eq!((due.tree, due.places.len()), (&trees::TOKENIDS, 3));
        assert!(collected.due().is_none());
        assert_eq!(collected.drain().len(), 1);
        assert!(collected.drain().is_empty());
    }
}
