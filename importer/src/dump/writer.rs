//! Writing a dump: files aside, checksums, the manifest last.

mod media;

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::Serialize;
use sha2::{Digest, Sha256};

pub use self::media::MediaWriter;
use super::{
    format::{
        DumpEvent, DumpRemoteReceipt, DumpRoom, DumpServer, DumpState, DumpUser, FileEntry,
        Manifest,
    },
    names,
};
use crate::{
    media::PutError,
    partial::{Partial, PartialError},
    remedy,
};

/// Why a dump could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The directory can't be made or completed.
    #[error(transparent)]
    Partial(#[from] PartialError),
    /// The operating system refused.
    #[error("writing `{}`{}", path.display(), remedy::of(source))]
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
    #[error("the source gave `{id}` twice")]
    Twice {
        /// The item.
        id: String,
    },
    /// A section of a room file came out of order.
    #[error("room file section {section:?} came after a later one")]
    Order {
        /// The section.
        section: Section,
    },
}

/// The sections of a room file, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Room states.
    States,
    /// Events outside the timeline.
    Outliers,
    /// The timeline.
    Timeline,
    /// Read receipts of other servers' users.
    Receipts,
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::States, Self::Outliers, Self::Timeline, Self::Receipts];

    /// The array's name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::States => "states",
            Self::Outliers => "outliers",
            Self::Timeline => "timeline",
            Self::Receipts => "receipts",
        }
    }
}

/// Writes a dump into a new directory, which appears under its name when the dump is complete.
#[derive(Debug)]
pub struct DumpWriter {
    directory: Partial,
    files: Vec<FileEntry>,
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
        Ok(Self { directory, files: Vec::new() })
    }

    /// Writes `server.json`.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Twice`].
    pub fn server(&mut self, server: &DumpServer) -> Result<(), WriteError> {
        self.whole("server.json".into(), &server.server_name, server)
    }

    /// Writes a user's file.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Twice`].
    pub fn user(&mut self, user: &DumpUser) -> Result<(), WriteError> {
        self.whole(names::user(user.user_id.as_str()), user.user_id.as_str(), user)
    }

    /// Begins a room's file. [`Self::finish_room`] must follow.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Twice`].
    pub fn room(&mut self, room: &DumpRoom) -> Result<RoomWriter, WriteError> {
        let mut file = HashingFile::create(
            self.directory.path(),
            names::room(room.room_id.as_str()),
            room.room_id.as_str(),
        )?;
        let mut head = to_vec(room);
        // The head is an object with at least `room_id`; the arrays take the place of its closing brace.
        head.pop();
        file.write(&head)?;
        Ok(RoomWriter { file, section: None, first: true })
    }

    /// Ends a room's file.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`].
    pub fn finish_room(&mut self, mut room: RoomWriter) -> Result<(), WriteError> {
        room.advance_to(None)?;
        room.file.write(b"}\n")?;
        self.files.push(room.file.finish()?);
        Ok(())
    }

    /// Writes the manifest, with the entries of all files, makes everything durable, and gives the directory its name.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Partial`].
    pub fn finish(mut self, mut manifest: Manifest) -> Result<Manifest, WriteError> {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        manifest.files = std::mem::take(&mut self.files);
        manifest.tally.skipped.sort();
        let name = "manifest.json";
        let mut file = HashingFile::create(self.directory.path(), name.into(), name)?;
        file.write(&to_vec_pretty(&manifest))?;
        file.finish()?;
        self.directory.finish()?;
        Ok(manifest)
    }

    fn whole(&mut self, path: String, id: &str, value: &impl Serialize) -> Result<(), WriteError> {
        let mut file = HashingFile::create(self.directory.path(), path, id)?;
        // A user's keys and messages can be hundreds of megabytes: they are in memory once, not twice.
        if let Err(error) = serde_json::to_writer_pretty(&mut file, value) {
            return Err(WriteError::Io { path: file.path, source: error.into() });
        }
        file.write(b"\n")?;
        self.files.push(file.finish()?);
        Ok(())
    }
}

