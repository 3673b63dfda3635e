//! Conduit's media directory while it is made.

use std::path::{Path, PathBuf};

use anyhow::bail;

use super::Target;
use crate::{
    findings::{Finding, codes},
    fs::{ContentDirectory, atomic_dir::Partial},
    import::MediaTarget,
};

/// Where media files come from, and how.
#[derive(Clone, Debug, Default)]
pub struct MediaOrigin {
    /// Synapse's media store, if it is not where the dump says.
    pub store: Option<PathBuf>,
    /// Whether files become hard links, where that can be, rather than copies.
    pub link: bool,
}

/// The media directory on its way to its name. In the database's directory it gets its name with that; elsewhere it is a
/// `.partial` of its own.
pub(super) struct NewMedia {
    /// What the import writes.
    pub(super) target: MediaTarget,
    partial: Option<Partial>,
}

impl NewMedia {
    /// Begins the directory. `database` is the database's, as it is while it is made.
    pub(super) fn create(
        media: &MediaOrigin,
        target: &Target,
        database: &Path,
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
        };
        Ok(Self { target, partial })
    }

    /// The directory as it is now.
    pub(super) fn directory(&self) -> &ContentDirectory {
        &self.target.directory
    }

    /// Gives it its name, before the database gets its own: a Conduit that finds a database needs the files.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        if let Some(partial) = self.partial {
            partial.finish()?;
        }
        Ok(())
    }
}

/// What Conduit's configuration will do to media that moves.
pub(super) fn retention(target: &Target) -> Option<Finding> {
    let text = "Conduit's configuration deletes uploads of your own users after a time; the files keep their dates, so Conduit deletes older ones at its first start";
    target.deletes_uploads.then(|| codes::UPLOADS_DELETED.of("media.retention", text))
}
