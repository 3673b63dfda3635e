//! Conduit's media directory while it is made.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;

use super::target::Target;
use crate::{
    findings::{Finding, Severity},
    fs::{ContentDirectory, atomic_dir::Partial},
    import::MediaTarget,
};

/// Arguments about media files.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct MediaArguments {
    /// Synapse's media store, if it is elsewhere than the dump says
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) media_store: Option<PathBuf>,
    /// Make hard links to Synapse's media files, where that can be, rather than copies: saves space, but Conduit and
    /// Synapse then share files and their owner
    #[arg(long)]
    link_media: bool,
}

/// The media directory on its way to its name. In the database's directory it gets its name with that; elsewhere it is a
/// `.partial` of its own.
pub(in crate::cli) struct NewMedia {
    /// What the import writes.
    pub(in crate::cli) target: MediaTarget,
    partial: Option<Partial>,
}

impl NewMedia {
    /// Begins the directory. `database` is the database's, as it is while it is made.
    pub(in crate::cli) fn create(
        arguments: &MediaArguments,
        target: &Target,
        database: &Path,
    ) -> anyhow::Result<Self> {
        let (goal, home) = (target.media.path(), &target.directory);
        let (path, partial) = match goal.strip_prefix(home) {
            Ok(below) if below != Path::new("") => (database.join(below), None),
            _ if home.starts_with(goal) => bail!(
                "the media directory `{}` holds the database's directory; name one of its own",
                goal.display()
            ),
            _ => {
                let partial = Partial::create(goal)?;
                (partial.path().to_owned(), Some(partial))
            }
        };
        let target = MediaTarget {
            directory: target.media.at(path),
            store: arguments.media_store.clone(),
            link: arguments.link_media,
        };
        Ok(Self { target, partial })
    }

    /// The directory as it is now.
    pub(in crate::cli) fn directory(&self) -> &ContentDirectory {
        &self.target.directory
    }

    /// Gives it its name, before the database gets its own: a Conduit that finds a database needs the files.
    pub(in crate::cli) fn finish(self) -> anyhow::Result<()> {
        if let Some(partial) = self.partial {
            partial.finish()?;
        }
        Ok(())
    }
}

/// What Conduit's configuration will do to media that moves.
pub(in crate::cli) fn retention(target: &Target) -> Option<Finding> {
    target.deletes_uploads.then(|| Finding {
        severity: Severity::Warning,
        code: "I023",
        subject: "media.retention".into(),
        text: "Conduit's configuration deletes uploads of your own users after a time; files keep their times, so Conduit deletes what is older at its first start".into(),
        remedy: "take the policy out of the configuration, or leave it there if you mean it".into(),
    })
}
