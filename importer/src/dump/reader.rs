//! Reading a dump: checksums first, rooms as streams.

mod media;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

pub use self::media::MediaReader;
use super::{
    format::{
        self, DumpEvent, DumpRemoteReceipt, DumpRoom, DumpServer, DumpState, DumpUser, FileEntry,
        Manifest,
    },
    names,
    writer::Section,
};

/// Bytes of a file that is too large to be in memory twice.
const LARGE: u64 = if cfg!(test) { 1 << 20 } else { 128 << 20 };

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
    #[error("reading `{}`", path.display())]
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
    /// Not the lines that a room file has.
    #[error("`{}`, line {line}: expected {expected}; room files keep one item a line, as `importer dump` writes them", path.display())]
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

    /// Opens a dump and checks every file against the manifest. `progress` is called with the number of bytes checked.
    ///
    /// # Errors
    ///
    /// Any [`ReadError`] but those of single items.
    pub fn open(directory: &Path, mut progress: impl FnMut(u64)) -> Result<Self, ReadError> {
        let manifest = read_manifest(directory)?;
        for entry in &manifest.files {
            check_file(directory, entry, &mut progress)?;
        }
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
        self.paths("users/").map(|path| {
            let user: DumpUser = self.whole(path)?;
            if names::user(user.user_id.as_str()) == path {
                Ok(user)
            } else {
                Err(ReadError::WrongName { path: path.into(), found: user.user_id.into() })
            }
        })
    }

    /// How many users there are.
    pub fn number_of_users(&self) -> usize {
        self.paths("users/").count()
    }

    /// How many rooms there are.
    pub fn number_of_rooms(&self) -> usize {
        self.paths("rooms/").count()
    }

    /// All rooms, in the order of their files.
    pub fn rooms(&self) -> impl Iterator<Item = Result<RoomReader, ReadError>> + '_ {
        self.paths("rooms/").map(|path| {
            let room = RoomReader::open(self.directory.join(path))?;
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

    fn paths<'a>(&'a self, prefix: &'static str) -> impl Iterator<Item = &'a str> {
        self.manifest
            .files
            .iter()
            .map(|entry| entry.path.as_str())
            .filter(move |p| p.starts_with(prefix))
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

/// A room's file. Read [`Self::states`], then [`Self::outliers`], then [`Self::timeline`]; each gives its items one by
/// one, and what was left unread of an earlier section is passed over.
#[derive(Debug)]
pub struct RoomReader {
    path: PathBuf,
    head: DumpRoom,
    lines: BufReader<File>,
    line: u64,
    text: Vec<u8>,
    /// The section whose items come next, if one is open.
    open: Option<Section>,
}

impl RoomReader {
    fn open(path: PathBuf) -> Result<Self, ReadError> {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        let mut lines = BufReader::with_capacity(1 << 16, file);
        let mut text = Vec::new();
        if let Err(source) = lines.read_until(b'\n', &mut text) {
            return Err(ReadError::Io { path, source });
        }
        let Some(head) = text.trim_ascii_end().strip_suffix(b",") else {
            return Err(ReadError::Layout { path, line: 1, expected: "the room's head and `,`" });
        };
        let mut head = head.to_vec();
        head.push(b'}');
        match serde_json::from_slice(&head) {
            Ok(head) => Ok(Self { path, head, lines, line: 1, text, open: None }),
            Err(source) => Err(ReadError::Parse { path, line: 1, source }),
        }
    }

    /// The same room from its beginning.
    ///
    /// # Errors
    ///
    /// Those of [`DumpReader::rooms`].
    pub fn reopen(&self) -> Result<Self, ReadError> {
        Self::open(self.path.clone())
    }

    /// The room itself.
    pub fn head(&self) -> &DumpRoom {
        &self.head
    }

    /// The file, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The room's states; bases come before what differs from them.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`], [`ReadError::Layout`]; the items' own.
    pub fn states(&mut self) -> Result<Items<'_, DumpState>, ReadError> {
        self.section(Section::States)
    }

    /// The events outside the timeline.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`], [`ReadError::Layout`]; the items' own.
    pub fn outliers(&mut self) -> Result<Items<'_, DumpEvent>, ReadError> {
        self.section(Section::Outliers)
    }

    /// The timeline, oldest first.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`], [`ReadError::Layout`]; the items' own.
    pub fn timeline(&mut self) -> Result<Items<'_, DumpEvent>, ReadError> {
        self.section(Section::Timeline)
    }

    /// Read receipts of other servers' users, in no particular order.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`], [`ReadError::Layout`]; the items' own.
    pub fn receipts(&mut self) -> Result<Items<'_, DumpRemoteReceipt>, ReadError> {
        self.section(Section::Receipts)
    }

    fn section<T: DeserializeOwned>(
        &mut self,
        section: Section,
    ) -> Result<Items<'_, T>, ReadError> {
        loop {
            if self.open.is_some() {
                while self.item_line()?.is_some() {}
            }
            self.next_line()?;
            let found = Section::ALL
                .into_iter()
                .find(|s| self.text == format!("\"{}\":[", s.name()).as_bytes());
            let Some(found) = found.filter(|found| *found <= section) else {
                return Err(
                    self.layout("the next of `\"states\":[`, `\"outliers\":[`, `\"timeline\":[`, `\"receipts\":[`")
                );
            };
            self.open = Some(found);
            if found == section {
                return Ok(Items { room: self, item: std::marker::PhantomData });
            }
        }
    }

    /// The next item's line without its comma; `None` at the array's end.
    fn item_line(&mut self) -> Result<Option<&[u8]>, ReadError> {
        if self.open.is_none() {
            return Ok(None);
        }
        self.next_line()?;
        match self.text.as_slice() {
            b"]," | b"]}" => {
                self.open = None;
                Ok(None)
            }
            [b'{', ..] => Ok(Some(self.text.strip_suffix(b",").unwrap_or(&self.text))),
            _ => Err(self.layout("an item or the array's end")),
        }
    }

    fn next_line(&mut self) -> Result<(), ReadError> {
        self.text.clear();
        self.line = self.line.saturating_add(1);
        self.lines
            .read_until(b'\n', &mut self.text)
            .map_err(|source| ReadError::Io { path: self.path.clone(), source })?;
        if self.text.pop() == Some(b'\n') { Ok(()) } else { Err(self.layout("a whole line")) }
    }

    fn layout(&self, expected: &'static str) -> ReadError {
        ReadError::Layout { path: self.path.clone(), line: self.line, expected }
    }
}

/// The items of one section.
#[derive(Debug)]
pub struct Items<'a, T> {
    room: &'a mut RoomReader,
    item: std::marker::PhantomData<T>,
}

impl<T: DeserializeOwned> Iterator for Items<'_, T> {
    type Item = Result<T, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let parsed = match self.room.item_line() {
            Ok(line) => serde_json::from_slice(line?),
            Err(error) => {
                self.room.open = None;
                return Some(Err(error));
            }
        };
        Some(parsed.map_err(|source| ReadError::Parse {
            path: self.room.path.clone(),
            line: self.room.line,
            source,
        }))
    }
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
    progress: &mut impl FnMut(u64),
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
