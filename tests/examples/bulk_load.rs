//! How fast the rows of a finished database can be read, and get into an empty one: what `scripts/bench` compares verification
//! and import with.
//!
//! ```console
//! $ cargo run --release -p migration-tests --example bulk_load -- DATABASE SCRATCH
//! ```
//!
//! First, one thread reads all rows and does nothing with them. Then all rows are laid out in flat files, one for each tree, sorted. After that, with the clock running, they are read back
//! from there, two threads write sorted table files of 64 MiB with Conduit's own options, and the database takes these
//! files in: no log, no memory tables, no compaction. Nothing that imports can be faster, as it would have to write less.
//! At last, the same bytes are written to one file in order, and made durable: what the disk alone allows.

#![expect(
    clippy::as_conversions,
    clippy::disallowed_methods,
    reason = "it measures time, and its numbers are small"
)]

use std::{
    fs::File,
    hint::black_box,
    io::{BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::Instant,
};

use anyhow::Context as _;
use clap::Parser;
use rocksdb::{
    BlockBasedOptions, ColumnFamilyDescriptor, DB, DBCompressionType, IngestExternalFileOptions,
    IteratorMode, Options, SstFileWriter,
};
use serde_json::json;

/// Bytes of rows in a table file; RocksDB's own target.
const TABLE: usize = 64 << 20;
const THREADS: usize = 2;

/// Loads the rows of a database into another one as fast as they can be.
#[derive(Parser)]
struct Arguments {
    /// The finished database.
    database: PathBuf,
    /// An empty directory on the same disk.
    scratch: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let Arguments { database, scratch } = Arguments::parse();
    let flat = scratch.join("flat");
    std::fs::create_dir_all(&flat)?;
    let begin = Instant::now();
    scan(&database)?;
    let scanned = begin.elapsed();

    let (trees, rows, bytes) = lay_out(&database, &flat)?;
    let begin = Instant::now();
    load(&trees, &flat, &scratch)?;
    let loaded = begin.elapsed();

    let begin = Instant::now();
    copy(&trees, &flat, &scratch.join("raw"))?;
    let raw = begin.elapsed();
    let seconds = json!({
        "rows": rows, "bytes": bytes, "scan": scanned.as_secs_f64(), "bulk": loaded.as_secs_f64(),
        "raw": raw.as_secs_f64(),
    });
    writeln!(std::io::stdout(), "{seconds}")?;
    Ok(())
}

/// Opens a finished database for reading, with the names of its trees.
fn open(database: &Path) -> anyhow::Result<(DB, Vec<String>)> {
    let names = DB::list_cf(&Options::default(), database)?;
    let families = names.iter().map(|name| ColumnFamilyDescriptor::new(name, options()));
    let db = DB::open_cf_descriptors_read_only(&Options::default(), database, families, false)?;
    Ok((db, names))
}

/// Reads all rows.
fn scan(database: &Path) -> anyhow::Result<()> {
    let (db, names) = open(database)?;
    for name in names {
        let family = db.cf_handle(&name).context("it is open")?;
        let mut rows = db.raw_iterator_cf(&family);
        rows.seek_to_first();
        while let Some(row) = rows.item() {
            black_box(row);
            rows.next();
        }
        rows.status()?;
    }
    Ok(())
}

/// Writes all rows to flat files. Returns the names of trees, and how many rows and bytes there are.
fn lay_out(database: &Path, flat: &Path) -> anyhow::Result<(Vec<String>, u64, u64)> {
    let (db, names) = open(database)?;
    let (mut trees, mut rows, mut bytes) = (Vec::new(), 0_u64, 0_u64);
    for name in names {
        let family = db.cf_handle(&name).context("it is open")?;
        let mut file = BufWriter::with_capacity(1 << 20, File::create(flat.join(&name))?);
        let before = rows;
        for row in db.iterator_cf(&family, IteratorMode::Start) {
            let (key, value) = row?;
            for part in [&key, &value] {
                file.write_all(&u32::try_from(part.len())?.to_be_bytes())?;
                file.write_all(part)?;
                bytes = bytes.saturating_add(part.len() as u64);
            }
            rows = rows.saturating_add(1);
        }
        file.flush()?;
        if rows > before {
            trees.push(name);
        }
    }
    Ok((trees, rows, bytes))
}

/// Rows of a tree that make one table file.
type Table = (usize, PathBuf, Vec<(Vec<u8>, Vec<u8>)>);

fn load(trees: &[String], flat: &Path, scratch: &Path) -> anyhow::Result<()> {
    let tables = scratch.join("tables");
    std::fs::create_dir_all(&tables)?;
    let (sender, receiver) = sync_channel::<Table>(THREADS);
    let receiver = Arc::new(Mutex::new(receiver));
    let files = thread::scope(|scope| -> anyhow::Result<_> {
        let writers: Vec<_> = (0..THREADS)
            .map(|_| {
                let receiver = Arc::clone(&receiver);
                scope.spawn(move || write_tables(&receiver))
            })
            .collect();
        for (number, tree) in trees.iter().enumerate() {
            let mut rows = BufReader::with_capacity(1 << 20, File::open(flat.join(tree))?);
            for part in 0.. {
                let table = read_table(&mut rows)?;
                if table.is_empty() {
                    break;
                }
                sender.send((number, tables.join(format!("{number}-{part}")), table))?;
            }
        }
        drop(sender);
        let mut files = Vec::new();
        for writer in writers {
            files.extend(writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??);
        }
        Ok(files)
    })?;

    let target = scratch.join("bulk");
    let mut create = options();
    create.create_if_missing(true);
    create.create_missing_column_families(true);
    let families = trees.iter().map(|name| ColumnFamilyDescriptor::new(name, options()));
    let db = DB::open_cf_descriptors(&create, &target, families)?;
    let mut ingest = IngestExternalFileOptions::default();
    ingest.set_move_files(true);
    for (number, tree) in trees.iter().enumerate() {
        let family = db.cf_handle(tree).context("it is open")?;
        let of_tree = files.iter().filter(|(of, _)| *of == number).map(|(_, path)| path);
        db.ingest_external_file_cf_opts(&family, &ingest, of_tree.collect())?;
    }
    Ok(())
}

fn read_table(file: &mut impl Read) -> anyhow::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while bytes < TABLE {
        let Some(key) = read_part(file)? else { break };
        let value = read_part(file)?.context("a key without a value")?;
        bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
        rows.push((key, value));
    }
    Ok(rows)
}

