//! Counting: what is read is written or skipped.

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
};

use super::row::{BrokenRow, FromRow, KeptRow, Row};
use crate::tally::{Kind, Tally};

/// The detail of a skipped row whose key another row has.
pub(super) const ROW_TWICE: &str =
    "the table has two such rows, as its index is broken; one is used";

/// Items of one kind that belong to one user or room, or to no owner (`owner` is empty).
pub(super) struct Items<'a> {
    tally: &'a mut Tally,
    kind: Kind,
    owner: &'a str,
    /// The table of which each row is an item.
    table: Option<&'static str>,
    /// Whose rows they are.
    row_owner: &'a str,
    /// Rows are parts of an item: only what is left out of it is counted.
    parts: bool,
}

impl<'a> Items<'a> {
    pub(super) fn new(tally: &'a mut Tally, kind: Kind, owner: &'a str) -> Self {
        Self { tally, kind, owner, table: None, row_owner: owner, parts: false }
    }

    /// The same where each item is a row of `table`, which is counted for the census, too.
    pub(super) fn of(self, table: &'static str) -> Self {
        Self { table: Some(table), ..self }
    }

    /// The same where the rows of `table` are parts of an item, which [`Items::whole`] counts. A part that is left out is
    /// counted by itself.
    pub(super) fn parts_of(self, table: &'static str) -> Self {
        Self { table: Some(table), parts: true, ..self }
    }

    /// Counts an item that was put together from its parts.
    pub(super) fn whole(&mut self) {
        self.read(1);
        self.written(1);
    }

    /// The same where `owner` names the items in messages and `row_owner` owns the rows.
    pub(super) fn of_owner(self, table: &'static str, row_owner: &'a str) -> Self {
        Self { table: Some(table), row_owner, ..self }
    }

    /// Counts rows as read and skips those that don't decode.
    pub(super) fn decode<T: FromRow>(&mut self, rows: &[KeptRow]) -> Vec<T> {
        rows.iter().filter_map(|row| self.one(Row::Kept(row))).collect()
    }

    /// Counts a row as read and skips it if it doesn't decode.
    pub(super) fn one<T: FromRow>(&mut self, row: Row<'_>) -> Option<T> {
        match row.decode() {
            Ok(item) => {
                self.row();
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
        self.row();
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
                if !self.parts {
                    self.written(1);
                }
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
        self.skip(item, "row-twice", ROW_TWICE);
    }

    /// Counts an item that is a row as read.
    pub(super) fn row(&mut self) {
        if !self.parts {
            self.read(1);
        }
        if let Some(table) = self.table {
            self.tally.rows.met(table, self.row_owner, 1);
        }
    }

    /// Skips an item that is not a row of its own: a join returned its row twice.
    pub(super) fn skip_twin(&mut self, item: &str, reason: &str, detail: &'static str) {
        let item = format!("{} {item}", self.owner);
        self.tally.skip(self.kind, item.trim_start(), reason, detail);
    }

    /// Counts rows of a table that are no items by themselves as read.
    pub(super) fn rows(&mut self, table: &'static str, number: usize) {
        self.tally.rows.met(table, self.row_owner, count(number));
    }

    /// Counts a row as left out, of a table whose rows are counted by [`Items::rows`].
    pub(super) fn row_left_out(&mut self, table: &'static str, reason: &str) {
        self.tally.rows.left_out(table, reason, 1);
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
    pub(super) fn skip(&mut self, item: &str, reason: &str, detail: impl Into<Cow<'static, str>>) {
        let item = format!("{} {item}", self.owner);
        if self.parts {
            self.read(1);
        }
        self.tally.skip(self.kind, item.trim_start(), reason, detail);
        if let Some(table) = self.table {
            self.tally.rows.left_out(table, reason, 1);
        }
    }
}

pub(super) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
