//! Writing a dump: files aside, checksums, the manifest last.

mod file;
mod media;
mod messages;
mod outbox;
mod room;

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::Serialize;
use serde_json::value::RawValue;

use self::file::HashingFile;
pub(super) use self::room::Section;
pub use self::{
    media::MediaWriter, messages::MessageWriter, outbox::OutboxWriter, room::RoomWriter,
};
use super::{
    EarlierDump, EarlierHistory, ReadError,
    format::{DumpHistory, DumpRoom, DumpServer, DumpState, DumpUser, FileEntry, Manifest},
    names,
};
use crate::fs::{
    PutError,
    atomic_dir::{Partial, PartialError},
    hints,
};

/// Why a dump could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The directory can't be made or completed.
    #[error(transparent)]
    Partial(#[from] PartialError),
    /// The operating system refused.
    #[error("writing `{}`{}", path.display(), hints::of(source))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// A media file could not be copied.
    #[error(transparent)]
    Media(#[from] PutError),
    /// The same file was written twice: the source named an item twice.
    #[error("the source returned `{id}` twice")]
    Twice {
        /// The item.
        id: String,
    },
    /// The earlier dump could not be read.
    #[error("the earlier dump can't be used; leave out `--since` to read everything anew")]
    Earlier(#[from] ReadError),
    /// A section of a room file came out of order.
    #[error("room file section {section:?} came after a later one")]
    Order {
        /// The section.
        section: Section,
    },
}

/// Writes a dump into a new directory, which appears under its name when the dump is complete. Any number of rooms can be
/// written at a time.
#[derive(Debug)]
pub struct DumpWriter {
    directory: Partial,
    /// Those that are complete.
    files: Mutex<Vec<FileEntry>>,
    earlier: Option<EarlierDump>,
}

impl DumpWriter {
    /// Begins a dump in `directory`, which must be absent or empty.
    ///
    /// # Errors
    ///
    /// [`WriteError::Partial`], [`WriteError::Io`].
    pub fn create(directory: &Path) -> Result<Self, WriteError> {
        let directory = Partial::create(directory)?;
        for name in ["users", "rooms"] {
            let path = directory.path().join(name);
            DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .map_err(|source| WriteError::Io { path, source })?;
        }
        Ok(Self { directory, files: Mutex::default(), earlier: None })
    }

    /// With an earlier dump of the same homeserver, from which histories of rooms can be taken over.
    #[must_use]
    pub fn since(self, earlier: Option<EarlierDump>) -> Self {
        Self { earlier, ..self }
    }

    /// The directory that the dump is written in, for files without a name.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Whether histories of rooms are taken over from an earlier dump.
    pub fn is_since(&self) -> bool {
        self.earlier.is_some()
    }

    /// Writes `server.json`.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Twice`].
    pub fn server(&self, server: &DumpServer) -> Result<(), WriteError> {
        self.whole("server.json".into(), &server.server_name, server)
    }

    /// Writes a user's file.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Twice`].
    pub fn user(&self, user: &DumpUser) -> Result<(), WriteError> {
        self.whole(names::user(user.user_id.as_str()), user.user_id.as_str(), user)
    }

    /// Begins a room's files. [`Self::finish_room`] must follow.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Twice`].
    pub fn room(&self, room: &DumpRoom) -> Result<RoomWriter, WriteError> {
        RoomWriter::create(self.directory.path(), room)
    }

    /// The history of a room in the earlier dump, if it is still what Synapse has. `fingerprint`: what Synapse's tables say of it
    /// now. `current`: the state that comes first.
    ///
    /// # Errors
    ///
    /// [`WriteError::Earlier`].
    pub fn earlier_history(
        &self,
        room: &DumpRoom,
        fingerprint: &str,
        current: Option<&DumpState>,
    ) -> Result<Option<EarlierHistory>, WriteError> {
        let Some(earlier) = &self.earlier else { return Ok(None) };
        Ok(earlier.history(room, fingerprint, current)?)
    }

    /// Begins a room's files with a history of the earlier dump: states, outliers and timeline are complete.
    /// [`Self::finish_room`] must follow.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Twice`], [`WriteError::Earlier`].
    pub fn room_since(
        &self,
        room: &DumpRoom,
        earlier: EarlierHistory,
    ) -> Result<(RoomWriter, DumpHistory), WriteError> {
        let EarlierHistory { room: mut reader, history } = earlier;
        let directory = self.directory.path();
        let timeline = match &self.earlier {
            Some(earlier) => earlier.link(room, &history, directory),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let timeline =
            timeline.map_err(|source| WriteError::Io { path: reader.path().to_owned(), source })?;
        let mut writer = RoomWriter::with_timeline(directory, room, timeline)?;
        for section in [Section::States, Section::Outliers] {
            for item in reader.section::<Box<RawValue>>(section)? {
                writer.earlier(section, &item?)?;
            }
        }
        Ok((writer, history))
    }

    /// Ends a room's files.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`].
    pub fn finish_room(&self, room: RoomWriter) -> Result<(), WriteError> {
        self.complete(room.finish()?);
        Ok(())
    }

    /// Writes the manifest, with the entries of all files, makes everything durable, and gives the directory its name.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Partial`].
    pub fn finish(self, mut manifest: Manifest) -> Result<Manifest, WriteError> {
        manifest.files = self.files.into_inner().unwrap_or_else(PoisonError::into_inner);
        manifest.files.sort_by(|a, b| a.path.cmp(&b.path));
        manifest.tally.skipped.sort();
        manifest.since = self.earlier.as_ref().map(EarlierDump::since);
        let name = "manifest.json";
        let mut file = HashingFile::create(self.directory.path(), name.into(), name)?;
        file.write(&to_vec_pretty(&manifest))?;
        file.finish()?;
        // All files at once: one by one, each would wait for the disk.
        let path = self.directory.path();
        File::open(path)
            .and_then(|directory| Ok(rustix::fs::syncfs(directory)?))
            .map_err(|source| WriteError::Io { path: path.to_owned(), source })?;
        self.directory.finish()?;
        Ok(manifest)
    }

    fn whole(&self, path: String, id: &str, value: &impl Serialize) -> Result<(), WriteError> {
        let mut file = HashingFile::create(self.directory.path(), path, id)?;
        // A user's keys can be a hundred megabytes: they are in memory once, not twice.
        if let Err(error) = serde_json::to_writer_pretty(&mut file, value) {
            return Err(file.error(error.into()));
        }
        file.write(b"\n")?;
        self.complete([file.finish()?]);
        Ok(())
    }

    /// Notes complete files.
    fn complete(&self, files: impl IntoIterator<Item = FileEntry>) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).extend(files);
    }
}

/// JSON without line breaks: raw JSON may come with some between its tokens; inside strings they are always escaped.
#[expect(clippy::expect_used, reason = "these types have string keys and no failing serializer")]
fn write_line(line: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    line.clear();
    serde_json::to_writer(&mut *line, value).expect("dump types serialise");
    for byte in line {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

#[expect(clippy::expect_used, reason = "these types have string keys and no failing serializer")]
fn to_vec(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("dump types serialise")
}

#[expect(clippy::expect_used, reason = "these types have string keys and no failing serializer")]
fn to_vec_pretty(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("dump types serialise")
}