fn read_part(file: &mut impl Read) -> anyhow::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match file.read_exact(&mut length) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut part = vec![0; u32::from_be_bytes(length) as usize];
    file.read_exact(&mut part)?;
    Ok(Some(part))
}

fn write_tables(receiver: &Mutex<Receiver<Table>>) -> anyhow::Result<Vec<(usize, PathBuf)>> {
    let mut files = Vec::new();
    let next = || receiver.lock().ok().and_then(|tables| tables.recv().ok());
    while let Some((number, path, rows)) = next() {
        let options = options();
        let mut writer = SstFileWriter::create(&options);
        writer.open(&path)?;
        for (key, value) in rows {
            writer.put(key, value)?;
        }
        // It makes the file durable.
        writer.finish()?;
        files.push((number, path));
    }
    Ok(files)
}

/// The same bytes in one file.
fn copy(trees: &[String], flat: &Path, target: &Path) -> anyhow::Result<()> {
    let mut file = File::create(target)?;
    let mut buffer = vec![0; 8 << 20];
    for tree in trees {
        let mut rows = File::open(flat.join(tree))?;
        loop {
            let length = rows.read(&mut buffer)?;
            let Some(part) = buffer.get(..length).filter(|part| !part.is_empty()) else { break };
            file.write_all(part)?;
        }
    }
    Ok(file.sync_all()?)
}

/// The options with which the import writes: Conduit's own, as far as they shape files.
fn options() -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_bloom_filter(10.0, false);
    table.set_block_size(4 * 1024);
    table.set_cache_index_and_filter_blocks(true);
    table.set_optimize_filters_for_memory(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.set_level_compaction_dynamic_level_bytes(true);
    options
}
