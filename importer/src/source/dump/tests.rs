use std::{
    future::{Future, pending},
    path::Path,
    sync::Arc,
};

use async_trait::async_trait;
use ruma::{OwnedRoomId, OwnedUserId};
use serde_json::json;
use tokio::sync::Barrier;

use super::{DumpError, dump};
use crate::{
    dump::{
        DumpWriter, WriteError,
        format::{DumpMediaHead, DumpServer, DumpUser, Manifest, SourceInfo, SourceKind},
    },
    progress::Progress,
    source::{Source, SourceError, survey::Survey},
    tally::{Kind, Tally},
};

/// What a reader does with its first room, or user.
#[derive(Clone)]
enum First {
    /// Waits until the other reader has begun one.
    Meet(Arc<Barrier>),
    Fail,
    /// Fails when it lists the rooms.
    FailToList,
    /// Never comes to an end.
    Stay,
}

/// Four rooms without anything.
struct Fake {
    /// Of the only user, if there is one.
    user: Option<First>,
    first: Option<First>,
    second: Option<First>,
}

impl Fake {
    fn new(first: First, second: First) -> Self {
        Self { user: None, first: Some(first), second: Some(second) }
    }

    /// With a user.
    fn with_user(user: First, second: First) -> Self {
        Self { user: Some(user), first: None, second: Some(second) }
    }
}

async fn act(first: Option<First>, item: &str) -> Result<(), SourceError> {
    match first {
        Some(First::Meet(barrier)) => {
            barrier.wait().await;
        }
        Some(First::Fail | First::FailToList) => {
            return Err(WriteError::Twice { id: item.to_owned() }.into());
        }
        Some(First::Stay) => pending().await,
        None => {}
    }
    Ok(())
}

#[async_trait]
impl Source for Fake {
    fn info(&self) -> SourceInfo {
        let kind = SourceKind::Sqlite;
        SourceInfo {
            kind,
            synapse_version: None,
            schema_version: None,
            extent: None,
            pending_updates: Vec::new(),
        }
    }

    fn second(&mut self) -> Option<Box<dyn Source>> {
        Some(Box::new(Self { user: None, first: self.second.take(), second: None }))
    }

    async fn survey(&mut self) -> Result<Survey, SourceError> {
        unreachable!("a dump needs no survey")
    }

    async fn server(&mut self, _tally: &mut Tally) -> Result<DumpServer, SourceError> {
        let key = json!({"version": "a", "seed": "c2VlZA"});
        let server = json!({"server_name": "own.test", "signing_key": key});
        Ok(serde_json::from_value(server).unwrap())
    }

    async fn users(&mut self, _tally: &mut Tally) -> Result<Vec<OwnedUserId>, SourceError> {
        let user = self.user.as_ref().map(|_| "@alice:own.test".try_into().unwrap());
        Ok(user.into_iter().collect())
    }

    async fn user(
        &mut self,
        user_id: &OwnedUserId,
        _tally: &mut Tally,
    ) -> Result<Option<DumpUser>, SourceError> {
        act(self.user.take(), user_id.as_str()).await?;
        Ok(None)
    }

    async fn messages(
        &mut self,
        _user: &DumpUser,
        _writer: &DumpWriter,
        _tally: &mut Tally,
    ) -> Result<(), SourceError> {
        Ok(())
    }

    async fn rooms(&mut self, tally: &mut Tally) -> Result<Vec<Vec<OwnedRoomId>>, SourceError> {
        if matches!(self.first, Some(First::FailToList)) {
            act(self.first.take(), "!list").await?;
        }
        let rooms = ["!a:own.test", "!b:own.test", "!c:own.test", "!d:own.test"];
        tally.read(Kind::Room, 4);
        Ok(rooms.map(|room| vec![room.try_into().unwrap()]).into())
    }

    async fn room(
        &mut self,
        room_id: &OwnedRoomId,
        writer: &DumpWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        act(self.first.take(), room_id.as_str()).await?;
        let head = serde_json::from_value(json!({"room_id": room_id})).unwrap();
        writer.finish_room(writer.room(&head)?)?;
        tally.written(Kind::Room, 1);
        Ok(())
    }

    async fn media(
        &mut self,
        writer: &DumpWriter,
        _tally: &mut Tally,
        _progress: &Progress,
    ) -> Result<(), SourceError> {
        let head: DumpMediaHead = serde_json::from_value(json!({})).unwrap();
        Ok(writer.finish_media(writer.media(&head)?)?)
    }

    async fn close(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}

async fn dumped(
    mut source: Fake,
    directory: &Path,
    interrupt: impl Future<Output = ()>,
) -> Result<Manifest, DumpError> {
    dump(&mut source, directory, None, 1, &Progress::Hidden, interrupt).await
}

#[tokio::test]
async fn two_readers_share_the_rooms() {
    let scratch = tempfile::tempdir().unwrap();
    let meet = First::Meet(Arc::new(Barrier::new(2)));
    let source = Fake::new(meet.clone(), meet);
    let manifest = dumped(source, &scratch.path().join("dump"), pending()).await.unwrap();
    assert_eq!(manifest.tally.unbalanced(), []);
    assert_eq!(manifest.tally.written[&Kind::Room], 4);
    let paths: Vec<_> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    assert!(paths.is_sorted() && paths.len() == 2 + 4 * 2, "{paths:?}");
}

#[tokio::test]
async fn one_reads_rooms_while_the_other_reads_users() {
    let scratch = tempfile::tempdir().unwrap();
    let meet = First::Meet(Arc::new(Barrier::new(2)));
    let source = Fake::with_user(meet.clone(), meet);
    let manifest = dumped(source, &scratch.path().join("dump"), pending()).await.unwrap();
    assert_eq!(manifest.tally.written[&Kind::Room], 4);
}

#[tokio::test]
async fn an_error_of_either_reader_ends_both() {
    for source in [
        Fake::new(First::Fail, First::Stay),
        Fake::new(First::Stay, First::Fail),
        Fake::new(First::Stay, First::FailToList),
        Fake::with_user(First::Stay, First::Fail),
        Fake::with_user(First::Stay, First::FailToList),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("dump");
        let error = dumped(source, &directory, pending()).await.unwrap_err();
        assert!(error.to_string().contains("the source returned `!"), "{error}");
        assert!(!directory.exists());
    }
}

#[tokio::test]
async fn an_interruption_ends_both_readers() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("dump");
    let barrier = Arc::new(Barrier::new(2));
    let source = Fake::with_user(First::Stay, First::Meet(Arc::clone(&barrier)));
    // The other reader is at work by then.
    let interrupt = async {
        barrier.wait().await;
    };
    let error = dumped(source, &directory, interrupt).await.unwrap_err();
    assert!(matches!(error, DumpError::Interrupted), "{error}");
    assert!(!directory.exists());
    assert_eq!(Arc::strong_count(&barrier), 1, "somebody still reads");
}
