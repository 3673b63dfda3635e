//! Reads a Conduit database back and says whether it is whole, and whether it is what the dump says.
//!
//! Nothing here shares a code path with [`crate::import`]: expectations are worked out anew from the dump, and rows are
//! decoded by the table of layouts.
//!
//! Codes of findings are in [`crate::findings::codes`].

mod against_dump;
mod structure;
mod tools;

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::resume_unwind,
    path::PathBuf,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
};

use tools::{prepared::Unread, sequence_hash, since_import::SinceImport};

use crate::{
    conduit::store::{KvError, KvRead},
    dump::{DumpReader, MediaStore, PreparedMedia, ReadError},
    findings::{Finding, collector::Findings},
    fs::{ContentDirectory, ContentHash},
    progress::Progress,
    tally::Skip,
};

/// Why a database could not be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The dump could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database could not be read.
    #[error(transparent)]
    Kv(#[from] KvError),
}

/// What was verified.
#[derive(Debug, Default, serde::Serialize)]
pub struct Verified {
    /// Rows read, by tree.
    pub rows: BTreeMap<&'static str, u64>,
    /// Bytes of their keys and values, by tree.
    pub bytes: BTreeMap<&'static str, u64>,
    /// Everything that is not as it should be, sorted.
    pub findings: Vec<Finding>,
}

/// Looks at a database alone and against its dump, and at media files. `skipped` is what the import left out, if known.
///
/// # Errors
///
/// [`VerifyError`].
pub fn everything(
    store: &dyn KvRead,
    dump: &DumpReader,
    files: Files<'_>,
    skipped: &[Skip],
    how: StateComparison,
    progress: Progress,
) -> Result<Verified, VerifyError> {
    let is_over = AtomicBool::new(false);
    let rows = |store: &dyn KvRead| {
        // Files can take hours.
        let end = |_: &VerifyError| is_over.store(true, Ordering::Relaxed);
        rows(store, dump, skipped, how, &progress).inspect_err(end)
    };
    let media =
        |store: &dyn KvRead| media_until(&is_over, store, Some(dump), files, skipped, &progress);
    both(store, rows, media)
}

/// The same without media files: [`structure()`] and [`against_dump()`] at once, for which timelines are read once.
///
/// # Errors
///
/// [`VerifyError`].
pub fn rows(
    store: &dyn KvRead,
    dump: &DumpReader,
    skipped: &[Skip],
    how: StateComparison,
    progress: &Progress,
) -> Result<Verified, VerifyError> {
    let server_name = &dump.manifest().server_name;
    let (sender, timelines) = sync_channel(1);
    // Nobody waits for them if the comparison has failed.
    let tell = move |timelines| drop(sender.send(timelines));
    let alone = |store: &dyn KvRead| structure::check(store, server_name, progress, tell);
    let beside = move |store: &dyn KvRead| match timelines.recv() {
        Ok(timelines) => compare(store, dump, skipped, how, &timelines, progress),
        // They could not be read, which the other one says.
        Err(_) => Ok(Verified::default()),
    };
    both(store, alone, beside)
}

/// Makes both verifications: at once, if the store can be read by several threads. Each has stretches in which it waits for one core.
/// An error of the first one counts more.
fn both(
    store: &dyn KvRead,
    first: impl FnOnce(&dyn KvRead) -> Result<Verified, VerifyError>,
    second: impl FnOnce(&dyn KvRead) -> Result<Verified, VerifyError> + Send,
) -> Result<Verified, VerifyError> {
    let (mut verified, other) = match store.shared() {
        None => (first(store)?, second(store)?),
        Some(store) => std::thread::scope(|scope| {
            let second = scope.spawn(move || second(store));
            let first = first(store);
            let second = second.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok::<_, VerifyError>((first?, second?))
        })?,
    };
    verified.findings.extend(other.findings);
    verified.findings.sort();
    Ok(verified)
}

/// Checks a database on its own: every row decodes, every index has its other direction, ids are unique and below the
/// counter, events are what their ids, hashes and signatures say, state expands to what exists.
///
/// # Errors
///
/// [`VerifyError::Kv`].
pub fn structure(
    store: &dyn KvRead,
    server_name: &str,
    progress: &Progress,
) -> Result<Verified, VerifyError> {
    structure::check(store, server_name, progress, drop)
}

