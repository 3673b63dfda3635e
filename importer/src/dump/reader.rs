//! Reading a dump: checksums first, rooms as streams.

#![warn(clippy::arithmetic_side_effects, reason = "a dump may say any numbers")]

mod ahead;
mod lines;
mod media;
mod messages;
mod outbox;
mod room;

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use self::lines::Lines;
pub use self::{
    media::MediaReader, messages::MessageReader, outbox::OutboxReader, room::RoomReader,
};
use super::{
    format::{self, DumpServer, DumpUser, FileEntry, Manifest},
    names,
};
use crate::fs::hints;

/// Bytes of a file that is too large to be in memory twice.
const LARGE: u64 = if cfg!(test) { 1 << 20 } else { 16 << 20 };

/// Why a dump could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No manifest: the dump was not finished, or this is another directory.
    #[error(
        "`{}` holds no manifest.json: it is no dump, or the dump did not finish; run `importer dump` again into a new directory",
        path.display()
    )]
    NoManifest {
        /// The directory.
        path: PathBuf,
    },
    /// The dump was written by a version of the importer that this one does not know.
    #[error(
        "the dump has format version {found}, this importer reads version {}; dump again with this importer",
        format::VERSION
    )]
    Version {
        /// The manifest's version.
        found: u64,
    },
    /// A file that the manifest names is not there.
    #[error(
        "the dump lacks `{path}`, which its manifest names; copy the dump again, whole, or dump again"
    )]
    Missing {
        /// The file, below the dump's directory.
        path: String,
    },
    /// A file is not what was written.
    #[error(
        "`{path}` is not the file that was dumped ({what} differs from the manifest); copy the dump again or dump again"
    )]
    Changed {
        /// The file, below the dump's directory.
        path: String,
        /// `size` or `checksum`.
        what: &'static str,
    },
    /// A manifest path that leads out of the dump, or names no file of a dump.
    #[error(
        "the manifest names `{path}`, which is no path of a dump; the dump is damaged, dump again"
    )]
    ForeignPath {
        /// The path.
        path: String,
    },
    /// The operating system refused.
    #[error("reading `{}`{}", path.display(), hints::of(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// Not the JSON that a dump holds.
    #[error("reading `{}`, line {line}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Not the lines that a file has that is read line by line.
    #[error("`{}`, line {line}: expected {expected}; such files keep one item a line, as `importer dump` writes them", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What should stand there.
        expected: &'static str,
    },
    /// A file that holds another item than its name says.
    #[error(
        "`{path}` holds `{found}`, whose file would have another name; the dump is damaged, dump again"
    )]
    WrongName {
        /// The file.
        path: String,
        /// The id inside.
        found: String,
    },
}

/// A dump whose files are all there and unchanged.
#[derive(Clone, Debug)]
pub struct DumpReader {
    directory: PathBuf,
    manifest: Manifest,
}

impl DumpReader {
    /// The manifest of a finished dump, whose files are not checked.
    ///
    /// # Errors
    ///
    /// Those of an unreadable manifest.
    pub fn peek(directory: &Path) -> Result<Manifest, ReadError> {
        read_manifest(directory)
    }

