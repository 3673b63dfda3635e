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
    thread::ScopedJoinHandle,
};

use tools::{prepared::Unread, since_import::SinceImport};

pub use self::structure::structure;
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

/// Looks at a database alone and against its dump. `skipped` is what the import left out, if known.
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
    let server_name = &dump.manifest().server_name;
    let alone = |store: &dyn KvRead| structure(store, server_name, &progress);
    let compared = |store: &dyn KvRead| against_dump(store, dump, skipped, how, &progress);
    let of_media = |store: &dyn KvRead| media(store, Some(dump), files, skipped, &progress);
    // Each has stretches in which it waits for one core; together, they leave none idle.
    let (alone, compared, of_media) = match store.shared() {
        None => (alone(store), compared(store), of_media(store)),
        Some(store) => std::thread::scope(|scope| {
            let compared = scope.spawn(|| compared(store));
            let of_media = scope.spawn(|| of_media(store));
            (alone(store), joined(compared), joined(of_media))
        }),
    };
    let mut verified = alone?;
    verified.findings.extend(compared?.findings);
    verified.findings.extend(of_media?.findings);
    verified.findings.sort();
    Ok(verified)
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
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
    let since = SinceImport::read(store)?;
    let mut found = Findings::default();
    against_dump::compare(store, dump, skipped, how, *progress, &mut found)?;
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
    let mut found = Findings::default();
    let unread = Unread::of(files.linked);
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
