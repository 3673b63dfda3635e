//! Conduit's default engine: one column family for each tree.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use rocksdb::{
    BlockBasedOptions, ColumnFamilyDescriptor, DB, DBCompressionType, Direction, IteratorMode,
    Options, WriteBatch, WriteOptions,
};
use rustix::{fs::FlockOperation, io::Errno};

use super::{Changes, Entries, KvError, KvStore, Mode, Row, make_directory};
use crate::conduit::trees::{self, Tree};

/// Bytes that all memtables together may take before they are written out.
const WRITE_BUFFERS: usize = 64 << 20;
/// Open files while importing or verifying; Conduit's own default.
const OPEN_FILES: i32 = 1000;

/// A RocksDB database.
pub struct RocksStore {
    path: PathBuf,
    db: DB,
    /// Keeps a Conduit from starting while the database is read.
    _reading: Option<File>,
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl RocksStore {
    /// Makes or opens a database.
    ///
    /// # Errors
    ///
    /// [`KvError::Open`], [`KvError::InUse`].
    pub fn open(directory: &Path, mode: Mode) -> Result<Self, KvError> {
        let path = directory.to_owned();
        let error = |reason: String| KvError::Open { path: path.clone(), reason };
        let reading = if mode == Mode::Read { lock(directory)? } else { None };
        let db = match mode {
            Mode::Create => {
                make_directory(directory).map_err(|cause| error(cause.to_string()))?;
                DB::open(&options(), directory)
            }
            Mode::Read | Mode::Write => {
                if !directory.join("CURRENT").is_file() {
                    return Err(error("there is no RocksDB database".into()));
                }
                DB::list_cf(&options(), directory).and_then(|names| {
                    let families =
                        names.iter().map(|name| ColumnFamilyDescriptor::new(name, options()));
                    if mode == Mode::Write {
                        return DB::open_cf_descriptors(&options(), directory, families);
                    }
                    DB::open_cf_descriptors_read_only(&options(), directory, families, false)
                })
            }
        };
        let db = db.map_err(|cause| open_error(&path, cause))?;
        Ok(Self { path, db, _reading: reading })
    }

    fn write_error(&self, cause: rocksdb::Error) -> KvError {
        KvError::Write { path: self.path.clone(), reason: cause.into_string() }
    }

    /// Makes the column family of a tree if there is none.
    fn ensure(&self, tree: &Tree) -> Result<(), KvError> {
        if self.db.cf_handle(tree.name).is_some() {
            return Ok(());
        }
        self.db.create_cf(tree.name, &options()).map_err(|cause| self.write_error(cause))
    }
}

impl KvStore for RocksStore {
    fn write(&mut self, rows: Vec<Row>) -> Result<(), KvError> {
        let mut batch = WriteBatch::default();
        for row in rows {
            self.ensure(row.tree)?;
            if let Some(family) = self.db.cf_handle(row.tree.name) {
                batch.put_cf(&family, row.key, row.value);
            }
        }
        // Nothing is replayed: an interrupted import starts anew.
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        self.db.write_opt(&batch, &write).map_err(|cause| self.write_error(cause))
    }

    fn get(&self, tree: &'static Tree, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let Some(family) = self.db.cf_handle(tree.name) else { return Ok(None) };
        self.db.get_cf(&family, key).map_err(|cause| read_error(tree, cause))
    }

    fn scan<'a>(&'a self, tree: &'static Tree, prefix: &[u8]) -> Result<Entries<'a>, KvError> {
        let Some(family) = self.db.cf_handle(tree.name) else {
            return Ok(Box::new(std::iter::empty()));
        };
        let prefix = prefix.to_vec();
        let from = IteratorMode::From(&prefix, Direction::Forward);
        let rows = self.db.iterator_cf(&family, from);
        Ok(Box::new(
            rows.take_while(move |row| {
                row.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix))
            })
            .map(move |row| row.map_err(|cause| read_error(tree, cause))),
        ))
    }

    fn foreign_trees(&self) -> Result<Vec<String>, KvError> {
        let names = DB::list_cf(&options(), &self.path).map_err(|cause| KvError::Open {
            path: self.path.clone(),
            reason: cause.into_string(),
        })?;
        Ok(names
            .into_iter()
            .filter(|name| name != "default" && trees::find(name).is_none())
            .collect())
    }

    fn commit(&mut self, changes: Changes) -> Result<(), KvError> {
        let mut batch = WriteBatch::default();
        for ((tree, key), value) in changes {
            self.ensure(tree)?;
            let Some(family) = self.db.cf_handle(tree.name) else { continue };
            match value {
                Some(value) => batch.put_cf(&family, key, value),
                None => batch.delete_cf(&family, key),
            }
        }
        let mut write = WriteOptions::default();
        write.set_sync(true);
        self.db.write_opt(&batch, &write).map_err(|cause| self.write_error(cause))
    }

    fn finish(&mut self) -> Result<(), KvError> {
        for tree in trees::TREES {
            if let Some(family) = self.db.cf_handle(tree.name) {
                self.db.flush_cf(&family).map_err(|cause| self.write_error(cause))?;
            }
        }
        self.db.flush_wal(true).map_err(|cause| self.write_error(cause))
    }
}

/// Takes RocksDB's own lock, shared with other readers; opening read-only does not look at it. A copy may have none.
fn lock(directory: &Path) -> Result<Option<File>, KvError> {
    let Ok(file) = File::open(directory.join("LOCK")) else { return Ok(None) };
    match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::AGAIN | Errno::ACCESS) => Err(KvError::InUse { path: directory.to_owned() }),
        // Not every file system has locks.
        _ => Ok(Some(file)),
    }
}

fn open_error(path: &Path, cause: rocksdb::Error) -> KvError {
    let path = path.to_owned();
    let reason = cause.into_string();
    // The one of another process, the other of this one.
    let held = ["LOCK: Resource temporarily unavailable", "lock hold by current process"];
    if held.iter().any(|text| reason.contains(text)) {
        KvError::InUse { path }
    } else {
        KvError::Open { path, reason }
    }
}

fn read_error(tree: &Tree, cause: rocksdb::Error) -> KvError {
    KvError::Read { tree: tree.name, reason: cause.into_string() }
}

/// Conduit's own options (src/database/abstraction/rocksdb.rs:23-57) as far as they shape files, so that its first start
/// has nothing to rewrite. Comparator, table format, merge operators are RocksDB's defaults, as there.
fn options() -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_bloom_filter(10.0, false);
    table.set_block_size(4 * 1024);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_optimize_filters_for_memory(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.create_if_missing(true);
    options.set_max_open_files(OPEN_FILES);
    options.set_db_write_buffer_size(WRITE_BUFFERS);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options
}
