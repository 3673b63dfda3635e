//! Before a migration, while Synapse runs: its media files are copied, so that the evening itself need not wait for that.
//!
//! Which files these are is read from the database, as the dump does it: the media store also has files that no row describes,
//! thumbnails, and cached files of other servers, which stay behind.

use std::path::PathBuf;

use anyhow::bail;
use serde::Serialize;

use super::{Homeserver, Target, VERSION};
use crate::{
    dump::{PreparedMedia, PreparedOrigin, Updated},
    fs::atomic_dir,
    progress::Progress,
    runtime::block_on,
    source::ReferredFiles,
};

/// Media files that are ready for a migration.
#[derive(Debug, Serialize)]
pub struct PreparedFiles {
    /// [`VERSION`].
    pub version: u32,
    /// Where they are until then.
    pub directory: PathBuf,
    /// How many there are, and what was done.
    #[serde(flatten)]
    pub updated: Updated,
}

/// Copies the media files that a migration to `target` will need. What an earlier run copied is not read again, unless it has
/// changed. Nothing but the directory of prepared files is written.
///
/// # Errors
///
/// If Synapse's database can't be read, or files can't be copied; what is copied stays, and the next run goes on.
pub fn prepare_media(
    homeserver: &Homeserver<'_>,
    target: &Target,
    progress: Progress,
) -> anyhow::Result<PreparedFiles> {
    atomic_dir::check(&target.directory)?;
    let Some((server_name, files)) = wanted(homeserver)? else {
        bail!(
            "only a migration that reads Synapse's database and refers to media files (`--media refer`, which is the default) \
             can have them copied beforehand"
        );
    };
    target.check_server_name(&server_name)?;
    let ReferredFiles { store, paths } = files;
    let Some(origin) = PreparedOrigin::of(&server_name, &store) else {
        bail!("the media files are in no media store of Synapse's; report this");
    };
    let directory = PreparedMedia::place(target.media.path(), &target.directory);
    let updated = PreparedMedia::update(&directory, &origin, &store, paths, progress)?;
    Ok(PreparedFiles { version: VERSION, directory, updated })
}

/// The homeserver's name and the files. The database is left at once: its snapshot costs the running Synapse something.
fn wanted(homeserver: &Homeserver<'_>) -> anyhow::Result<Option<(String, ReferredFiles)>> {
    let Some(configuration) = homeserver.configuration.ok().flatten() else { return Ok(None) };
    let files = block_on(async {
        let mut source = homeserver.open().await?;
        let files = source.media_files().await;
        source.close().await?;
        Ok(files?)
    })?;
    Ok(files.map(|files| (configuration.config.server_name.to_string(), files)))
}
