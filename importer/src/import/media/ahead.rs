//! Media files are copied while everything else is imported.

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{Scope, ScopedJoinHandle},
};

use rayon::prelude::*;

use super::{
    MediaTarget,
    copy::{Copied, copy},
};
use crate::{
    conduit::schema::dialect::Dialect,
    dump::{DumpReader, MediaStore, NotUsable, format::DumpMedia},
    fs::PutError,
    import::ImportError,
};

/// Records whose files are copied at a time.
const CHUNK: usize = if cfg!(test) { 2 } else { 128 };
/// Such parts that wait to be fetched: eight thousand records, of half a kilobyte.
const WAITING: usize = if cfg!(test) { 1 } else { 64 };

/// Records, and what became of the file of each; `None`: it has none, or it is not to be copied.
pub(super) type Files = Vec<(DumpMedia, Option<Result<Copied, NotUsable>>)>;

/// Files that are being copied, by a thread of its own. Dropped, it copies no more.
pub(in crate::import) struct Copies<'scope> {
    pub(super) target: &'scope MediaTarget,
    files: Receiver<Files>,
    /// `None`: it has ended well.
    thread: Option<ScopedJoinHandle<'scope, Result<(), ImportError>>>,
    shared: Shared,
}

/// What the thread is told.
#[derive(Default)]
struct Shared {
    on_all_cores: Arc<AtomicBool>,
    /// Nobody waits for more files.
    is_over: Arc<AtomicBool>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl<'scope> Copies<'scope> {
    /// Begins to copy the files of the dump.
    pub(in crate::import) fn begin(
        scope: &'scope Scope<'scope, '_>,
        dump: &'scope DumpReader,
        target: &'scope MediaTarget,
        dialect: Dialect,
    ) -> Self {
        let (files, receiver) = sync_channel(WAITING);
        let shared = Shared::default();
        let (on_all_cores, is_over) =
            (Arc::clone(&shared.on_all_cores), Arc::clone(&shared.is_over));
        let copying = Copying { dump, target, dialect, on_all_cores, is_over, files };
        let thread = scope.spawn(move || copying.all());
        Self { target, files: receiver, thread: Some(thread), shared }
    }

    /// Whether all is well so far: what keeps files from being copied is said before everything else has been imported.
    pub(in crate::import) fn check(&mut self) -> Result<(), ImportError> {
        match self.thread.take_if(|thread| thread.is_finished()) {
            Some(thread) => ended(thread),
            None => Ok(()),
        }
    }

    /// Everything else has been imported: copies the rest on all cores. Gives all files to `take`, in the order of the dump.
    pub(super) fn each(
        self,
        mut take: impl FnMut(Files) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        let Self { files, thread, shared, .. } = self;
        shared.on_all_cores.store(true, Ordering::Relaxed);
        for files in files {
            take(files)?;
        }
        thread.map_or(Ok(()), ended)
    }
}

/// How the thread has ended.
fn ended(thread: ScopedJoinHandle<'_, Result<(), ImportError>>) -> Result<(), ImportError> {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// The thread.
struct Copying<'a> {
    dump: &'a DumpReader,
    target: &'a MediaTarget,
    dialect: Dialect,
    on_all_cores: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    files: SyncSender<Files>,
}

impl Copying<'_> {
    /// Copies all files, or as many as somebody waits for.
    fn all(self) -> Result<(), ImportError> {
        let Some(mut records) = self.dump.media()? else { return Ok(()) };
        let (folder, stores) = (self.dump.media_directory(), &records.head().stores);
        let store = MediaStore::of_records(folder, stores, self.target.store.as_ref());
        self.target.directory.create()?;
        let of_record = |record| self.of_record(&store, record);
        loop {
            let chunk: Vec<DumpMedia> = records.by_ref().take(CHUNK).collect::<Result<_, _>>()?;
            if chunk.is_empty() {
                // Now, so that whoever imports need not wait for the disk.
                return Ok(self.target.directory.sync()?);
            }
            if chunk.iter().any(|record| record.path.is_some()) && !store.exists() {
                return Err(ImportError::MediaStore { paths: store.roots().to_vec() });
            }
            let files: Files = if self.on_all_cores.load(Ordering::Relaxed) {
                chunk.into_par_iter().map(of_record).collect::<Result<_, _>>()?
            } else {
                chunk.into_iter().map(of_record).collect::<Result<_, _>>()?
            };
            if self.files.send(files).is_err() {
                return Ok(());
            }
        }
    }