/// How the states before events are compared with those of the dump. In any case each is, in what differs from one that was
/// compared before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateComparison {
    /// Of every thousand states of a room, one is put together and compared whole.
    #[default]
    Sample,
    /// Every state is put together and compared whole.
    All,
}

/// Compares a database with the dump it was made from, in both directions: missing, extra, different, by kind. What the
/// import left out (`skipped`) explains what is missing; without that list, only the dump's own rules do.
///
/// # Errors
///
/// [`VerifyError`].
pub fn against_dump(
    store: &dyn KvRead,
    dump: &DumpReader,
    skipped: &[Skip],
    how: StateComparison,
    progress: &Progress,
) -> Result<Verified, VerifyError> {
    compare(store, dump, skipped, how, &sequence_hash::Timelines::new(), progress)
}

/// The same; a room's timeline that has the hash which it has in `timelines` is not read again.
fn compare(
    store: &dyn KvRead,
    dump: &DumpReader,
    skipped: &[Skip],
    how: StateComparison,
    timelines: &sequence_hash::Timelines,
    progress: &Progress,
) -> Result<Verified, VerifyError> {
    let since = SinceImport::read(store)?;
    let mut found = Findings::default();
    // Of what Conduit has written since, the dump has nothing.
    let none = sequence_hash::Timelines::new();
    let timelines = if since.has_run() { &none } else { timelines };
    against_dump::compare(store, dump, skipped, how, timelines, *progress, &mut found)?;
    let mut findings = since.judge(found.finish());
    store.dialect().reword(&mut findings);
    Ok(Verified { findings, ..Verified::default() })
}

/// Where media files are.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// Conduit's media directory.
    pub directory: &'a ContentDirectory,
    /// Synapse's media store, if it is not where the dump says.
    pub store: Option<&'a PathBuf>,
    /// Those that the import has not read; `None`: it has read all, or nothing is known of it.
    pub linked: Option<Linked<'a>>,
}

/// Media files that an import has linked without reading them, as they were copied and hashed beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Linked<'a> {
    /// Where they were copied to.
    pub prepared: &'a PreparedMedia,
    /// Their contents.
    pub contents: &'a BTreeSet<ContentHash>,
    /// How many are read.
    pub how: MediaComparison,
}

/// How files that were copied beforehand are compared, beside their sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MediaComparison {
    /// One in fifty is read and hashed, twenty at least; so is the file of Synapse's that it was copied from.
    #[default]
    Sample,
    /// All are.
    All,
}

/// Reads every media file but those that need not be read, and compares media with the dump if there is one. `skipped` is what the import left out, if
/// known.
///
/// # Errors
///
/// [`VerifyError`].
pub fn media(
    store: &dyn KvRead,
    dump: Option<&DumpReader>,
    files: Files<'_>,
    skipped: &[Skip],
    progress: &Progress,
) -> Result<Verified, VerifyError> {
    media_until(&AtomicBool::new(false), store, dump, files, skipped, progress)
}

/// The same, until it is over: what is found then counts for nothing.
fn media_until(
    is_over: &AtomicBool,
    store: &dyn KvRead,
    dump: Option<&DumpReader>,
    files: Files<'_>,
    skipped: &[Skip],
    progress: &Progress,
) -> Result<Verified, VerifyError> {
    let mut found = Findings::default();
    let unread = Unread::of(files.linked, is_over);
    structure::media_files::check(store, files.directory, &unread, *progress, &mut found)?;
    if let Some(dump) = dump
        && let Some(records) = dump.media()?
    {
        let (folder, stores) = (dump.media_directory(), &records.head().stores);
        let source = MediaStore::of_records(folder, stores, files.store);
        let files = against_dump::media::Sources { store: &source, unread: &unread };
        against_dump::media::compare(store, dump, files, skipped, *progress, &mut found)?;
    }
    let mut findings = SinceImport::read(store)?.judge(found.finish());
    store.dialect().reword(&mut findings);
    Ok(Verified { findings, ..Verified::default() })
}
