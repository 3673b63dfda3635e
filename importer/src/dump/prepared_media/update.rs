//! Bringing prepared files up to date: what is new or has changed is copied, what nobody needs any more is removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use rayon::prelude::*;
use serde::Serialize;

use super::{
    FILES, LAYOUT, PreparedError, PreparedMedia, PreparedOrigin,
    index::{Entry, IndexWriter, Stamp},
    is_private, lock,
};
use crate::{
    dump::MediaStore,
    fs::{ContentDirectory, Layout, PutError, files_below},
    progress::{Phase, Progress},
};

/// Files that are copied before the index says so.
const FILES_AT_A_TIME: usize = 64;
/// Bytes of these; one file may have more.
const BYTES_AT_A_TIME: u64 = 64 << 20;
/// Bytes that are left free for the running homeserver, where the disk is not smaller than twenty times that.
const RESERVE: u64 = 1 << 30;
/// The part of a smaller disk that is left free.
const RESERVED_PART: u64 = 20;

/// What an update did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Updated {
    /// Files of the media store that are prepared now.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of them that this update has copied.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Files that were prepared and are not needed any more.
    pub removed: u64,
    /// Files that could not be prepared: they are missing, can't be read, or changed meanwhile. A migration looks at them again.
    /// A copy that there is of one stays.
    pub left: u64,
}

/// Files of the media store, by path.
type Stamps = Vec<(String, Stamp)>;

impl PreparedMedia {
    /// Prepares the files `wanted` of the media store in the directory `path`, which is made if need be. What an earlier update
    /// copied is not read again, unless it has changed. An update can be ended at any time, and the next one goes on.
    ///
    /// # Errors
    ///
    /// If the directory can't be used or written, or the media store is not there.
    pub fn update(
        path: &Path,
        origin: &PreparedOrigin,
        store: &MediaStore,
        wanted: Vec<String>,
        progress: Progress,
    ) -> Result<Updated, PreparedError> {
        if !store.exists() && !wanted.is_empty() {
            return Err(PreparedError::Store { stores: origin.stores.clone() });
        }
        let mut prepared = match Self::open(path, origin)? {
            Some(prepared) => prepared,
            None => Self::create(path)?,
        };
        let (changed, mut updated) = prepared.keep(store, wanted, progress);
        let io_error = |source| PreparedError::Io { path: path.to_owned(), source };
        let mut index = IndexWriter::create(path, origin, &prepared.entries).map_err(io_error)?;
        prepared.sweep()?;
        let bytes = changed.iter().fold(0, |sum: u64, (_, stamp)| sum.saturating_add(stamp.bytes));
        let phase = progress.phase_of_bytes("files", bytes);
        for chunk in chunks(&changed) {
            prepared.reserve(chunk)?;
            let copied = prepared.copy(store, chunk, &phase)?;
            index.append(&copied).map_err(io_error)?;
            let left = chunk.len().saturating_sub(copied.len());
            updated.left = updated.left.saturating_add(u64::try_from(left).unwrap_or(u64::MAX));
            updated.count_copied(&copied);
        }
        index.sync().map_err(io_error)?;
        Ok(updated)
    }

    fn create(path: &Path) -> Result<Self, PreparedError> {
        ContentDirectory::new(path.to_owned(), Layout::Flat).create()?;
        is_private(path)?;
        let lock = lock(path)?;
        let files = ContentDirectory::new(path.join(FILES), LAYOUT);
        Ok(Self { path: path.to_owned(), files, entries: BTreeMap::new(), _lock: Some(lock) })
    }

    /// Keeps the entries that are wanted and hold, and gives the files that have to be copied.
    fn keep(
        &mut self,
        store: &MediaStore,
        wanted: Vec<String>,
        progress: Progress,
    ) -> (Stamps, Updated) {
        let phase = progress.phase("media file", wanted.len());
        let (mut kept, mut changed) = (BTreeMap::new(), Stamps::new());
        let mut updated = Updated::default();
        for path in wanted {
            phase.advance(1);
            let now = store.open(&path).ok().and_then(|(file, _)| file.metadata().ok());
            let Some(now) = now else {
                // A store that is not mounted, or a file that is away for a while, is no reason to copy it again later.
                if let Some(entry) = self.entries.remove(&path) {
                    kept.insert(path, entry);
                }
                updated.left = updated.left.saturating_add(1);
                continue;
            };
            match self.content(&path, &now) {
                Some(hash) if self.has(&hash, now.len()) => {
                    let entry = Entry { stamp: Stamp::of(&now), hash };
                    updated.count(&entry);
                    kept.insert(path, entry);
                }
                _ => changed.push((path, Stamp::of(&now))),
            }
        }
        let still: BTreeSet<&String> =
            kept.keys().chain(changed.iter().map(|(path, _)| path)).collect();
        let gone = self.entries.keys().filter(|path| !still.contains(path)).count();
        updated.removed = u64::try_from(gone).unwrap_or(u64::MAX);
        self.entries = kept;
        (changed, updated)
    }

