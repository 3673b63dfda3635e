//! Records on their way into the dump; their files too, if these are copied.

use rayon::prelude::*;

use super::{
    super::row::Row,
    Known,
    record::NoRecord,
};
use crate::{
    dump::{MediaWriter, WriteError, format::DumpMedia},
    media::{ContentDirectory, NotUsable, PutError, Store},
    progress::Phase,
    tally::{Kind, Tally},
};

/// Files that are copied at a time.
const CHUNK: usize = 256;

pub(super) struct Sink<'a, 'b> {
    writer: &'a mut MediaWriter,
    store: &'a Store,
    /// Where files are copied to.
    copies: Option<ContentDirectory>,
    tally: &'b mut Tally,
    phase: &'a Phase,
    pending: Vec<(Kind, DumpMedia)>,
    known: Known,
    /// The first error: rows come by a callback that can't give one.
    error: Option<WriteError>,
}

impl<'a, 'b> Sink<'a, 'b> {
    pub(super) fn new(
        writer: &'a mut MediaWriter,
        store: &'a Store,
        copies: Option<ContentDirectory>,
        tally: &'b mut Tally,
        phase: &'a Phase,
    ) -> Result<Self, WriteError> {
        if let Some(copies) = &copies {
            copies.create()?;
        }
        let (pending, known) = (Vec::new(), Known::default());
        Ok(Self { writer, store, copies, tally, phase, pending, known, error: None })
    }

    pub(super) fn row(
        &mut self,
        kind: Kind,
        row: &Row,
        record: impl FnOnce(&Row) -> Result<DumpMedia, NoRecord>,
    ) {
        self.phase.advance(1);
        self.tally.read(kind, 1);
        let mut skip = |reason: &str, detail: String| {
            self.tally.skip(kind, row.label(), reason, detail);
        };
        match record(row) {
            Ok(media) => {
                self.known.insert(&media.path);
                self.pending.push((kind, media));
            }
            Err(NoRecord::NotUploaded) => {
                skip("not-uploaded", "a client reserved the id and uploaded nothing".into());
            }
            Err(NoRecord::Id) => {
                skip("media-id-invalid", "Synapse makes no file name of such an id".into());
            }
            Err(NoRecord::Broken(broken)) => skip(broken.reason, broken.to_string()),
        }
        if self.pending.len() >= CHUNK {
            self.flush();
        }
    }

    /// Writes what is pending; gives the paths of all records.
    pub(super) fn finish(mut self) -> Result<Known, WriteError> {
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

    fn write(&mut self, pending: Vec<(Kind, DumpMedia)>) -> Result<(), WriteError> {
        let copied: Vec<_> = match &self.copies {
            None => pending.into_iter().map(Ok).collect(),
            Some(copies) => {
                let store = self.store;
                pending.into_par_iter().map(|item| copy(store, copies, item)).collect()
            }
        };
        for result in copied {
            match result {
                Ok((kind, media)) => {
                    self.writer.record(&media)?;
                    self.tally.written(kind, 1);
                }
                Err(NotCopied::Skip { kind, item, reason, detail }) => {
                    self.tally.skip(kind, item, reason, detail);
                }
                Err(NotCopied::Failed(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

enum NotCopied {
    Skip { kind: Kind, item: String, reason: &'static str, detail: String },
    Failed(PutError),
}

/// Copies a file; the record then says where the copy is.
fn copy(
    store: &Store,
    copies: &ContentDirectory,
    (kind, mut media): (Kind, DumpMedia),
) -> Result<(Kind, DumpMedia), NotCopied> {
    let skip = |error: &NotUsable| NotCopied::Skip {
        kind,
        item: media.uri(),
        reason: error.reason(),
        detail: error.to_string(),
    };
    let (mut file, _) = store.open(&media.path).map_err(|error| skip(&error))?;
    let (hash, _) = copies.put(&mut file).map_err(|error| match error {
        PutError::Read(source) => skip(&NotUsable::Io { path: media.path.clone(), source }),
        PutError::Write { .. } => NotCopied::Failed(error),
    })?;
    if media.sha256.as_ref().is_some_and(|noted| *noted != hash.to_string()) {
        return Err(skip(&NotUsable::Damaged { path: media.path.clone() }));
    }
    media.path = copies.name(&hash);
    media.sha256 = Some(hash.to_string());
    Ok((kind, media))
}
