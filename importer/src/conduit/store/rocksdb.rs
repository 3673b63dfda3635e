//! Conduit's default engine: one column family for each tree.

mod division;
mod sst_files;

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, CompactOptions, DB, DBCompressionType,
    Direction, IteratorMode, LruCacheOptions, Options, Range, ReadOptions, WriteBatch,
    WriteOptions,
};
use rustix::{fs::FlockOperation, io::Errno};

use self::sst_files::Files;
use super::{Changes, Entries, KvCommit, KvError, KvLoad, KvRead, Mode, Row, make_directory};
use crate::conduit::schema::trees::{CONTINUWUITY, TREES, Tree};

/// Bytes that all memtables together may take before they are written out. Large trees don't go through them.
const WRITE_BUFFERS: usize = 32 << 20;
/// Bytes of blocks, indexes and filters that are kept for reading.
const CACHE: usize = 128 << 20;
/// The same for who reads only, and that mostly in order.
const CACHE_OF_READERS: usize = 64 << 20;
/// The cache has two to the power of this many parts. Left to itself, RocksDB makes 64 of them; the filter of a file of a
/// million rows does not fit into a 64th of it, and is read anew for each row that is looked up.
const CACHE_PARTS: i32 = 2;
/// Open files while importing or verifying; Conduit's own default.
const OPEN_FILES: i32 = 1000;
/// Trees that are written out at once. Each waits for the disk several times, to make its file and to note it.
const WAITING: usize = 16;
/// Levels of a column family, RocksDB's default.
const LEVELS: usize = 7;
/// RocksDB's threads while a database is made: a quarter of them writes out, the others compact.
const JOBS: i32 = 16;

/// A RocksDB database.
pub(super) struct RocksStore {
    path: PathBuf,
    mode: Mode,
    db: DB,
    options: Options,
    /// Rows of large trees that are not in the database yet.
    files: Files,
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
    pub(super) fn open(directory: &Path, mode: Mode) -> Result<Self, KvError> {
        let path = directory.to_owned();
        let error = |reason: String| KvError::Open { path: path.clone(), reason };
        let options = options(mode);
        let reading = if mode == Mode::Read { lock(directory)? } else { None };
        let db = match mode {
            Mode::Create(dialect) => {
                make_directory(directory).map_err(|cause| error(cause.to_string()))?;
                // All at once: one by one, RocksDB writes and reads back the options of all for each.
                let mut create = options.clone();
                create.create_missing_column_families(true);
                let families = dialect
                    .families()
                    .map(|tree| ColumnFamilyDescriptor::new(tree.name, options.clone()));
                DB::open_cf_descriptors(&create, directory, families)
            }
            Mode::Read | Mode::Change => {
                if !directory.join("CURRENT").is_file() {
                    return Err(error("there is no RocksDB database".into()));
                }
                DB::list_cf(&options, directory).and_then(|names| {
                    let families =
                        names.iter().map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
                    if mode == Mode::Change {
                        return DB::open_cf_descriptors(&options, directory, families);
                    }
                    DB::open_cf_descriptors_read_only(&options, directory, families, false)
                })
            }
        };
        let db = db.map_err(|cause| open_error(&path, cause))?;
        let files = Files::new(&path, &options);
        Ok(Self { path, mode, db, options, files, _reading: reading })
    }

    /// Its directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a tree's column family if there is none.
    fn create(&self, tree: &Tree) -> Result<(), KvError> {
        if self.db.cf_handle(tree.name).is_none() {
            self.db.create_cf(tree.name, &self.options).map_err(|cause| self.write_error(cause))?;
        }
        Ok(())
    }

