//! Rows on their way into the store: batches, and the one counter.

#![warn(clippy::arithmetic_side_effects, reason = "the numbers that rows get are given out here")]

use std::collections::BTreeMap;

use ruma::EventId;

use super::ImportError;
use crate::conduit::{
    schema::{
        dialect::Dialect,
        shapes::{
            Event, NOTHING, Nothing, PasswordHash, ShortEvent, ShortStateKey, StateKey, User,
        },
        table::{Shape, Table},
        trees::{self, Tree},
    },
    store::{KvLoad, KvRead, Row, overlay::Pending},
};

/// The size of a batch of a new database.
const BATCH_BYTES: usize = 1 << 20;

/// The counter before the first number is handed out.
///
/// New key backups get the counter's value as their version, and Conduit takes the one that is last in the order of
/// *text* for the newest (src/database/key_value/key_backups.rs:76-126). From here on the counter's text comes after all
/// the versions that Synapse handed out but those between 91 and 99 and the like, which are renumbered; and it stays of
/// one length for 10¹¹ numbers. It is far below 2⁵³.
pub(super) const START: u64 = 9_000_000_000_000;

/// The counter never passes this by [`Rows::reserve`]. From 10,000 million further on, the counts of events say where in
/// Synapse's stream these came ([`conduit_backfill::predecessor::token::count`]).
const LAST_RESERVED: u64 = START + 390_000_000_000;

/// Most state keys in the cache; further ones are looked up in the store.
const CACHED: usize = 300_000;

/// Collects rows into batches, hands out counts and short ids.
pub(super) struct Rows<'a> {
    store: &'a mut dyn KvLoad,
    batch: Vec<Row>,
    bytes: usize,
    /// Bytes of keys and values that make a batch.
    batch_bytes: usize,
    /// The last number handed out: counts and all kinds of short ids, as Conduit does
    /// (src/database/key_value/globals.rs:18-33).
    counter: u64,
    /// The highest count that was not handed out by the counter.
    passed: u64,
    /// Short ids by type and state key, which all rooms share.
    state_keys: BTreeMap<String, BTreeMap<String, u64>>,
    /// Number of entries in `state_keys`.
    cached: usize,
    /// Whether `state_keys` has every state key of the database.
    all_cached: bool,
}

impl<'a> Rows<'a> {
    pub(super) fn new(store: &'a mut dyn KvLoad) -> Self {
        Self {
            store,
            batch: Vec::new(),
            bytes: 0,
            batch_bytes: BATCH_BYTES,
            counter: START,
            passed: 0,
            state_keys: BTreeMap::new(),
            cached: 0,
            all_cached: true,
        }
    }

    /// Goes on in a database that is complete, after the last number that was handed out. There are no batches: an overlay
    /// collects the rows, and [`Self::store`] has all of them.
    pub(super) fn resume(overlay: &'a mut Pending<'_>, counter: u64) -> Self {
        Self { counter, batch_bytes: 0, all_cached: false, ..Self::new(overlay) }
    }

    /// Whose database it is.
    pub(super) fn dialect(&self) -> Dialect {
        self.store.dialect()
    }

    /// Whether the server has a place for rows of a tree.
    pub(super) fn holds(&self, tree: &Tree) -> bool {
        self.dialect().holds(tree)
    }

    /// A number that was never handed out.
    pub(super) fn next(&mut self) -> u64 {
        self.counter = self.counter.saturating_add(1);
        self.counter
    }

    /// The first of `number` numbers in a row.
    pub(super) fn take(&mut self, number: u64) -> u64 {
        let first = self.counter.saturating_add(1);
        self.counter = self.counter.saturating_add(number);
        first
    }

    /// Leaves `number` numbers unused, or fewer if they would become too many altogether.
    pub(super) fn reserve(&mut self, number: u64) {
        let number = number.min(LAST_RESERVED.saturating_sub(self.counter));
        self.counter = self.counter.saturating_add(number);
    }

