//! Counting: what is read is written or skipped.

use std::collections::{BTreeMap, btree_map::Entry};

use super::row::{BrokenRow, FromRow, KeptRow, Row};
use crate::tally::{Kind, Tally};

/// Items of one kind that belong to one user or room, or to nobody (`owner` is empty).
pub(super) struct Items<'a> {
    tally: &'a mut Tally,
    kind: Kind,
    owner: &'a str,
}

impl<'a> Items<'a> {
    pub(super) fn new(tally: &'a mut Tally, kind: Kind, owner: &'a str) -> Self {
        Self { tally, kind, owner }
    }

    /// Counts rows as read and skips those that don't decode.
    pub(super) fn decode<T: FromRow>(&mut self, rows: &[KeptRow]) -> Vec<T> {
        rows.iter().filter_map(|row| self.one(Row::Kept(row))).collect()
    }

    /// Counts a row as read and skips it if it doesn't decode.
    pub(super) fn one<T: FromRow>(&mut self, row: Row<'_>) -> Option<T> {
        match row.decode() {
            Ok(item) => {
                self.read(1);
                Some(item)
            }
            Err(broken) => {
                self.broken(row, &broken);
                None
            }
        }
    }

    /// Counts a row that does not decode as read and skipped.
    pub(super) fn broken(&mut self, row: Row<'_>, broken: &BrokenRow) {
        self.read(1);
        self.skip(&row.label(), broken.reason, broken.to_string());
    }

    /// Puts an item that was read where only one can be, and counts it as written. Only a table whose index is broken has two:
    /// the one that is read last is taken, and the other is counted as left out.
    pub(super) fn put<K: Ord, V>(
        &mut self,
        items: &mut BTreeMap<K, V>,
        key: K,
        value: V,
        name: impl FnOnce(&K) -> String,
    ) {
        match items.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(value);
                self.written(1);
            }
            Entry::Occupied(mut entry) => {
                let name = name(entry.key());
                entry.insert(value);
                self.twice(&name);
            }
        }
    }

    /// Counts an item that was read as left out, as there is another one with its key.
    pub(super) fn twice(&mut self, item: &str) {
        let detail = "the table has two such rows, as its index is broken; one is taken";
        self.skip(item, "row-twice", detail);
    }

    /// Counts as read. A kind of which there is nothing has no count.
    pub(super) fn read(&mut self, number: usize) {
        if number > 0 {
            self.tally.read(self.kind, count(number));
        }
    }

    /// Counts as written.
    pub(super) fn written(&mut self, number: usize) {
        if number > 0 {
            self.tally.written(self.kind, count(number));
        }
    }

    /// Skips an item, named by its owner and itself.
    pub(super) fn skip(&mut self, item: &str, reason: &str, detail: impl Into<String>) {
        let item = format!("{} {item}", self.owner);
        self.tally.skip(self.kind, item.trim_start(), reason, detail);
    }
}

pub(super) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
