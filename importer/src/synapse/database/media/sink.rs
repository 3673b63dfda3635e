//! Records on their way into the dump; their files too, if these are copied.

use rayon::prelude::*;

use super::{
    super::{counter::ROW_TWICE, row::Row},
    KnownPaths,
    record::{LOCAL, NoRecord, REMOTE},
};
use crate::{
    dump::{MediaStore, MediaWriter, NotUsable, WriteError, format::DumpMedia},
    fs::{ContentDirectory, PutError},
    progress::Phase,
    tally::{Kind, Tally},
};

/// Files that are copied at a time.
const CHUNK: usize = 256;

pub(super) struct MediaSink<'a, 'b> {
    writer: &'a mut MediaWriter,
    store: &'a MediaStore,
    /// Where files are copied to.
    copies: Option<ContentDirectory>,
    tally: &'b mut Tally,
    phase: &'a Phase,
    pending: Vec<(Option<Kind>, DumpMedia)>,
    known: KnownPaths,
    /// The first error: the callback that gets the rows can't return one.
    error: Option<WriteError>,
}

impl<'a, 'b> MediaSink<'a, 'b> {
    pub(super) fn new(
        writer: &'a mut MediaWriter,
        store: &'a MediaStore,
        copies: Option<ContentDirectory>,
        tally: &'b mut Tally,
        phase: &'a Phase,
    ) -> Result<Self, WriteError> {
        if let Some(copies) = &copies {
            copies.create()?;
        }
        let (pending, known) = (Vec::new(), KnownPaths::default());
        Ok(Self { writer, store, copies, tally, phase, pending, known, error: None })
    }

    /// Takes a record of which the file is dumped too.
    pub(super) fn row(&mut self, kind: Kind, row: Row<'_>, record: Result<DumpMedia, NoRecord>) {
        self.phase.advance(1);
        self.tally.read(kind, 1);
        self.tally.rows.met(table(kind), "", 1);
        let (reason, detail) = match record {
            Ok(media) => {
                let is_new = self.known.insert(&media.uri());
                if let Some(path) = &media.path {
                    self.known.insert(path);
                }
                if is_new {
                    return self.push(Some(kind), media);
                }
                ("row-twice", ROW_TWICE.into())
            }
            Err(NoRecord::NotUploaded) => {
                ("not-uploaded", "a client reserved the id and uploaded nothing".into())
            }
            Err(NoRecord::Id) => {
                ("media-id-invalid", "Synapse makes no file name of such an id".into())
            }
            Err(NoRecord::Broken(broken)) => (broken.reason, broken.to_string()),
        };
        self.tally.skip(kind, row.label().escape_debug().to_string(), reason, detail);
        self.tally.rows.left_out(table(kind), reason, 1);
    }

    /// Takes a record of which the file is left out, so that it stays quarantined.
    pub(super) fn quarantined(&mut self, record: Result<DumpMedia, NoRecord>) {
        if let Ok(media) = record {
            self.push(None, DumpMedia { path: None, ..media });
        }
    }

    fn push(&mut self, kind: Option<Kind>, media: DumpMedia) {
        self.pending.push((kind, media));
        if self.pending.len() >= CHUNK {
            self.flush();
        }
    }

    /// Writes the pending records; returns the paths of all records.
    pub(super) fn finish(mut self) -> Result<KnownPaths, WriteError> {
        self.flush();
        if let Some(copies) = &self.copies {
            copies.sync()?;
        }
        self.error.map_or(Ok(self.known), Err)
    }

    fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if self.error.is_none() {
            self.error = self.write(pending).err();
        }
    }

    fn write(&mut self, pending: Vec<(Option<Kind>, DumpMedia)>) -> Result<(), WriteError> {
        let results: Vec<_> = match &self.copies {
            None => pending.into_iter().map(|(kind, media)| (kind, media, Ok(()))).collect(),
            Some(copies) => {
                let store = self.store;
                let copy = |(kind, mut media)| {
                    let result = copy(store, copies, &mut media);
                    (kind, media, result)
                };
                pending.into_par_iter().map(copy).collect()
            }
        };
        for (kind, mut media, result) in results {
            match (kind, result) {
                (Some(kind), Ok(())) => self.tally.written(kind, 1),
                (Some(kind), Err(NotCopied::Skip(error))) => {
                    self.tally.skip(kind, media.uri(), error.reason(), error.to_string());
                    self.tally.rows.left_out(table(kind), error.reason(), 1);
                    media.path = None;
                }
                (_, Err(NotCopied::Failed(error))) => return Err(error.into()),
                (None, _) => {}
            }
            if media.quarantined_by.is_some() {
                self.tally.read(Kind::Quarantine, 1);
                self.tally.written(Kind::Quarantine, 1);
            } else if media.path.is_none() {
                continue;
            }
            self.writer.record(&media)?;
        }
        Ok(())
    }
}

/// Where records of a kind come from.
fn table(kind: Kind) -> &'static str {
    if kind == Kind::RemoteMedia { REMOTE.table } else { LOCAL.table }
}

enum NotCopied {
    Skip(NotUsable),
    Failed(PutError),
}

/// Copies a record's file, if it has one; the record then has the path of the copy.
fn copy(
    store: &MediaStore,
    copies: &ContentDirectory,
    media: &mut DumpMedia,
) -> Result<(), NotCopied> {
    let Some(path) = media.path.clone() else { return Ok(()) };
    let (mut file, _) = store.open(&path).map_err(NotCopied::Skip)?;
    let noted = media.sha256.as_deref().and_then(|noted| noted.parse().ok());
    let (hash, _) = copies.copy(&mut file, noted).map_err(|error| {
        NotUsable::of(error, &path).map_or_else(NotCopied::Failed, NotCopied::Skip)
    })?;
    media.path = Some(copies.name(&hash));
    media.sha256 = Some(hash.to_string());
    Ok(())
}