    /// Notes a count that doesn't come from the counter. In the end, the counter goes on after the highest of these.
    pub(super) fn pass(&mut self, count: u64) {
        self.passed = self.passed.max(count);
    }

    /// The last number handed out.
    pub(super) fn last(&self) -> u64 {
        self.counter
    }

    /// Adds a row.
    pub(super) fn put<K: Shape, V: Shape>(
        &mut self,
        table: &'static Table<K, V>,
        key: &K::Row<'_>,
        value: &V::Row<'_>,
    ) -> Result<(), ImportError> {
        self.put_raw(table, table.key_of(key), table.value_of(value))
    }

    /// Adds a row with an empty value.
    pub(super) fn mark<K: Shape>(
        &mut self,
        table: &'static Table<K, Nothing<'static>>,
        key: &K::Row<'_>,
    ) -> Result<(), ImportError> {
        self.put(table, key, &NOTHING)
    }

    /// Adds a row whose bytes are known.
    pub(super) fn put_raw(
        &mut self,
        tree: &'static Tree,
        key: Vec<u8>,
        value: Vec<u8>,
    ) -> Result<(), ImportError> {
        self.bytes = self.bytes.saturating_add(key.len()).saturating_add(value.len());
        self.batch.push(Row { tree, key, value });
        if self.bytes >= self.batch_bytes {
            self.flush()?;
        }
        Ok(())
    }

    /// A row written before; of a large tree only after [`Self::settle`]. Writes the batch first, so it is slow among many
    /// writes.
    pub(super) fn get(
        &mut self,
        tree: &'static Tree,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, ImportError> {
        self.flush()?;
        Ok(self.store.get(tree, key)?)
    }

    /// A row that has been flushed.
    pub(super) fn stored(
        &self,
        tree: &'static Tree,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, ImportError> {
        Ok(self.store.get(tree, key)?)
    }

    /// Gives a user without an account one without a password. Like [`Self::get`].
    pub(super) fn ensure_account(&mut self, user: &str) -> Result<(), ImportError> {
        if self.get(&trees::USERID_PASSWORD, user.as_bytes())?.is_none() {
            self.put(&trees::USERID_PASSWORD, &User { user }, &PasswordHash { hash: "" })?;
        }
        Ok(())
    }

    /// Keys of rows written before; like [`Self::get`].
    pub(super) fn keys(
        &mut self,
        tree: &'static Tree,
        prefix: &[u8],
    ) -> Result<Vec<Box<[u8]>>, ImportError> {
        self.flush()?;
        let rows = self.store.scan(tree, prefix)?;
        Ok(rows.map(|row| row.map(|(key, _)| key)).collect::<Result<_, _>>()?)
    }

    pub(super) fn flush(&mut self) -> Result<(), ImportError> {
        self.bytes = 0;
        if self.batch.is_empty() {
            return Ok(());
        }
        Ok(self.store.write(std::mem::take(&mut self.batch))?)
    }

    /// Makes the rows of large trees readable; see [`KvLoad::settle`].
    pub(super) fn settle(&mut self) -> Result<(), ImportError> {
        self.flush()?;
        Ok(self.store.settle()?)
    }

