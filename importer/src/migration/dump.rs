//! The second step: Synapse becomes a directory of JSON.

use std::path::Path;

use anyhow::Context as _;

use super::Homeserver;
use crate::{
    dump::{DumpReader, format::Manifest},
    progress::Progress,
    runtime::{block_on, interrupted, now_ms},
    source,
};

/// Reads a homeserver into the new dump `directory`. Histories of rooms are taken over from the dump `since` where nothing has
/// happened since.
///
/// # Errors
///
/// If it can't be read, or the dump can't be written; there is no dump then.
pub fn dump(
    homeserver: &Homeserver<'_>,
    directory: &Path,
    since: Option<&Path>,
    progress: Progress,
) -> anyhow::Result<Manifest> {
    let earlier = since.map(|since| open_dump(since, progress));
    let earlier = earlier
        .transpose()
        .context("the earlier dump can't be used; leave out `--since` to read everything anew")?;
    block_on(async {
        let mut source = homeserver.open().await?;
        let written = source::dump::dump(
            source.as_mut(),
            directory,
            earlier,
            now_ms(),
            &progress,
            interrupted(),
        );
        Ok(written.await?)
    })
}

/// Opens a dump, and checks its files against their sums.
///
/// # Errors
///
/// If it is none, or damaged.
pub fn open_dump(directory: &Path, progress: Progress) -> anyhow::Result<DumpReader> {
    let bytes = DumpReader::size(directory)?;
    let phase = progress.phase_of_bytes("files of the dump", bytes);
    Ok(DumpReader::open(directory, |checked| phase.advance(checked))?)
}
