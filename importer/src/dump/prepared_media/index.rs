//! The index of prepared files: JSON lines. It is made anew under another name when an update begins, and appended to while
//! contents are copied, each time after they have become durable. So whatever ends an update leaves lines that hold; the last
//! one may be torn, and is passed over.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{PreparedError, PreparedOrigin};
use crate::fs::ContentHash;

/// The version of the directory and its index.
const VERSION: u32 = 1;
/// The index.
const NAME: &str = "index.jsonl";
/// The same while it is made anew.
const NEW: &str = "index.jsonl.new";
/// Nanoseconds of a second.
const NANOS: i64 = 1_000_000_000;

/// By what a changed file is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Its size.
    pub(super) bytes: u64,
    /// When its content was changed last, in nanoseconds since 1970.
    modified_ns: i64,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let seconds = metadata.mtime().saturating_mul(NANOS);
        Self { bytes: metadata.len(), modified_ns: seconds.saturating_add(metadata.mtime_nsec()) }
    }
}

/// What is known of a file of the media store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) stamp: Stamp,
    pub(super) hash: ContentHash,
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    server_name: String,
    stores: Vec<String>,
}

/// The first line of any version.
#[derive(Deserialize)]
struct AnyHead {
    version: u32,
}

/// A further line.
#[derive(Serialize, Deserialize)]
struct Line {
    /// Below the media store.
    path: String,
    /// Its size.
    bytes: u64,
    /// Nanoseconds since 1970.
    modified_ns: i64,
    /// Of its content, hexadecimal.
    sha256: String,
}

/// The entries of the index in `directory`. `None` if the directory is empty.
pub(super) fn read(
    directory: &Path,
    origin: &PreparedOrigin,
) -> Result<Option<BTreeMap<String, Entry>>, PreparedError> {
    let path = directory.join(NAME);
    let io_error = |source| PreparedError::Io { path: path.clone(), source };
    let foreign = || PreparedError::Foreign { path: directory.to_owned() };
    let mut file = match File::open(&path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return if is_begun(directory).map_err(io_error)? { Ok(None) } else { Err(foreign()) };
        }
        Err(source) => return Err(io_error(source)),
    };
    let mut line = Vec::new();
    file.read_until(b'\n', &mut line).map_err(io_error)?;
    check_head(directory, &line, origin)?;
    let mut entries = BTreeMap::new();
    loop {
        line.clear();
        if file.read_until(b'\n', &mut line).map_err(io_error)? == 0 {
            return Ok(Some(entries));
        }
        // A file without an entry is read again.
        if let Some((path, entry)) = parse(&line) {
            entries.insert(path, entry);
        }
    }
}

/// Whether a directory without an index is one that an update has just begun.
fn is_begun(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        if entry?.file_name() != NEW {
            return Ok(false);
        }
    }
    Ok(true)
}

fn check_head(directory: &Path, line: &[u8], origin: &PreparedOrigin) -> Result<(), PreparedError> {
    let path = || directory.to_owned();
    let foreign = || PreparedError::Foreign { path: path() };
    let AnyHead { version } = json(line).ok_or_else(foreign)?;
    if version != VERSION {
        return Err(PreparedError::Version { path: path() });
    }
    let Head { server_name, stores, .. } = json(line).ok_or_else(foreign)?;
    let (prepared, asked) = if server_name != origin.server_name {
        (format!("`{server_name}`"), format!("`{}`", origin.server_name))
    } else if stores != origin.stores {
        let store = |paths: &[String]| format!("the media store `{}`", paths.join("`, `"));
        (store(&stores), store(&origin.stores))
    } else {
        return Ok(());
    };
    Err(PreparedError::OtherOrigin { path: path(), prepared, asked })
}

fn json<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    serde_json::from_slice(line).ok()
}

fn parse(line: &[u8]) -> Option<(String, Entry)> {
    let Line { path, bytes, modified_ns, sha256 } = json(line)?;
    let stamp = Stamp { bytes, modified_ns };
    Some((path, Entry { stamp, hash: sha256.parse().ok()? }))
}

/// The index, open for more entries.
pub(super) struct IndexWriter(File);

impl IndexWriter {
    /// Makes the index anew, with these entries.
    pub(super) fn create(
        directory: &Path,
        origin: &PreparedOrigin,
        entries: &BTreeMap<String, Entry>,
    ) -> io::Result<Self> {
        let new = directory.join(NEW);
        let PreparedOrigin { server_name, stores } = origin.clone();
        let mut head = Vec::new();
        push(&mut head, &Head { version: VERSION, server_name, stores })?;
        let mut file = File::create(&new)?;
        file.write_all(&head)?;
        let mut writer = Self(file);
        writer.append(entries)?;
        writer.sync()?;
        fs::rename(&new, directory.join(NAME))?;
        File::open(directory)?.sync_all()?;
        Ok(writer)
    }

    /// Adds entries of contents that are durable.
    pub(super) fn append<'a>(
        &mut self,
        entries: impl IntoIterator<Item = (&'a String, &'a Entry)>,
    ) -> io::Result<()> {
        let mut lines = Vec::new();
        for (path, Entry { stamp: Stamp { bytes, modified_ns }, hash }) in entries {
            let (path, sha256) = (path.clone(), hash.to_string());
            let line = Line { path, bytes: *bytes, modified_ns: *modified_ns, sha256 };
            push(&mut lines, &line)?;
        }
        self.0.write_all(&lines)
    }

    /// Makes the index durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

fn push(lines: &mut Vec<u8>, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *lines, line)?;
    lines.push(b'\n');
    Ok(())
}