    /// The number of bytes that [`Self::open`] will check.
    ///
    /// # Errors
    ///
    /// Those of an unreadable manifest.
    pub fn size(directory: &Path) -> Result<u64, ReadError> {
        let manifest = read_manifest(directory)?;
        Ok(manifest.files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.bytes)))
    }

    /// Opens a dump and checks every file against the manifest, on all cores. `progress` is called with the number of bytes
    /// checked.
    ///
    /// # Errors
    ///
    /// Any [`ReadError`] but those of single items.
    pub fn open(directory: &Path, progress: impl Fn(u64) + Sync) -> Result<Self, ReadError> {
        let mut manifest = read_manifest(directory)?;
        manifest.files.sort_by(|a, b| a.path.cmp(&b.path));
        // The first that is damaged is named, whichever is found first.
        let checked =
            manifest.files.par_iter().map(|entry| check_file(directory, entry, &progress));
        checked.collect::<Vec<_>>().into_iter().collect::<Result<(), _>>()?;
        if !manifest.files.iter().any(|entry| entry.path == "server.json") {
            return Err(ReadError::Missing { path: "server.json".into() });
        }
        Ok(Self { directory: directory.to_owned(), manifest })
    }

    /// Where the dump is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// `server.json`.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`], [`ReadError::Parse`].
    pub fn server(&self) -> Result<DumpServer, ReadError> {
        self.whole("server.json")
    }

    /// All users, in the order of their files. One is in memory at a time.
    pub fn users(&self) -> impl Iterator<Item = Result<DumpUser, ReadError>> + '_ {
        self.user_files().map(|file| self.user(file))
    }

    /// How many users there are.
    pub fn number_of_users(&self) -> usize {
        self.user_files().count()
    }

    /// How many rooms there are.
    pub fn number_of_rooms(&self) -> usize {
        self.room_paths().count()
    }

    /// All rooms, in the order of their files.
    pub fn rooms(&self) -> impl Iterator<Item = Result<RoomReader, ReadError>> + '_ {
        self.every_room(0, 1)
    }

    /// Every `step`th room (each, if that is 0) from the one on that comes after `before` others, in the order of their files.
    pub fn every_room(
        &self,
        before: usize,
        step: usize,
    ) -> impl Iterator<Item = Result<RoomReader, ReadError>> + '_ {
        self.room_paths().skip(before).step_by(step.max(1)).map(|(path, timeline)| {
            if !self.has(&timeline) {
                return Err(ReadError::Missing { path: timeline });
            }
            let room = RoomReader::open(self.directory.join(path), self.directory.join(timeline))?;
            if names::room(room.head().room_id.as_str()) == path {
                Ok(room)
            } else {
                Err(ReadError::WrongName {
                    path: path.into(),
                    found: room.head().room_id.to_string(),
                })
            }
        })
    }

    /// A room, if there is such a one.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`], [`ReadError::Layout`], [`ReadError::Parse`].
    pub fn room(&self, room_id: &str) -> Result<Option<RoomReader>, ReadError> {
        let path = names::room(room_id);
        let timeline = names::timeline(&path).filter(|timeline| self.has(timeline));
        let Some(timeline) = timeline.filter(|_| self.has(&path)) else { return Ok(None) };
        RoomReader::open(self.directory.join(path), self.directory.join(timeline)).map(Some)
    }

    /// The files of users, to be given to [`Self::user`].
    pub fn user_files(&self) -> impl Iterator<Item = &FileEntry> {
        self.files("users/").filter(|file| file.path.strip_suffix(".json").is_some())
    }

    /// The user of a file.
    ///
    /// # Errors
    ///
    /// Those of single items.
    pub fn user(&self, file: &FileEntry) -> Result<DumpUser, ReadError> {
        let path = &file.path;
        let user: DumpUser = self.whole(path)?;
        if names::user(user.user_id.as_str()) == *path {
            Ok(user)
        } else {
            Err(ReadError::WrongName { path: path.clone(), found: user.user_id.into() })
        }
    }

    /// Paths of rooms' files, and of their timelines.
    fn room_paths(&self) -> impl Iterator<Item = (&str, String)> {
        let paths = self.files("rooms/").map(|file| file.path.as_str());
        paths.filter_map(|path| Some((path, names::timeline(path)?)))
    }

    /// Whether the manifest names a file.
    fn has(&self, path: &str) -> bool {
        self.file(path).is_some()
    }

    /// A file that the manifest names.
    pub(super) fn file(&self, path: &str) -> Option<&FileEntry> {
        let files = &self.manifest.files;
        files.get(files.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()?)
    }

    fn files<'a>(&'a self, prefix: &'static str) -> impl Iterator<Item = &'a FileEntry> {
        self.manifest.files.iter().filter(move |file| file.path.starts_with(prefix))
    }

    fn whole<T: DeserializeOwned>(&self, name: &str) -> Result<T, ReadError> {
        let path = self.directory.join(name);
        let parsed = match parse(&path) {
            Ok(parsed) => parsed,
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        parsed.map_err(|source| ReadError::Parse {
            path,
            line: u64::try_from(source.line()).unwrap_or(0),
            source,
        })
    }
}

/// Parses a whole file. Of a large one, only what it holds is in memory, not its text as well.
fn parse<T: DeserializeOwned>(path: &Path) -> io::Result<Result<T, serde_json::Error>> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() <= LARGE {
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        return Ok(serde_json::from_slice(&text));
    }
    let buffered = BufReader::with_capacity(1 << 20, file);
    #[expect(clippy::disallowed_methods, reason = "it is slow, and needs no second copy")]
    let parsed = serde_json::from_reader(buffered);
    Ok(parsed)
}

fn read_manifest(directory: &Path) -> Result<Manifest, ReadError> {
    let path = directory.join("manifest.json");
    let text = std::fs::read(&path).map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            ReadError::NoManifest { path: directory.to_owned() }
        } else {
            ReadError::Io { path: path.clone(), source }
        }
    })?;
    let parse_error = |source| ReadError::Parse { path: path.clone(), line: 1, source };
    let version: serde_json::Value = serde_json::from_slice(&text).map_err(parse_error)?;
    let found = version.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if found != u64::from(format::VERSION) {
        return Err(ReadError::Version { found });
    }
    serde_json::from_slice(&text).map_err(parse_error)
}

fn check_file(
    directory: &Path,
    entry: &FileEntry,
    progress: &impl Fn(u64),
) -> Result<(), ReadError> {
    let plain = entry.path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if !plain || entry.path.contains('\\') {
        return Err(ReadError::ForeignPath { path: entry.path.clone() });
    }
    let path = directory.join(&entry.path);
    let mut file = File::open(&path).map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            ReadError::Missing { path: entry.path.clone() }
        } else {
            ReadError::Io { path: path.clone(), source }
        }
    })?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut bytes: u64 = 0;
    loop {
        let length = file
            .read(&mut buffer)
            .map_err(|source| ReadError::Io { path: path.clone(), source })?;
        let Some(chunk) = buffer.get(..length).filter(|chunk| !chunk.is_empty()) else { break };
        hash.update(chunk);
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        bytes = bytes.saturating_add(length);
        progress(length);
    }
    if bytes != entry.bytes {
        return Err(ReadError::Changed { path: entry.path.clone(), what: "size" });
    }
    if hex::encode(hash.finalize()) != entry.sha256 {
        return Err(ReadError::Changed { path: entry.path.clone(), what: "checksum" });
    }
    Ok(())
}
