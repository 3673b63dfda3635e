//! Directories that name files by their content.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    num::NonZeroU8,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::hints;

/// Length of a hash in hexadecimal.
const HEX: u8 = 64;
/// Bytes in memory for a file under way.
const BUFFER: usize = 1 << 17;

/// The SHA-256 of a file's content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<&[u8]> for ContentHash {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

impl FromStr for ContentHash {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// How the directory splits a hash into folders (Conduit: src/config/mod.rs:518-566).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Not at all.
    Flat,
    /// `depth` folders with names of `length` characters; the file has the rest.
    Deep {
        /// Characters of a folder's name.
        length: NonZeroU8,
        /// Number of folders.
        depth: NonZeroU8,
    },
}

/// The folders would use up the whole hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("length times depth must be less than {HEX}")]
pub struct LayoutError;

impl Layout {
    /// Checks the numbers as Conduit does.
    ///
    /// # Errors
    ///
    /// [`LayoutError`].
    pub fn deep(length: NonZeroU8, depth: NonZeroU8) -> Result<Self, LayoutError> {
        match length.get().checked_mul(depth.get()) {
            Some(product) if product < HEX => Ok(Self::Deep { length, depth }),
            _ => Err(LayoutError),
        }
    }

    /// The path of a content below the directory (Conduit: src/service/globals/mod.rs:493-533).
    pub fn path(self, hash: &ContentHash) -> PathBuf {
        let name = hash.to_string();
        let mut rest = name.as_str();
        let mut path = PathBuf::new();
        if let Self::Deep { length, depth } = self {
            for _ in 0..depth.get() {
                let (folder, after) =
                    rest.split_at_checked(length.get().into()).unwrap_or((rest, ""));
                path.push(folder);
                rest = after;
            }
        }
        path.push(rest);
        path
    }
}

impl Default for Layout {
    fn default() -> Self {
        const TWO: NonZeroU8 = NonZeroU8::MIN.saturating_add(1);
        Self::Deep { length: TWO, depth: TWO }
    }
}

/// A directory that names files by their content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentDirectory {
    path: PathBuf,
    layout: Layout,
}

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// It can't be read to its end.
    #[error("reading the file")]
    Read(#[source] io::Error),
    /// It has another content than it should have.
    #[error("the file has another content than it should have")]
    Other,
    /// The directory can't be written.
    #[error("writing `{}`{}", path.display(), hints::of(source))]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ContentDirectory {
    /// Names a directory, which need not exist.
    pub fn new(path: PathBuf, layout: Layout) -> Self {
        Self { path, layout }
    }

    /// The same at another place.
    #[must_use]
    pub fn at(&self, path: PathBuf) -> Self {
        Self { path, layout: self.layout }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a content is or would be.
    pub fn file(&self, hash: &ContentHash) -> PathBuf {
        self.path.join(self.layout.path(hash))
    }

    /// The path of a content below the directory.
    pub fn name(&self, hash: &ContentHash) -> String {
        self.layout.path(hash).display().to_string()
    }

    /// Makes the directory, readable by its owner alone.
    ///
    /// # Errors
    ///
    /// [`PutError::Write`].
    pub fn create(&self) -> Result<(), PutError> {
        make_directory(&self.path)
    }

    /// Copies what `source` gives, if it has the content `noted`; returns hash and size of what was written. A content
    /// that is there already is not kept twice. A file has its name only when it is whole.
    ///
    /// # Errors
    ///
    /// [`PutError`].
    pub fn put(
        &self,
        source: &mut impl Read,
        noted: Option<ContentHash>,
    ) -> Result<(ContentHash, u64), PutError> {
        let mut file = self.begin()?;
        file.fill(source)?;
        file.keep(noted)
    }

    /// Like [`Self::put`], of a file from its beginning. Where both are on a file system that can do that (btrfs, XFS), they share
    /// their blocks until one of them is changed (`ioctl_ficlone(2)`), which takes no space; the file is read all the same, to
    /// hash it.
    ///
    /// # Errors
    ///
    /// [`PutError`].
    pub fn copy(
        &self,
        source: &mut File,
        noted: Option<ContentHash>,
    ) -> Result<(ContentHash, u64), PutError> {
        let mut file = self.begin()?;
        if rustix::fs::ioctl_ficlone(file.file.as_file(), &*source).is_ok() {
            file.look_at_all()?;
        } else {
            file.fill(source)?;
        }
        file.keep(noted)
    }

    /// A new file, to be filled little by little.
    ///
    /// # Errors
    ///
    /// [`PutError::Write`].
    pub fn begin(&self) -> Result<NewFile<'_>, PutError> {
        match NamedTempFile::new_in(&self.path) {
            Ok(file) => Ok(NewFile { directory: self, file, hash: Sha256::new(), bytes: 0 }),
            Err(source) => Err(PutError::Write { path: self.path.clone(), source }),
        }
    }

    /// Like [`Self::put`], but makes a hard link to `real`, the file that `source` is open on, where that can be.
    ///
    /// # Errors
    ///
    /// [`PutError`].
    pub fn link(
        &self,
        source: &mut (impl Read + io::Seek),
        real: &Path,
        noted: Option<ContentHash>,
    ) -> Result<(ContentHash, u64), PutError> {
        let found = hash(source).map_err(PutError::Read)?;
        check(noted, found.0)?;
        match fs::hard_link(real, self.place(&found.0)?) {
            Ok(()) => Ok(found),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(found),
            // Another file system, a file of somebody else, too many links.
            Err(_) => {
                source.rewind().map_err(PutError::Read)?;
                self.put(source, noted)
            }
        }
    }

    /// Makes a hard link to `real`, whose content is known to be `hash`: nothing is read. A content that is there already stays.
    ///
    /// # Errors
    ///
    /// What the system says: another file system, a file of somebody else, too many links.
    pub fn adopt(&self, hash: &ContentHash, real: &Path) -> io::Result<()> {
        let path = self.file(hash);
        make_private(path.parent().unwrap_or(&self.path))?;
        match fs::hard_link(real, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// Gives a content that is there a further name in the directory: a hard link, or where there is none, a copy.
    ///
    /// # Errors
    ///
    /// [`PutError::Write`].
    pub fn name_also(&self, hash: &ContentHash, name: &str) -> Result<(), PutError> {
        let (content, path) = (self.file(hash), self.path.join(name));
        let named = match fs::hard_link(&content, &path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                fs::copy(&content, &path).map(|_| ())
            }
            _ => Ok(()),
        };
        named.map_err(|source| PutError::Write { path, source })
    }

    /// Takes the name by its content from a file that has another one.
    ///
    /// # Errors
    ///
    /// [`PutError::Write`].
    pub fn unname(&self, hash: &ContentHash) -> Result<(), PutError> {
        let path = self.file(hash);
        fs::remove_file(&path).map_err(|source| PutError::Write { path, source })
    }

    /// Makes everything written durable.
    ///
    /// # Errors
    ///
    /// [`PutError::Write`].
    pub fn sync(&self) -> Result<(), PutError> {
        let sync = || Ok(rustix::fs::syncfs(File::open(&self.path)?)?);
        sync().map_err(|source| PutError::Write { path: self.path.clone(), source })
    }

    fn place(&self, hash: &ContentHash) -> Result<PathBuf, PutError> {
        let path = self.file(hash);
        make_directory(path.parent().unwrap_or(&self.path))?;
        Ok(path)
    }
}

/// A file of a [`ContentDirectory`] that has no name yet. Dropped, it is gone.
#[derive(Debug)]
pub struct NewFile<'a> {
    directory: &'a ContentDirectory,
    file: NamedTempFile,
    hash: Sha256,
    bytes: u64,
}