    /// Removes what no entry names: contents that are needed no more, and what an update that was ended left behind.
    fn sweep(&self) -> Result<(), PreparedError> {
        self.files.create()?;
        let needed: BTreeSet<_> =
            self.entries.values().map(|entry| self.files.file(&entry.hash)).collect();
        for file in files_below(self.files.path()) {
            let removed =
                file.and_then(
                    |file| {
                        if needed.contains(&file) { Ok(()) } else { fs::remove_file(file) }
                    },
                );
            removed.map_err(|source| PreparedError::Io {
                path: self.files.path().to_owned(),
                source,
            })?;
        }
        Ok(())
    }

    /// Refuses to fill the disk on which the homeserver runs.
    fn reserve(&self, files: &[(String, Stamp)]) -> Result<(), PreparedError> {
        let disk = rustix::fs::statvfs(&self.path)
            .map_err(|error| PreparedError::Io { path: self.path.clone(), source: error.into() })?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        let reserve = RESERVE.min(bytes(disk.f_blocks) / RESERVED_PART);
        let free = bytes(disk.f_bavail);
        let needed = files.iter().fold(reserve, |sum, (_, stamp)| sum.saturating_add(stamp.bytes));
        if free < needed {
            return Err(PreparedError::Space { path: self.path.clone(), free });
        }
        Ok(())
    }

    /// Copies files, and makes the copies durable. One that can't be read, or changes meanwhile, has no entry.
    fn copy(
        &self,
        store: &MediaStore,
        files: &[(String, Stamp)],
        phase: &Phase,
    ) -> Result<BTreeMap<String, Entry>, PutError> {
        let copied: Vec<Option<(String, Entry)>> = files
            .par_iter()
            .map(|(path, stamp)| {
                let copied = self.copy_one(store, path, *stamp);
                phase.advance(stamp.bytes);
                Ok(copied?.map(|entry| (path.clone(), entry)))
            })
            .collect::<Result<_, PutError>>()?;
        self.files.sync()?;
        Ok(copied.into_iter().flatten().collect())
    }

    fn copy_one(
        &self,
        store: &MediaStore,
        path: &str,
        stamp: Stamp,
    ) -> Result<Option<Entry>, PutError> {
        let Ok((mut file, _)) = store.open(path) else { return Ok(None) };
        let (hash, bytes) = match self.files.copy(&mut file, None) {
            Ok(copied) => copied,
            Err(error @ PutError::Write { .. }) => return Err(error),
            Err(_) => return Ok(None),
        };
        let is_same = file.metadata().is_ok_and(|now| Stamp::of(&now) == stamp);
        Ok((is_same && bytes == stamp.bytes).then_some(Entry { stamp, hash }))
    }
}

impl Updated {
    fn count(&mut self, entry: &Entry) {
        self.files = self.files.saturating_add(1);
        self.bytes = self.bytes.saturating_add(entry.stamp.bytes);
    }

    fn count_copied(&mut self, copied: &BTreeMap<String, Entry>) {
        for entry in copied.values() {
            self.count(entry);
            self.copied = self.copied.saturating_add(1);
            self.copied_bytes = self.copied_bytes.saturating_add(entry.stamp.bytes);
        }
    }
}

/// The files in runs that are copied at a time.
fn chunks(files: &[(String, Stamp)]) -> impl Iterator<Item = &[(String, Stamp)]> {
    let mut rest = files;
    std::iter::from_fn(move || {
        let mut bytes: u64 = 0;
        let fits = |(_, stamp): &&(String, Stamp)| {
            bytes = bytes.saturating_add(stamp.bytes);
            bytes <= BYTES_AT_A_TIME
        };
        let number = rest.iter().take(FILES_AT_A_TIME).take_while(fits).count().max(1);
        let (chunk, after) = rest.split_at_checked(number)?;
        rest = after;
        Some(chunk)
    })
}