    fn of_record(
        &self,
        store: &MediaStore,
        record: DumpMedia,
    ) -> Result<(DumpMedia, Option<Result<Copied, NotUsable>>), PutError> {
        let is_kept = self.dialect == Dialect::Conduit || record.quarantined_by.is_none();
        let is_wanted = is_kept && !self.is_over.load(Ordering::Relaxed);
        let path = record.path.as_deref().filter(|_| is_wanted);
        let file = path.map(|path| copy(store, self.target, &record, path)).transpose()?;
        Ok((record, file))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::json;

    use super::*;
    use crate::{
        dump::{DumpWriter, format::Manifest},
        fs::{ContentDirectory, Layout},
    };

    const FILES: usize = 20;

    /// A dump of so many files, of which one is not there, and their target.
    fn dump(scratch: &Path) -> (DumpReader, MediaTarget) {
        let store = scratch.join("store");
        fs::create_dir_all(store.join("local_content")).unwrap();
        let directory = scratch.join("dump");
        let writer = DumpWriter::create(&directory).unwrap();
        let key = json!({"version": "a", "seed": "c2VlZA"});
        let server = json!({"server_name": "own.test", "signing_key": key});
        writer.server(&serde_json::from_value(server).unwrap()).unwrap();
        let head = json!({"stores": [store]});
        let mut media = writer.media(&serde_json::from_value(head).unwrap()).unwrap();
        for number in 0..FILES {
            let name = format!("file{number:02}");
            let path = format!("local_content/{name}");
            if number != 3 {
                fs::write(store.join(&path), format!("content {number}")).unwrap();
            }
            let record =
                json!({"server": "own.test", "media_id": name, "path": path, "created_ts": 1});
            media.record(&serde_json::from_value(record).unwrap()).unwrap();
        }
        writer.finish_media(media).unwrap();
        let manifest: Manifest = serde_json::from_value(json!({
            "version": crate::dump::format::VERSION, "server_name": "own.test", "created_ts": 1,
            "source": {"kind": "sqlite"}, "tally": {"read": {}, "written": {}, "skipped": []}, "files": [],
        }))
        .unwrap();
        writer.finish(manifest).unwrap();
        let reader = DumpReader::open(&directory, |_| {}).unwrap();
        let directory = ContentDirectory::new(scratch.join("media"), Layout::default());
        (reader, MediaTarget { directory, store: None, link: false, prepared: None })
    }

    #[test]
    fn all_files_come_in_the_order_of_the_dump() {
        let scratch = tempfile::tempdir().unwrap();
        let (dump, target) = dump(scratch.path());
        let mut seen = Vec::new();
        let ended = std::thread::scope(|scope| {
            Copies::begin(scope, &dump, &target, Dialect::Conduit).each(|files| {
                seen.extend(
                    files
                        .into_iter()
                        .map(|(record, file)| (record.media_id, matches!(file, Some(Ok(_))))),
                );
                Ok(())
            })
        });
        ended.unwrap();
        let expected = (0..FILES).map(|number| (format!("file{number:02}"), number != 3));
        assert!(seen.iter().cloned().eq(expected), "{seen:?}");
    }

    #[test]
    fn whoever_ends_early_ends_the_copying() {
        let scratch = tempfile::tempdir().unwrap();
        let (dump, target) = dump(scratch.path());
        std::thread::scope(|scope| {
            drop(Copies::begin(scope, &dump, &target, Dialect::Conduit));
        });
        let copied = crate::fs::files_below(target.directory.path()).flatten().count();
        assert!(copied < FILES - 1, "{copied}");
    }

    #[test]
    fn what_keeps_it_from_copying_is_said() {
        let scratch = tempfile::tempdir().unwrap();
        let (dump, mut target) = dump(scratch.path());
        let end = |target: &MediaTarget| {
            let ended = std::thread::scope(|scope| {
                Copies::begin(scope, &dump, target, Dialect::Conduit).each(|_| Ok(()))
            });
            ended.unwrap_err().to_string()
        };
        fs::write(scratch.path().join("file"), "").unwrap();
        let layout = Layout::default();
        target.directory = ContentDirectory::new(scratch.path().join("file/media"), layout);
        assert!(end(&target).contains("file/media"), "{}", end(&target));
        target.directory = ContentDirectory::new(scratch.path().join("media"), Layout::default());
        target.store = Some(scratch.path().join("nowhere"));
        assert!(end(&target).contains("nowhere"), "{}", end(&target));
        // It is said early to whoever asks.
        let early = std::thread::scope(|scope| {
            let mut copies = Copies::begin(scope, &dump, &target, Dialect::Conduit);
            loop {
                if let Err(error) = copies.check() {
                    break error.to_string();
                }
                std::thread::yield_now();
            }
        });
        assert_eq!(early, end(&target));
    }
}