    /// Writes out a tree's memtable. In a new database, moves all its rows to the last level, unless they are there
    /// already or are all in one file.
    fn write_out(&self, tree: &Tree) -> Result<(), KvError> {
        let Some(family) = self.db.cf_handle(tree.name) else { return Ok(()) };
        self.db.flush_cf(&family).map_err(|cause| self.write_error(cause))?;
        if !self.mode.is_new() {
            return Ok(());
        }
        let mut files = Vec::new();
        for level in 0..LEVELS {
            let name = format!("rocksdb.num-files-at-level{level}");
            let number = self.db.property_value_cf(&family, &name);
            files.push(number.map_err(|cause| self.write_error(cause))?);
        }
        let has_files = |files: &&Option<String>| files.as_deref() != Some("0");
        let in_one_level = files.iter().filter(has_files).count() < 2;
        let mut of_first = files.iter().take(1).flatten();
        if in_one_level && of_first.all(|files| files == "0" || files == "1") {
            return Ok(());
        }
        let mut compact = CompactOptions::default();
        compact.set_exclusive_manual_compaction(false);
        self.db.compact_range_cf_opt(&family, None::<&[u8]>, None::<&[u8]>, &compact);
        Ok(())
    }

    /// The same of all trees.
    fn write_out_all(&self) -> Result<(), KvError> {
        let all: Vec<_> = TREES.into_iter().chain(CONTINUWUITY).collect();
        each_waiting(&all, |tree| self.write_out(tree))?;
        let property = "rocksdb.background-errors";
        let errors =
            self.db.property_int_value(property).map_err(|cause| self.write_error(cause))?;
        if errors.is_some_and(|errors| errors > 0) {
            return Err(KvError::Write {
                path: self.path.clone(),
                reason: self.background_error(),
            });
        }
        self.db.flush_wal(true).map_err(|cause| self.write_error(cause))
    }

    /// What went wrong while nobody waited for it. RocksDB says so in its log alone.
    fn background_error(&self) -> String {
        let log = std::fs::read(self.path.join("LOG")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let error =
            log.lines().rev().find_map(|line| line.find("IO error").and_then(|at| line.get(at..)));
        error.unwrap_or("compacting it failed; RocksDB's file `LOG` says why").to_owned()
    }

    fn write_error(&self, cause: rocksdb::Error) -> KvError {
        KvError::Write { path: self.path.clone(), reason: cause.into_string() }
    }
}

impl KvRead for RocksStore {
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

    fn scan_from<'a>(&'a self, tree: &'static Tree, from: &[u8]) -> Result<Entries<'a>, KvError> {
        let Some(family) = self.db.cf_handle(tree.name) else {
            return Ok(Box::new(std::iter::empty()));
        };
        let rows = self.db.iterator_cf(&family, IteratorMode::From(from, Direction::Forward));
        Ok(Box::new(rows.map(move |row| row.map_err(|cause| read_error(tree, cause)))))
    }

    fn visit(
        &self,
        tree: &'static Tree,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        let Some(family) = self.db.cf_handle(tree.name) else { return Ok(()) };
        // What is read once from end to end would only drive out of the cache what is looked up.
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let mut rows = self.db.raw_iterator_cf_opt(&family, options);
        rows.seek(from);
        while let (Some(key), Some(value)) = (rows.key(), rows.value()) {
            if !visit(key, value) {
                return Ok(());
            }
            rows.next();
        }
        rows.status().map_err(|cause| read_error(tree, cause))
    }

    fn divide(&self, tree: &'static Tree, bytes: u64) -> Result<Vec<Vec<u8>>, KvError> {
        let Some(family) = self.db.cf_handle(tree.name) else { return Ok(Vec::new()) };
        let mut rows = self.db.raw_iterator_cf(&family);
        rows.seek_to_first();
        let first = rows.key().map(<[u8]>::to_vec);
        rows.seek_to_last();
        let last = rows.key().map(<[u8]>::to_vec);
        rows.status().map_err(|cause| read_error(tree, cause))?;
        let size = |from: &[u8], until: &[u8]| {
            let sizes = self.db.get_approximate_sizes_cf(&family, &[Range::new(from, until)]);
            sizes.first().copied().unwrap_or(0)
        };
        Ok(first
            .zip(last)
            .map_or_else(Vec::new, |(first, last)| division::divide(first, last, bytes, &size)))
    }

