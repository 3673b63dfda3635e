//! Conduit's other engine: `conduit.db` with one table for each tree.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, params, params_from_iter,
};

use super::{
    Changes, Entries, Entry, KvCommit, KvError, KvLoad, KvRead, Mode, Row,
    bulk::{Collected, Sorted},
    make_directory,
};
use crate::{
    conduit::schema::trees::{TREES, Tree},
    fs::open_by,
};

/// Rows that a scan reads at once.
const PAGE: usize = 1000;
/// Rows that one statement inserts.
const INSERTED: usize = 50;
/// KiB of pages that are kept in memory; negative, as SQLite wants it.
const CACHE: i64 = -(64 << 10);

/// Why rows could not be written.
type Failed = Box<dyn std::error::Error + Send + Sync>;

/// A SQLite database.
#[derive(Debug)]
pub(super) struct SqliteStore {
    path: PathBuf,
    connection: Connection,
    /// Rows of large trees that are not in the database yet.
    collected: Collected,
}

impl SqliteStore {
    /// Makes or opens a database.
    ///
    /// # Errors
    ///
    /// [`KvError::Open`], [`KvError::InUse`].
    pub(super) fn open(directory: &Path, mode: Mode) -> Result<Self, KvError> {
        let path = directory.to_owned();
        let error = |reason: String| KvError::Open { path: path.clone(), reason };
        let file = directory.join("conduit.db");
        let opened = match mode {
            Mode::Create(_) => {
                make_directory(directory).map_err(|cause| error(cause.to_string()))?;
                create(&file)
            }
            Mode::Read => {
                // It could be read, but not be compared with a dump while it changes.
                if open_by::holder(&file).is_ok_and(|holder| holder.is_some()) {
                    return Err(KvError::InUse { path });
                }
                Connection::open_with_flags(
                    &file,
                    OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
                )
            }
            Mode::Change => own(&file),
        };
        let connection = opened.map_err(|cause| match cause.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                KvError::InUse { path: path.clone() }
            }
            _ => error(cause.to_string()),
        })?;
        Ok(Self { path, connection, collected: Collected::new(directory) })
    }

    fn write_error(&self, cause: &dyn std::error::Error) -> KvError {
        KvError::Write { path: self.path.clone(), reason: cause.to_string() }
    }

    fn write_rows(&mut self, rows: Vec<Row>) -> Result<(), Failed> {
        let transaction = self.connection.transaction()?;
        for row in rows {
            let Some(row) = self.collected.push(row) else { continue };
            transaction
                .prepare_cached(&insert(row.tree, 1))?
                .execute(params![row.key, row.value])?;
        }
        while let Some(rows) = self.collected.due()? {
            write_sorted(&transaction, rows)?;
        }
        Ok(transaction.commit()?)
    }

    fn write_collected(&mut self) -> Result<(), Failed> {
        let transaction = self.connection.transaction()?;
        for rows in self.collected.drain()? {
            write_sorted(&transaction, rows)?;
        }
        Ok(transaction.commit()?)
    }

    fn make_changes(&mut self, changes: Changes) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        for ((tree, key), value) in changes {
            let sql = match value {
                Some(_) => {
                    format!("INSERT OR REPLACE INTO {} (key, value) VALUES (?1, ?2)", tree.name)
                }
                None => format!("DELETE FROM {} WHERE key = ?1 AND ?2 IS NULL", tree.name),
            };
            transaction.prepare_cached(&sql)?.execute(params![key, value])?;
        }
        transaction.commit()
    }

    /// Up to [`PAGE`] rows with the prefix, from `from` on, or after it.
    fn page(
        &self,
        tree: &'static Tree,
        prefix: &[u8],
        from: &[u8],
        after: Option<&[u8]>,
    ) -> rusqlite::Result<Vec<Entry>> {
        if !self.has(tree)? {
            return Ok(Vec::new());
        }
        let comparison = if after.is_some() { ">" } else { ">=" };
        let sql = format!(
            "SELECT key, value FROM {} WHERE key {comparison} ? ORDER BY key LIMIT {PAGE}",
            tree.name
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params![after.unwrap_or(from)], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?.into(), row.get::<_, Vec<u8>>(1)?.into()))
        })?;
        let belongs = |row: &rusqlite::Result<Entry>| {
            row.as_ref().map_or(true, |(key, _)| key.starts_with(prefix))
        };
        rows.take_while(belongs).collect()
    }

    /// All rows of a tree with the prefix and from a key on.
    fn pages(&self, tree: &'static Tree, prefix: Vec<u8>, from: Vec<u8>) -> Entries<'_> {
        let mut page = Vec::new().into_iter();
        let mut last: Option<Box<[u8]>> = None;
        let mut more = true;
        Box::new(std::iter::from_fn(move || {
            if page.len() == 0 && more {
                match self.page(tree, &prefix, &from, last.as_deref()) {
                    Ok(rows) => {
                        more = rows.len() == PAGE;
                        page = rows.into_iter();
                    }
                    Err(cause) => {
                        more = false;
                        return Some(Err(read_error(tree, &cause)));
                    }
                }
            }
            let entry: Entry = page.next()?;
            last = Some(entry.0.clone());
            Some(Ok(entry))
        }))
    }

    fn has(&self, tree: &Tree) -> rusqlite::Result<bool> {
        let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?";
        self.connection.prepare_cached(sql)?.exists([tree.name])
    }
}

