//! The second step: Synapse becomes a directory of JSON.

use std::path::Path;

use super::Homeserver;
use crate::{
    dump::{DumpReader, format::Manifest},
    progress::Progress,
    runtime::{block_on, interrupted, now_ms},
    source,
};

/// Reads a homeserver into the new dump `directory`.
///
/// # Errors
///
/// If it can't be read, or the dump can't be written; there is no dump then.
pub fn dump(
    homeserver: &Homeserver<'_>,
    directory: &Path,
    progress: Progress,
) -> anyhow::Result<Manifest> {
    block_on(async {
        let mut source = homeserver.open().await?;
        let written =
            source::dump::dump(source.as_mut(), directory, now_ms(), &progress, interrupted());
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
