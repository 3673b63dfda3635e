//! Media files are copied while everything else is imported.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread::Scope,
};

use rayon::prelude::*;

use super::{
    MediaTarget,
    copy::{Copied, NotCopied, copy},
};
use crate::{
    conduit::schema::dialect::Dialect,
    dump::{DumpReader, MediaStore, format::DumpMedia},
    import::ImportError,
};

/// Records whose files are copied at a time while one core copies.
const CHUNK: usize = 32;
/// The same when all do.
const CHUNK_OF_ALL: usize = 512;
/// Such parts that wait to be fetched.
const WAITING: usize = 256;

/// Records, and what became of the file of each; `None`: it has none, or it is not to be copied.
pub(super) type Files = Vec<(DumpMedia, Option<Result<Copied, NotCopied>>)>;

/// Files that are being copied.
pub(in crate::import) struct Copies {
    files: Receiver<Result<Files, ImportError>>,
    on_all_cores: Arc<AtomicBool>,
}

impl Copies {
    /// Begins to copy the files of the dump by a thread of its own, which ends when nobody waits for them any more.
    pub(in crate::import) fn begin<'scope>(
        scope: &'scope Scope<'scope, '_>,
        dump: &'scope DumpReader,
        target: &'scope MediaTarget,
        dialect: Dialect,
    ) -> Self {
        let (sender, files) = sync_channel(WAITING);
        let on_all_cores = Arc::new(AtomicBool::new(false));
        let all_cores = Arc::clone(&on_all_cores);
        scope.spawn(move || {
            let is_wanted = &mut |files| sender.send(files).is_ok();
            if let Err(error) = copy_all(dump, target, dialect, &all_cores, is_wanted) {
                is_wanted(Err(error));
            }
        });
        Self { files, on_all_cores }
    }

    /// Everything else has been imported: copies the rest on all cores. Gives all files, in the order of the dump.
    pub(super) fn on_all_cores(self) -> impl Iterator<Item = Result<Files, ImportError>> {
        self.on_all_cores.store(true, Ordering::Relaxed);
        self.files.into_iter()
    }
}

/// Copies all files, and gives them to `is_wanted`, which says whether to go on.
fn copy_all(
    dump: &DumpReader,
    target: &MediaTarget,
    dialect: Dialect,
    on_all_cores: &AtomicBool,
    is_wanted: &mut dyn FnMut(Result<Files, ImportError>) -> bool,
) -> Result<(), ImportError> {
    let Some(mut records) = dump.media()? else { return Ok(()) };
    let (folder, stores) = (dump.media_directory(), &records.head().stores);
    let store = MediaStore::of_records(folder, stores, target.store.as_ref());
    target.directory.create()?;
    let of_record = |record: DumpMedia| {
        let is_kept = dialect == Dialect::Conduit || record.quarantined_by.is_none();
        let path = record.path.as_deref().filter(|_| is_kept);
        let file = path.map(|path| copy(&store, target, &record, path));
        (record, file)
    };
    loop {
        let all_cores = on_all_cores.load(Ordering::Relaxed);
        let chunk = if all_cores { CHUNK_OF_ALL } else { CHUNK };
        let chunk: Vec<DumpMedia> = records.by_ref().take(chunk).collect::<Result<_, _>>()?;
        if chunk.is_empty() {
            // Whoever imports need not wait for the disk then.
            return Ok(target.directory.sync()?);
        }
        if chunk.iter().any(|record| record.path.is_some()) && !store.exists() {
            return Err(ImportError::MediaStore { paths: store.roots().to_vec() });
        }
        let files = if all_cores {
            chunk.into_par_iter().map(of_record).collect()
        } else {
            chunk.into_iter().map(of_record).collect()
        };
        if !is_wanted(Ok(files)) {
            return Ok(());
        }
    }
}
