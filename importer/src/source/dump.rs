//! Dumping: drives a source into a [`DumpWriter`].

use std::{
    future::{Future, pending},
    panic::resume_unwind,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    vec,
};

use ruma::OwnedRoomId;
use tokio::{runtime::Handle, sync::oneshot, task::JoinSet};

use crate::{
    dump::{
        DumpReader, DumpWriter, EarlierDump, OtherServer, WriteError,
        census::Census,
        format::{self, DumpServer, Manifest},
    },
    progress::{Phase, Progress},
    source::{Source, SourceError},
    tally::{Kind, Tally},
    version::version_and_commit,
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
    /// The earlier dump is of no use here.
    #[error(transparent)]
    Earlier(#[from] OtherServer),
    /// The operator interrupted the run.
    #[error("interrupted; there is no dump, run the command again")]
    Interrupted,
}

/// Reads everything from `source` into the new directory `directory`. Histories of rooms are taken over from the `earlier` dump where
/// nothing has happened since. When `interrupt` completes, the source is closed and the dump stays unfinished.
///
/// # Errors
///
/// [`DumpError`]; there is no dump then.
pub async fn dump(
    source: &mut dyn Source,
    directory: &Path,
    earlier: Option<DumpReader>,
    created_ts: u64,
    progress: &Progress,
    interrupt: impl Future<Output = ()>,
) -> Result<Manifest, DumpError> {
    let writer = DumpWriter::create(directory)?;
    let mut tally = Tally::default();
    let mut second = JoinSet::new();
    let (stop, stopped) = oneshot::channel();
    let read = async {
        let server = source.server(&mut tally).await?;
        let info = source.info();
        let earlier = earlier.map(|dump| EarlierDump::new(dump, &server.server_name, &info));
        let writer = Arc::new(writer.since(earlier.transpose()?));
        let second = Second { task: &mut second, stopped };
        let census = read_all(source, &server, &writer, &mut tally, second, progress).await?;
        Ok((server.server_name, census, writer))
    };
    let result = tokio::select! {
        result = read => result,
        () = interrupt => Err(DumpError::Interrupted),
    };
    drop(stop);
    second.shutdown().await;
    let closed = source.close().await;
    let (server_name, census, writer) = result?;
    closed?;
    let manifest = Manifest {
        version: format::VERSION,
        server_name,
        created_ts,
        importer: Some(version_and_commit()),
        source: source.info(),
        since: None,
        tally,
        census,
        files: Vec::new(),
    };
    // Nobody else has it any more.
    let writer = Arc::into_inner(writer).ok_or(DumpError::Interrupted)?;
    Ok(writer.finish(manifest)?)
}

/// The second reader, if there is one.
struct Second<'a> {
    /// It has a thread of its own: on one that serves connections, too, the first reader would wait whenever the second one calculates.
    task: &'a mut JoinSet<Result<Tally, DumpError>>,
    /// Ends it.
    stopped: oneshot::Receiver<()>,
}

async fn read_all(
    source: &mut dyn Source,
    server: &DumpServer,
    writer: &Arc<DumpWriter>,
    tally: &mut Tally,
    second: Second<'_>,
    progress: &Progress,
) -> Result<Option<Census>, DumpError> {
    writer.server(server)?;

    let users = source.users(tally).await?;
    // A second reader begins with the rooms while the first one reads users.
    let (sender, receiver) = oneshot::channel();
    let listed = if let Some(mut source) = source.second() {
        let (writer, progress) = (Arc::clone(writer), *progress);
        let read = async move {
            let mut tally = Tally::default();
            let rooms = source.rooms(&mut tally).await?;
            let rooms = Arc::new(RoomQueue::new(rooms, progress));
            // The first reader is gone if it has failed.
            drop(sender.send(Arc::clone(&rooms)));
            source.prepare_rooms(&writer, &progress).await?;
            tally.merge(rooms.read(source.as_mut(), &writer).await?);
            source.count().await?;
            Ok(tally)
        };
        let (runtime, stopped) = (Handle::current(), second.stopped);
        second.task.spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    read = read => read,
                    _ = stopped => Err(DumpError::Interrupted),
                }
            })
        });
        Some(receiver)
    } else {
        None
    };
    let first = async {
        let bar = progress.phase("account", users.len());
        for user_id in &users {
            if let Some(user) = source.user(user_id, tally).await? {
                writer.user(&user)?;
                source.messages(&user, writer, tally).await?;
                tally.written(Kind::User, 1);
            }
            bar.advance(1);
        }
        drop(bar);
        let rooms = match listed {
            Some(listed) => match listed.await {
                Ok(rooms) => rooms,
                // The second reader has failed, and says why.
                Err(_) => return pending().await,
            },
            None => Arc::new(RoomQueue::new(source.rooms(tally).await?, *progress)),
        };
        source.prepare_rooms(writer, progress).await?;
        tally.merge(rooms.read(source, writer).await?);
        source.outbox(writer, tally).await?;
        source.media(writer, tally, progress).await?;
        Ok(source.count().await?)
    };
    let ((), second) = tokio::try_join!(first, joined(second.task))?;
    tally.merge(second);
    Ok(source.census(tally).await?)
}

/// What the second reader counted, if there is one.
async fn joined(second: &mut JoinSet<Result<Tally, DumpError>>) -> Result<Tally, DumpError> {
    match second.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
        // Nobody else ends it early.
        Some(Err(_)) => Err(DumpError::Interrupted),
        None => Ok(Tally::default()),
    }
}

/// The groups of rooms that no reader has begun.
struct RoomQueue {
    left: Mutex<vec::IntoIter<Vec<OwnedRoomId>>>,
    number: usize,
    progress: Progress,
    /// Since the first was begun.
    bar: OnceLock<Phase>,
}

impl RoomQueue {
    fn new(rooms: Vec<Vec<OwnedRoomId>>, progress: Progress) -> Self {
        let number = rooms.iter().map(Vec::len).sum();
        Self { left: Mutex::new(rooms.into_iter()), number, progress, bar: OnceLock::new() }
    }

    /// Reads rooms while there are any.
    async fn read(&self, source: &mut dyn Source, writer: &DumpWriter) -> Result<Tally, DumpError> {
        let mut tally = Tally::default();
        let bar = self.bar.get_or_init(|| self.progress.phase("room", self.number));
        while let Some(group) = self.next() {
            for room_id in &group {
                source.room(room_id, writer, &mut tally).await?;
                bar.advance(1);
            }
        }
        Ok(tally)
    }

    fn next(&self) -> Option<Vec<OwnedRoomId>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

#[cfg(test)]
mod tests;
