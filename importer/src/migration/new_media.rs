//! Conduit's media directory while it is made.

use std::path::{Path, PathBuf};

use anyhow::bail;

use super::{Target, TargetError};
use crate::{
    conduit::schema::dialect::Dialect,
    dump::{DumpReader, MediaStore, PreparedMedia, PreparedOrigin},
    findings::{Finding, codes},
    fs::atomic_dir::Partial,
    import::{LinkedMedia, MediaTarget},
    verify::{Files, Linked, MediaComparison},
};

/// Where media files come from, and how.
#[derive(Clone, Debug, Default)]
pub struct MediaOrigin {
    /// Synapse's media store, if it is not where the dump says.
    pub store: Option<PathBuf>,
    /// Whether files become hard links, where that can be, rather than copies.
    pub link: bool,
    /// How the files are verified that were copied beforehand.
    pub comparison: MediaComparison,
}

impl MediaOrigin {
    /// Refuses links to Synapse's files where the server may write into a file that it has: Continuwuity does, when another
    /// server's file is fetched again whose row is gone (src/service/media/mod.rs:367-371 there).
    ///
    /// # Errors
    ///
    /// [`TargetError::Linked`].
    pub(super) fn check(&self, dialect: Dialect) -> Result<(), TargetError> {
        if self.link && dialect == Dialect::Continuwuity {
            return Err(TargetError::Linked);
        }
        Ok(())
    }
}

/// The media directory on its way to its name. In the database's directory it gets its name with that; elsewhere it is a
/// `.partial` of its own.
pub(super) struct NewMedia {
    /// What the import writes.
    pub(super) target: MediaTarget,
    partial: Option<Partial>,
    comparison: MediaComparison,
}

impl NewMedia {
    /// Begins the directory for the files of `dump`. `database` is the database's, as it is while it is made.
    pub(super) fn create(
        media: &MediaOrigin,
        target: &Target,
        database: &Path,
        dump: &DumpReader,
    ) -> anyhow::Result<Self> {
        let (goal, home) = (target.media.path(), &target.directory);
        let (path, partial) = match goal.strip_prefix(home) {
            Ok(below) if below != Path::new("") => (database.join(below), None),
            _ if home.starts_with(goal) => bail!(
                "the media directory `{}` contains the database's directory; name a separate one",
                goal.display()
            ),
            _ => {
                let partial = Partial::create(goal)?;
                (partial.path().to_owned(), Some(partial))
            }
        };
        let target = MediaTarget {
            directory: target.media.at(path),
            store: media.store.clone(),
            link: media.link,
            prepared: prepared(media, home, goal, dump)?,
        };
        Ok(Self { target, partial, comparison: media.comparison })
    }

    /// The files for their verification. `linked` is what the import took of those that were copied beforehand.
    pub(super) fn files<'a>(&'a self, linked: &'a LinkedMedia) -> Files<'a> {
        let MediaTarget { directory, store, prepared, .. } = &self.target;
        let linked = prepared.as_ref().map(|prepared| Linked {
            prepared,
            contents: &linked.contents,
            how: self.comparison,
        });
        Files { directory, store: store.as_ref(), linked }
    }

    /// Gives it its name, before the database gets its own: a Conduit that finds a database needs the files. Gives the prepared
    /// files, which nobody needs once the database has its name, too.
    pub(super) fn finish(self) -> anyhow::Result<Option<PreparedMedia>> {
        if let Some(partial) = self.partial {
            partial.finish()?;
        }
        Ok(self.target.prepared)
    }
}

/// The files of the dump that were copied beforehand, if any were.
fn prepared(
    media: &MediaOrigin,
    database: &Path,
    directory: &Path,
    dump: &DumpReader,
) -> anyhow::Result<Option<PreparedMedia>> {
    let Some(records) = dump.media()? else { return Ok(None) };
    let (folder, stores) = (dump.media_directory(), &records.head().stores);
    let store = MediaStore::of_records(folder, stores, media.store.as_ref());
    let Some(origin) = PreparedOrigin::of(&dump.manifest().server_name, &store) else {
        return Ok(None);
    };
    Ok(PreparedMedia::open(&PreparedMedia::place(directory, database), &origin)?)
}

/// What Conduit's configuration will do to media that moves.
pub(super) fn retention(target: &Target) -> Option<Finding> {
    let text = "Conduit's configuration deletes uploads of your own users after a time; the files keep their dates, so Conduit deletes older ones at its first start";
    target.deletes_uploads.then(|| codes::UPLOADS_DELETED.of("media.retention", text))
}
