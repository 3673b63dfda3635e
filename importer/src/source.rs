//! What a homeserver that can be read must offer: [`Source`], with the [`survey`] taken before anything is read; [`mod@dump`]
//! drives it into a dump.
//!
//! [`crate::synapse`] is the one homeserver today. Another one is another folder, and a line in `cli/arguments/source.rs`.

pub mod dump;
pub mod survey;

use async_trait::async_trait;
use ruma::{OwnedRoomId, OwnedUserId};

use self::survey::Survey;
use crate::{
    dump::{
        DumpWriter, MediaStore, WriteError,
        census::Census,
        format::{DumpServer, DumpUser, SourceInfo},
    },
    progress::Progress,
    tally::Tally,
};

/// A homeserver that can be read.
///
/// Obligations: what was read equals what was written plus what was skipped, in `tally`; a broken item is skipped with
/// its id and a reason, and never ends the run; an error ends it.
#[async_trait]
pub trait Source: Send {
    /// What this source is.
    fn info(&self) -> SourceInfo;

    /// A second reader of the same snapshot, if the source supports one. It lists the rooms and begins to read them, while the first
    /// reads users; then both read rooms, and count. It need not be closed.
    fn second(&mut self) -> Option<Box<dyn Source>> {
        None
    }

    /// Surveys the homeserver before anything is read.
    ///
    /// # Errors
    ///
    /// If the source can't be read any further.
    async fn survey(&mut self) -> Result<Survey, SourceError>;

    /// What belongs to the server as a whole.
    ///
    /// # Errors
    ///
    /// If the source can't be read any further.
    async fn server(&mut self, tally: &mut Tally) -> Result<DumpServer, SourceError>;

    /// All local accounts: guests, deactivated and application services' ones too. Sorted.
    ///
    /// # Errors
    ///
    /// If the source can't be read any further.
    async fn users(&mut self, tally: &mut Tally) -> Result<Vec<OwnedUserId>, SourceError>;

    /// One account with all it owns but [`Source::messages`]. `None`: skipped, in `tally`.
    ///
    /// # Errors
    ///
    /// If the source can't be read any further.
    async fn user(
        &mut self,
        user_id: &OwnedUserId,
        tally: &mut Tally,
    ) -> Result<Option<DumpUser>, SourceError>;

    /// Writes the messages that wait for a user's devices, by [`DumpWriter::messages`] and
    /// [`DumpWriter::finish_messages`].
    ///
    /// # Errors
    ///
    /// If the source can't be read, or the dump can't be written any further.
    async fn messages(
        &mut self,
        user: &DumpUser,
        writer: &DumpWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError>;

    /// All rooms that a local user is or was in, is invited to or knocks at, in groups: one reader takes all rooms of a group, in
    /// their order. One reader lists them, before any room is read.
    ///
    /// # Errors
    ///
    /// If the source can't be read any further.
    async fn rooms(&mut self, tally: &mut Tally) -> Result<Vec<Vec<OwnedRoomId>>, SourceError>;

    /// Reads, with the other reader, what is read of all rooms at once; ends when both have. Each reader calls it, after one has listed the
    /// rooms and before it reads one.
    ///
    /// # Errors
    ///
    /// If the source can't be read, or the dump's directory can't be written any further.
    async fn prepare_rooms(
        &mut self,
        _writer: &DumpWriter,
        _progress: &Progress,
    ) -> Result<(), SourceError> {
        Ok(())
    }

    /// Writes one room: calls [`DumpWriter::room`], passes states, outliers and the timeline to the room writer, calls
    /// [`DumpWriter::finish_room`]. Or skips it, in `tally`. Called when this reader, or the other one, has listed the rooms.
    ///
    /// # Errors
    ///
    /// If the source can't be read, or the dump can't be written any further.
    async fn room(
        &mut self,
        room_id: &OwnedRoomId,
        writer: &DumpWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError>;

    /// Writes what the homeserver had not yet delivered to other servers and application services, by [`DumpWriter::outbox`] and
    /// [`DumpWriter::finish_outbox`]. A source that can't know it writes nothing.
    ///
    /// # Errors
    ///
    /// If the source can't be read, or the dump can't be written any further.
    async fn outbox(&mut self, writer: &DumpWriter, tally: &mut Tally) -> Result<(), SourceError> {
        let _unknown = (writer, tally);
        Ok(())
    }

    /// Writes `media.jsonl` by [`DumpWriter::media`] and [`DumpWriter::finish_media`], and the files if they are copied.
    /// With [`crate::dump::MediaFiles::None`] the media is only counted.
    ///
    /// # Errors
    ///
    /// If the source can't be read, or the dump can't be written any further.
    async fn media(
        &mut self,
        writer: &DumpWriter,
        tally: &mut Tally,
        progress: &Progress,
    ) -> Result<(), SourceError>;

    /// The media files to which a dump of the same extent would refer, without writing one. `None`: the source can't refer to files.
    ///
    /// # Errors
    ///
    /// If the source can't be read any further.
    async fn media_files(&mut self) -> Result<Option<ReferredFiles>, SourceError> {
        Ok(None)
    }

    /// Counts, for [`Source::census`], the rows of tables that no reader has begun to count. Called when this reader has read its rooms.
    ///
    /// # Errors
    ///
    /// If the source can't be read any further.
    async fn count(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    /// Compares the rows of all tables with those that `tally` counted as read; rows without an owner are counted as left out. Called
    /// after everything was read, when every reader has counted. `None`: the source has no tables.
    ///
    /// # Errors
    ///
    /// If the source can't be read any further.
    async fn census(&mut self, _tally: &mut Tally) -> Result<Option<Census>, SourceError> {
        Ok(None)
    }

    /// Ends reading: transactions, login tokens. Called after an error or an interruption as well.
    ///
    /// # Errors
    ///
    /// If something could not be given back; the message names it.
    async fn close(&mut self) -> Result<(), SourceError>;
}

/// Media files to which a dump refers.
#[derive(Debug)]
pub struct ReferredFiles {
    /// Where they are.
    pub store: MediaStore,
    /// Their paths below that, without those that the homeserver makes none of. A file may be missing.
    pub paths: Vec<String>,
}

/// Why a source can't be read any further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The homeserver's own reason.
    #[error(transparent)]
    Homeserver(Box<dyn std::error::Error + Send + Sync>),
    /// The dump could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}