impl NewFile<'_> {
    /// Appends to the file.
    ///
    /// # Errors
    ///
    /// [`PutError::Write`].
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), PutError> {
        self.hash.update(chunk);
        self.bytes += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        self.file
            .write_all(chunk)
            .map_err(|source| PutError::Write { path: self.file.path().to_owned(), source })
    }

    /// Appends what `source` gives.
    fn fill(&mut self, source: &mut impl Read) -> Result<(), PutError> {
        let mut failed = None;
        each_chunk(source, |chunk| {
            failed = self.write(chunk).err();
            failed.is_none()
        })
        .map_err(PutError::Read)?;
        failed.map_or(Ok(()), Err)
    }

    /// Hashes what the file was given at once.
    fn look_at_all(&mut self) -> Result<(), PutError> {
        let mut file = self.file.as_file();
        each_chunk(&mut file, |chunk| {
            self.hash.update(chunk);
            self.bytes += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            true
        })
        .map_err(PutError::Read)
    }

    /// Gives the file its name if it has the content `noted`; returns hash and size.
    ///
    /// # Errors
    ///
    /// [`PutError::Other`], [`PutError::Write`].
    pub fn keep(self, noted: Option<ContentHash>) -> Result<(ContentHash, u64), PutError> {
        let hash = ContentHash(self.hash.finalize().into());
        check(noted, hash)?;
        let path = self.directory.place(&hash)?;
        match self.file.persist_noclobber(&path) {
            Ok(_) => Ok((hash, self.bytes)),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Ok((hash, self.bytes))
            }
            Err(error) => Err(PutError::Write { path, source: error.error }),
        }
    }
}

fn check(noted: Option<ContentHash>, found: ContentHash) -> Result<(), PutError> {
    if noted.is_none_or(|noted| noted == found) { Ok(()) } else { Err(PutError::Other) }
}

/// The hash and size of what `source` gives.
///
/// # Errors
///
/// What reading it says.
pub fn hash(source: &mut impl Read) -> io::Result<(ContentHash, u64)> {
    let mut hash = Sha256::new();
    let mut bytes: u64 = 0;
    each_chunk(source, |chunk| {
        hash.update(chunk);
        bytes += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        true
    })?;
    Ok((ContentHash(hash.finalize().into()), bytes))
}

/// Gives what `source` gives piece by piece, until `take` says that it is enough.
fn each_chunk(source: &mut impl Read, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = match source.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        match buffer.get(..length) {
            Some(chunk) if !chunk.is_empty() && take(chunk) => {}
            _ => return Ok(()),
        }
    }
}

fn make_directory(path: &Path) -> Result<(), PutError> {
    make_private(path).map_err(|source| PutError::Write { path: path.to_owned(), source })
}

/// Makes a directory that only its owner may read, and those above it.
fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