impl KvRead for SqliteStore {
    fn get(&self, tree: &'static Tree, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let read = || {
            if !self.has(tree)? {
                return Ok(None);
            }
            let sql = format!("SELECT value FROM {} WHERE key = ?", tree.name);
            self.connection
                .prepare_cached(&sql)?
                .query_row(params![key], |row| row.get(0))
                .optional()
        };
        read().map_err(|cause| read_error(tree, &cause))
    }

    fn scan<'a>(&'a self, tree: &'static Tree, prefix: &[u8]) -> Result<Entries<'a>, KvError> {
        Ok(self.pages(tree, prefix.to_vec(), prefix.to_vec()))
    }

    fn scan_from<'a>(&'a self, tree: &'static Tree, from: &[u8]) -> Result<Entries<'a>, KvError> {
        Ok(self.pages(tree, Vec::new(), from.to_vec()))
    }

    fn rows(&self, tree: &'static Tree) -> Result<u64, KvError> {
        let read = || {
            if !self.has(tree)? {
                return Ok(0);
            }
            let sql = format!("SELECT count(*) FROM {}", tree.name);
            self.connection.query_row(&sql, [], |row| row.get(0))
        };
        read().map_err(|cause| read_error(tree, &cause))
    }

    fn foreign_trees(&self) -> Result<Vec<String>, KvError> {
        let read = || {
            let sql = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name";
            self.connection
                .prepare(sql)?
                .query_map([], |row| row.get::<_, String>(0))?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let names = read()
            .map_err(|cause| KvError::Read { tree: "sqlite_master", reason: cause.to_string() })?;
        Ok(names.into_iter().filter(|name| !TREES.iter().any(|tree| tree.name == name)).collect())
    }
}

impl KvLoad for SqliteStore {
    fn write(&mut self, rows: Vec<Row>) -> Result<(), KvError> {
        self.write_rows(rows).map_err(|cause| self.write_error(cause.as_ref()))
    }

    fn settle(&mut self) -> Result<(), KvError> {
        self.write_collected().map_err(|cause| self.write_error(cause.as_ref()))
    }

    fn finish(&mut self) -> Result<(), KvError> {
        self.settle()?;
        self.checkpoint()
    }
}

impl KvCommit for SqliteStore {
    fn commit(&mut self, changes: Changes) -> Result<(), KvError> {
        self.make_changes(changes).map_err(|cause| self.write_error(&cause))
    }

    fn checkpoint(&mut self) -> Result<(), KvError> {
        // Conduit's mode. Also the moment at which everything is on disk.
        self.connection
            .pragma_update(None, "synchronous", "FULL")
            .and_then(|()| self.connection.pragma_update(None, "journal_mode", "WAL"))
            .and_then(|()| self.connection.pragma_update(None, "wal_checkpoint", "TRUNCATE"))
            .map_err(|cause| self.write_error(&cause))
    }
}

/// Inserts rows in the order of their keys, which appends to the pages of a tree that has none beyond.
fn write_sorted(transaction: &Transaction<'_>, mut rows: Sorted) -> Result<(), Failed> {
    let mut many = transaction.prepare_cached(&insert(rows.tree(), INSERTED))?;
    let mut one = transaction.prepare_cached(&insert(rows.tree(), 1))?;
    let mut chunk = Vec::with_capacity(INSERTED);
    while let Some((key, value)) = rows.next()? {
        chunk.push((key.to_vec(), value.to_vec()));
        if chunk.len() == INSERTED {
            many.execute(params_from_iter(chunk.drain(..).flat_map(|(key, value)| [key, value])))?;
        }
    }
    for (key, value) in chunk {
        one.execute(params![key, value])?;
    }
    Ok(())
}

/// The statement that inserts a number of rows. Names come from the table of trees.
fn insert(tree: &Tree, rows: usize) -> String {
    let values = ["(?, ?)"].repeat(rows).join(", ");
    format!("INSERT OR REPLACE INTO {} (key, value) VALUES {values}", tree.name)
}

fn read_error(tree: &Tree, cause: &rusqlite::Error) -> KvError {
    KvError::Read { tree: tree.name, reason: cause.to_string() }
}

/// The tables as Conduit makes them (src/database/abstraction/sqlite.rs:50-60, 108-116).
fn create(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.pragma_update(None, "page_size", 2048)?;
    // An interrupted import starts anew: no journal is needed while it runs.
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "cache_size", CACHE)?;
    tables(&connection)?;
    Ok(connection)
}

/// An existing database, which nobody else can open until the connection is closed. A Conduit that has it open is in the
/// way: the log can be given up only by whoever is alone.
fn own(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(Duration::ZERO)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")?;
    // Conduit's modes again.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    tables(&connection)?;
    Ok(connection)
}

fn tables(connection: &Connection) -> rusqlite::Result<()> {
    for tree in TREES {
        connection.execute(
            &format!(
                "CREATE TABLE IF NOT EXISTS {} ( \"key\" BLOB PRIMARY KEY, \"value\" BLOB NOT NULL )",
                tree.name
            ),
            [],
        )?;
    }
    connection.set_prepared_statement_cache_capacity(TREES.len() * 3);
    Ok(())
}
