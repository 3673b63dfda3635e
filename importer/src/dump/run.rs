//! Dumping: drives a source into a [`DumpWriter`].

use std::{future::Future, path::Path};

use super::{
    DumpWriter, WriteError,
    format::{self, Manifest},
};
use crate::{
    progress::Progress,
    synapse::{Source, SourceError},
    tally::{Kind, Tally},
};

/// Why there is no dump.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DumpError {
    /// Synapse could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The dump could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The operator interrupted the run.
    #[error("interrupted; there is no dump, run the command again")]
    Interrupted,
}

/// Reads everything from `source` into the new directory `directory`. When `interrupt` completes, what was taken from
/// Synapse is given back and the dump stays unfinished.
///
/// # Errors
///
/// [`DumpError`]; there is no dump then.
pub async fn dump(
    source: &mut dyn Source,
    directory: &Path,
    created_ts: u64,
    progress: &Progress,
    interrupt: impl Future<Output = ()>,
) -> Result<Manifest, DumpError> {
    let mut writer = DumpWriter::create(directory)?;
    let mut tally = Tally::default();
    let result = tokio::select! {
        result = read_all(source, &mut writer, &mut tally, progress) => result,
        () = interrupt => Err(DumpError::Interrupted),
    };
    let closed = source.close().await;
    let server_name = result?;
    closed?;
    let manifest = Manifest {
        version: format::VERSION,
        server_name,
        created_ts,
        source: source.info(),
        tally,
        files: Vec::new(),
    };
    Ok(writer.finish(manifest)?)
}

async fn read_all(
    source: &mut dyn Source,
    writer: &mut DumpWriter,
    tally: &mut Tally,
    progress: &Progress,
) -> Result<String, DumpError> {
    let server = source.server(tally).await?;
    writer.server(&server)?;

    let users = source.users(tally).await?;
    let bar = progress.phase("users", users.len());
    for user_id in &users {
        if let Some(user) = source.user(user_id, tally).await? {
            writer.user(&user)?;
            source.messages(&user, writer, tally).await?;
            tally.written(Kind::User, 1);
        }
        bar.advance(1);
    }
    drop(bar);

    let rooms = source.rooms(tally).await?;
    let bar = progress.phase("rooms", rooms.len());
    for room_id in &rooms {
        source.room(room_id, writer, tally).await?;
        bar.advance(1);
    }
    drop(bar);

    source.media(writer, tally, progress).await?;
    Ok(server.server_name)
}