    fn rows(&self, tree: &'static Tree) -> Result<u64, KvError> {
        let Some(family) = self.db.cf_handle(tree.name) else { return Ok(0) };
        let rows = self.db.property_int_value_cf(&family, "rocksdb.estimate-num-keys");
        Ok(rows.map_err(|cause| read_error(tree, cause))?.unwrap_or(0))
    }

    fn shared(&self) -> Option<&(dyn KvRead + Sync)> {
        Some(self)
    }

    fn foreign_trees(&self) -> Result<Vec<String>, KvError> {
        let names = DB::list_cf(&self.options, &self.path).map_err(|cause| KvError::Open {
            path: self.path.clone(),
            reason: cause.into_string(),
        })?;
        Ok(names
            .into_iter()
            .filter(|name| name != "default" && !TREES.iter().any(|tree| tree.name == name))
            .collect())
    }
}

impl KvLoad for RocksStore {
    fn write(&mut self, rows: Vec<Row>) -> Result<(), KvError> {
        let mut batch = WriteBatch::default();
        for row in rows {
            let Some(row) = self.files.take(row)? else { continue };
            self.create(row.tree)?;
            if let Some(family) = self.db.cf_handle(row.tree.name) {
                batch.put_cf(&family, row.key, row.value);
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        // Nothing is replayed: an interrupted import starts anew.
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        self.db.write_opt(&batch, &write).map_err(|cause| self.write_error(cause))
    }

    fn settle(&mut self) -> Result<(), KvError> {
        let mut files: BTreeMap<_, (_, Vec<_>)> = BTreeMap::new();
        for (tree, file) in self.files.finish()? {
            files.entry(tree.name).or_insert_with(|| (tree, Vec::new())).1.push(file);
        }
        for (tree, _) in files.values() {
            self.create(tree)?;
        }
        let trees: Vec<_> = files.into_values().collect();
        each_waiting(&trees, |(tree, files)| {
            let Some(family) = self.db.cf_handle(tree.name) else { return Ok(()) };
            let mut files = files.iter();
            let added = files.try_for_each(|file| sst_files::add(&self.db, &family, file));
            added.map_err(|cause| self.write_error(cause))
        })?;
        self.files.clean()
    }

    fn finish(&mut self) -> Result<(), KvError> {
        self.settle()?;
        self.write_out_all()
    }
}

impl KvCommit for RocksStore {
    fn commit(&mut self, changes: Changes) -> Result<(), KvError> {
        let mut batch = WriteBatch::default();
        for ((tree, key), value) in changes {
            self.create(tree)?;
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

    fn checkpoint(&mut self) -> Result<(), KvError> {
        self.write_out_all()
    }
}

/// Does what mostly waits for the disk with many items at once. Of several errors, that of the first item is returned.
fn each_waiting<T: Sync>(
    items: &[T],
    each: impl Fn(&T) -> Result<(), KvError> + Sync,
) -> Result<(), KvError> {
    let together = items.len().div_ceil(WAITING).max(1);
    std::thread::scope(|scope| {
        let each = &each;
        let threads: Vec<_> = items
            .chunks(together)
            .map(|items| scope.spawn(move || items.iter().try_for_each(each)))
            .collect();
        let results = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        results.collect()
    })
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
/// has nothing to rewrite. Comparator, table format, merge operators are RocksDB's defaults, as there. A tree of a new database
/// is compacted at the end and only then, if it has several files that are not in the last level.
fn options(mode: Mode) -> Options {
    let mut table = BlockBasedOptions::default();
    // The newest that Conduit's release and those descended from it read; a later crate may have another default.
    table.set_format_version(6);
    table.set_bloom_filter(10.0, false);
    table.set_block_size(4 * 1024);
    table.set_cache_index_and_filter_blocks(true);
    // While a large database is made, the filters of all files that are added would not fit into the cache.
    table.set_pin_l0_filter_and_index_blocks_in_cache(!mode.is_new());
    table.set_optimize_filters_for_memory(true);
    let mut cache = LruCacheOptions::default();
    cache.set_capacity(if mode == Mode::Read { CACHE_OF_READERS } else { CACHE });
    cache.set_num_shard_bits(CACHE_PARTS);
    table.set_block_cache(&Cache::new_lru_cache_opts(&cache));
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.create_if_missing(true);
    options.set_max_open_files(OPEN_FILES);
    options.set_db_write_buffer_size(WRITE_BUFFERS);
    // Rows of a new database stay in the file into which they are written out, if there is only one.
    let compression = if mode.is_new() { DBCompressionType::Zstd } else { DBCompressionType::Lz4 };
    options.set_compression_type(compression);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_disable_auto_compactions(mode.is_new());
    options.set_max_background_jobs(if mode.is_new() { JOBS } else { 4 });
    options.set_max_subcompactions(2);
    options.set_bytes_per_sync(1 << 20);
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conduit::schema::{dialect::Dialect, trees};

    /// What comes after the large trees were settled: one row, with a key that they have.
    #[test]
    fn later_rows_replace_earlier_ones_and_leave_one_level() {
        let scratch = tempfile::tempdir().unwrap();
        let mut store = RocksStore::open(scratch.path(), Mode::Create(Dialect::Conduit)).unwrap();
        let row = |key: u64, value: u8| Row {
            tree: &trees::USERROOMID_JOINED,
            key: key.to_be_bytes().to_vec(),
            value: vec![value],
        };
        store.write(vec![row(1, 1), row(2, 1), row(3, 1)]).unwrap();
        store.settle().unwrap();
        store.write(vec![row(2, 2)]).unwrap();
        store.finish().unwrap();
        let value = |key: u64| store.get(&trees::USERROOMID_JOINED, &key.to_be_bytes()).unwrap();
        assert_eq!([1, 2, 3].map(value), [1, 2, 1].map(|value| Some(vec![value])));
        let family = store.db.cf_handle(trees::USERROOMID_JOINED.name).unwrap();
        let files = store.db.property_value_cf(&family, "rocksdb.num-files-at-level0").unwrap();
        assert_eq!(files.as_deref(), Some("0"));
    }

    #[test]
    fn of_several_errors_the_first_is_returned() {
        let items: Vec<u8> = (0..40).collect();
        assert!(each_waiting(&items, |_| Ok(())).is_ok());
        let fail = |item: &u8| match item {
            20 => Err(KvError::Read { tree: "twentieth", reason: String::new() }),
            30 => Err(KvError::Read { tree: "thirtieth", reason: String::new() }),
            _ => Ok(()),
        };
        let error = each_waiting(&items, fail).unwrap_err();
        assert!(matches!(error, KvError::Read { tree: "twentieth", .. }), "{error}");
    }

    /// More rows than are held, out of order: all of them are in the last level before anything was compacted.
    #[test]
    fn merged_rows_need_no_compaction() {
        let scratch = tempfile::tempdir().unwrap();
        let mut store = RocksStore::open(scratch.path(), Mode::Create(Dialect::Conduit)).unwrap();
        let keys = (0..3000_u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for key in keys.clone() {
            let value = vec![0; 64 << 10];
            let row = Row { tree: &trees::TOKENIDS, key: key.to_be_bytes().to_vec(), value };
            store.write(vec![row]).unwrap();
        }
        store.settle().unwrap();
        let files = |level: usize| {
            let family = store.db.cf_handle(trees::TOKENIDS.name).unwrap();
            let name = format!("rocksdb.num-files-at-level{level}");
            store.db.property_value_cf(&family, &name).unwrap().unwrap()
        };
        let levels: Vec<_> = (0..7).map(files).collect();
        assert_eq!(levels, ["0", "0", "0", "0", "0", "0", "3"]);
        let mut expected: Vec<_> = keys.map(u64::to_be_bytes).collect();
        expected.sort_unstable();
        let stored: Vec<_> = store
            .scan(&trees::TOKENIDS, &[])
            .unwrap()
            .map(|row| <[u8; 8]>::try_from(&*row.unwrap().0).unwrap())
            .collect();
        assert_eq!(stored, expected);
    }
}