/// Writes the arrays of one room's file, one item a line: states, outliers, the timeline, receipts.
#[derive(Debug)]
pub struct RoomWriter {
    file: HashingFile,
    section: Option<Section>,
    first: bool,
}

impl RoomWriter {
    /// Appends a state.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Order`].
    pub fn state(&mut self, state: &DumpState) -> Result<(), WriteError> {
        self.item(Section::States, state)
    }

    /// Appends an event that is known, but not part of the timeline: state, auth events, soft-failed events.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Order`].
    pub fn outlier(&mut self, event: &DumpEvent) -> Result<(), WriteError> {
        self.item(Section::Outliers, event)
    }

    /// Appends a timeline event; oldest first, in the order in which users saw them.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Order`].
    pub fn timeline(&mut self, event: &DumpEvent) -> Result<(), WriteError> {
        self.item(Section::Timeline, event)
    }

    /// Appends the receipt of a user of another server.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Order`].
    pub fn receipt(&mut self, receipt: &DumpRemoteReceipt) -> Result<(), WriteError> {
        self.item(Section::Receipts, receipt)
    }

    fn item(&mut self, section: Section, item: &impl Serialize) -> Result<(), WriteError> {
        if self.section > Some(section) {
            return Err(WriteError::Order { section });
        }
        if self.section != Some(section) {
            self.advance_to(Some(section))?;
        }
        self.file.write(if self.first { b"\n" } else { b",\n" })?;
        self.first = false;
        self.file.write(&one_line(item))
    }

    /// Closes the open array, writes empty ones for sections that had nothing, opens the next.
    fn advance_to(&mut self, target: Option<Section>) -> Result<(), WriteError> {
        for section in Section::ALL {
            if Some(section) == self.section {
                self.file.write(b"\n]")?;
            }
            if Some(section) <= self.section {
                continue;
            }
            if target.is_some_and(|target| section > target) {
                break;
            }
            self.file.write(format!(",\n\"{}\":[", section.name()).as_bytes())?;
            if Some(section) != target {
                self.file.write(b"\n]")?;
            }
        }
        self.section = target;
        self.first = true;
        Ok(())
    }
}

/// A file of the dump, hashed while it is written.
#[derive(Debug)]
struct HashingFile {
    path: PathBuf,
    name: String,
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl HashingFile {
    fn create(directory: &Path, name: String, id: &str) -> Result<Self, WriteError> {
        let path = directory.join(&name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match file {
            Ok(file) => Ok(Self {
                path,
                name,
                file: BufWriter::with_capacity(1 << 16, file),
                hash: Sha256::new(),
                bytes: 0,
            }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(WriteError::Twice { id: id.into() })
            }
            Err(source) => Err(WriteError::Io { path, source }),
        }
    }

    fn write(&mut self, data: &[u8]) -> Result<(), WriteError> {
        self.write_all(data).map_err(|source| WriteError::Io { path: self.path.clone(), source })
    }

    fn finish(self) -> Result<FileEntry, WriteError> {
        let Self { path, name, file, hash, bytes } = self;
        file.into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .map_err(|source| WriteError::Io { path, source })?;
        Ok(FileEntry { path: name, bytes, sha256: hex::encode(hash.finalize()) })
    }
}

impl Write for HashingFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.file.write_all(data)?;
        self.hash.update(data);
        self.bytes = self.bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// JSON without line breaks: raw JSON may come with some between its tokens; inside strings they are always escaped.
fn one_line(value: &impl Serialize) -> Vec<u8> {
    let mut line = to_vec(value);
    for byte in &mut line {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    line
}

#[expect(clippy::expect_used, reason = "these types have string keys and no failing serializer")]
fn to_vec(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("dump types serialise")
}

#[expect(clippy::expect_used, reason = "these types have string keys and no failing serializer")]
fn to_vec_pretty(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("dump types serialise")
}