    /// The short id of a (type, state key), new or known.
    pub(super) fn short_state_key(&mut self, kind: &str, key: &str) -> Result<u64, ImportError> {
        if let Some(short) = self.state_keys.get(kind).and_then(|keys| keys.get(key)) {
            return Ok(*short);
        }
        if self.cached >= CACHED {
            self.flush()?;
            self.state_keys.clear();
            self.cached = 0;
            self.all_cached = false;
        }
        let name = StateKey { r#type: kind, state_key: key };
        let stored = if self.all_cached {
            None
        } else {
            let key = trees::STATEKEY_SHORTSTATEKEY.key_of(&name);
            self.store.get(&trees::STATEKEY_SHORTSTATEKEY, &key)?
        };
        let stored = stored.and_then(|value| value.try_into().ok()).map(u64::from_be_bytes);
        let short = if let Some(short) = stored {
            short
        } else {
            let short_state_key = self.next();
            let short = ShortStateKey { short_state_key };
            self.put(&trees::STATEKEY_SHORTSTATEKEY, &name, &short)?;
            self.put(&trees::SHORTSTATEKEY_STATEKEY, &short, &name)?;
            short_state_key
        };
        self.cached = self.cached.saturating_add(1);
        self.state_keys.entry(kind.to_owned()).or_default().insert(key.to_owned(), short);
        Ok(short)
    }

    /// The store, without the rows of the batch.
    pub(super) fn store(&self) -> &dyn KvRead {
        self.store
    }

    /// The short id of an event, new or known.
    pub(super) fn short_event(&mut self, id: &EventId) -> Result<u64, ImportError> {
        let stored = self.get(&trees::EVENTID_SHORTEVENTID, id.as_bytes())?;
        if let Some(short) = stored.and_then(|value| value.try_into().ok()) {
            return Ok(u64::from_be_bytes(short));
        }
        let short = self.next();
        self.name_event(id, short)?;
        Ok(short)
    }

    /// Writes the short id of an event, both ways.
    pub(super) fn name_event(&mut self, id: &EventId, short: u64) -> Result<(), ImportError> {
        let (event, short) = (Event { event: id.as_str() }, ShortEvent { short_event: short });
        self.put(&trees::EVENTID_SHORTEVENTID, &event, &short)?;
        self.put(&trees::SHORTEVENTID_EVENTID, &short, &event)
    }

    /// Writes the counter, and the rest of the batch. `is_imported` says that all numbers so far are the importer's, which is
    /// noted. Gives the last number handed out.
    pub(super) fn finish_counter(mut self, is_imported: bool) -> Result<u64, ImportError> {
        self.put_counter(is_imported)?;
        self.flush()?;
        Ok(self.counter)
    }

    fn put_counter(&mut self, is_imported: bool) -> Result<(), ImportError> {
        if is_imported {
            self.counter = self.counter.max(self.passed);
            let counter = self.counter.to_be_bytes().to_vec();
            self.put_raw(&trees::GLOBAL, trees::IMPORTED.to_vec(), counter)?;
        }
        self.put_raw(&trees::GLOBAL, b"c".to_vec(), self.counter.to_be_bytes().to_vec())
    }

    /// Writes the rows of `global`, the version last, and makes everything durable.
    pub(super) fn finish(mut self, keypair: Vec<u8>) -> Result<(), ImportError> {
        let dialect = self.store.dialect();
        self.put_raw(&trees::GLOBAL, b"keypair".to_vec(), keypair)?;
        for marker in dialect.markers() {
            self.put_raw(&trees::GLOBAL, marker.as_bytes().to_vec(), Vec::new())?;
        }
        self.put_counter(true)?;
        self.flush()?;
        let version = dialect.version().to_be_bytes().to_vec();
        self.put_raw(&trees::GLOBAL, b"version".to_vec(), version)?;
        self.flush()?;
        Ok(self.store.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conduit::store::memory::MemoryStore;

    #[test]
    fn state_keys_that_were_forgotten_are_found_again() {
        let mut store = MemoryStore::default();
        let mut rows = Rows::new(&mut store);
        let short = rows.short_state_key("m.room.member", "@a:x").unwrap();
        rows.flush().unwrap();
        rows.state_keys.clear();
        rows.all_cached = false;
        assert_eq!(rows.short_state_key("m.room.member", "@a:x").unwrap(), short);
        assert_ne!(rows.short_state_key("m.room.member", "@b:x").unwrap(), short);
    }

    #[test]
    fn what_is_reserved_has_a_limit() {
        let mut store = MemoryStore::default();
        let mut rows = Rows::new(&mut store);
        rows.reserve(u64::MAX);
        assert_eq!(rows.next(), LAST_RESERVED + 1);
        rows.reserve(7);
        assert_eq!(rows.next(), LAST_RESERVED + 2);
        assert_eq!(rows.take(3), LAST_RESERVED + 3);
        assert_eq!(rows.last(), LAST_RESERVED + 5);
    }
}
