//! Media files that were copied before a migration, while the homeserver ran: a directory that names files by their content, and
//! an index that says which file of the media store each content is of, and how that file looked when it was read.
//!
//! A file of the store counts as prepared as long as its size and its time of modification are those of the index; its content
//! need not be read again then. The directory is for the homeserver and the media store in the head of its index, and for no
//! other. It belongs to the user who made it, and nobody else may write there: what is in it is relied upon.
//!
//! | in the directory | what it is |
//! |---|---|
//! | `index.jsonl` | the head, then an entry a line; the last entry of a path counts |
//! | `files` | the contents, a [`ContentDirectory`] |

mod index;
mod update;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata, TryLockError},
    io,
    num::NonZeroU8,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use self::index::{Entry, Stamp};
pub use self::update::Updated;
use super::MediaStore;
use crate::{
    fs::{ContentDirectory, ContentHash, Layout, PutError, atomic_dir, hints},
    size::size,
};

/// The directory of the contents.
const FILES: &str = "files";
/// Its folders: 256. To remove thousands of folders takes seconds on ext4, and a migration waits for that.
const LAYOUT: Layout =
    Layout::Deep { length: NonZeroU8::MIN.saturating_add(1), depth: NonZeroU8::MIN };
/// What makes a directory one of prepared files: whoever may do something with it, besides its owner.
const OTHERS: u32 = 0o077;

/// What was prepared: the files of a homeserver, in a media store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedOrigin {
    /// The homeserver's name.
    pub server_name: String,
    /// The directories of its media store, as a dump names them.
    pub stores: Vec<String>,
}

impl PreparedOrigin {
    /// What can be prepared of a homeserver whose media are in `store`; `None` if a dump's own folder is the store.
    pub fn of(server_name: &str, store: &MediaStore) -> Option<Self> {
        let stores = store.roots().iter().map(|root| root.display().to_string());
        store
            .is_synapses()
            .then(|| Self { server_name: server_name.to_owned(), stores: stores.collect() })
    }
}

/// Media files that were copied beforehand.
#[derive(Debug)]
pub struct PreparedMedia {
    path: PathBuf,
    files: ContentDirectory,
    /// By path below the media store.
    entries: BTreeMap<String, Entry>,
    /// The directory, locked while somebody writes or uses it.
    _lock: Option<File>,
}

/// Why prepared files can't be used or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreparedError {
    /// Something else has the name.
    #[error("`{}` is in the way and was not made by `importer media`; move it elsewhere", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Somebody else could have written it.
    #[error(
        "`{}` belongs to another user, or others have rights to it, so the files in it can't be relied upon; remove it, and run \
         `importer media` again as the user who will run `importer migrate`",
        path.display()
    )]
    Rights {
        /// The directory.
        path: PathBuf,
    },
    /// Its index is of another importer.
    #[error(
        "`{}` was made by another version of the importer; remove it, and run `importer media` again",
        path.display()
    )]
    Version {
        /// The directory.
        path: PathBuf,
    },
    /// It is of another homeserver, or of another media store.
    #[error(
        "`{}` holds files of {prepared}, not of {asked}; remove it, and run `importer media` again",
        path.display()
    )]
    OtherOrigin {
        /// The directory.
        path: PathBuf,
        /// What it is of.
        prepared: String,
        /// What it should be of.
        asked: String,
    },
    /// Somebody writes or uses it.
    #[error("another importer uses `{}`; wait for its end, or stop it", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// The disk is nearly full, and Synapse runs.
    #[error(
        "only {} are left on the disk of `{}`, which the running Synapse may need; free some space and run the command again, \
         which goes on where it was",
        size(*free),
        path.display()
    )]
    Space {
        /// The directory.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
    },
    /// The media store is not there.
    #[error(
        "Synapse's media store ({}) is not on this machine; run the command where it is, or name it with `--media-store`",
        stores.join(", ")
    )]
    Store {
        /// Where it should be.
        stores: Vec<String>,
    },
    /// A file could not be written.
    #[error(transparent)]
    Put(#[from] PutError),
    /// The operating system refused.
    #[error("using `{}`{}", path.display(), hints::of(source))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

impl PreparedMedia {
    /// Where files are prepared for Conduit's media directory `media` and its database's directory `database`: where the first of
    /// them is written that is made as a whole.
    pub fn place(media: &Path, database: &Path) -> PathBuf {
        let is_inside = media != database && media.starts_with(database);
        atomic_dir::prepared_media(if is_inside { database } else { media })
    }

    /// What is prepared in the directory `path`, which is locked until the value is dropped. `None` if there is none.
    ///
    /// # Errors
    ///
    /// If there is one that can't be used.
    pub fn open(path: &Path, origin: &PreparedOrigin) -> Result<Option<Self>, PreparedError> {
        if !is_private(path)? {
            return Ok(None);
        }
        let lock = lock(path)?;
        Self::read(path, origin, Some(lock))
    }

    /// The same to look at: `importer media` may be writing there.
    ///
    /// # Errors
    ///
    /// If there is one that can't be used.
    pub fn look(path: &Path, origin: &PreparedOrigin) -> Result<Option<Self>, PreparedError> {
        if is_private(path)? { Self::read(path, origin, None) } else { Ok(None) }
    }

    fn read(
        path: &Path,
        origin: &PreparedOrigin,
        lock: Option<File>,
    ) -> Result<Option<Self>, PreparedError> {
        let Some(entries) = index::read(path, origin)? else { return Ok(None) };
        let files = ContentDirectory::new(path.join(FILES), LAYOUT);
        Ok(Some(Self { path: path.to_owned(), files, entries, _lock: lock }))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a prepared content is.
    pub fn file(&self, hash: &ContentHash) -> PathBuf {
        self.files.file(hash)
    }

    /// The content of the media store's file `path`, whose metadata are `now`, if it was read and has not changed since.
    pub fn content(&self, path: &str, now: &Metadata) -> Option<ContentHash> {
        let entry = self.entries.get(path)?;
        (entry.stamp == Stamp::of(now)).then_some(entry.hash)
    }

    /// Links the prepared content of the media store's file `path` into the directory `into`. `None` if the file has to be read:
    /// it has changed, it should have the content `noted` and had another, or its prepared content is missing, has another
    /// size, or can't be linked.
    pub fn link(
        &self,
        path: &str,
        now: &Metadata,
        noted: Option<ContentHash>,
        into: &ContentDirectory,
    ) -> Option<ContentHash> {
        let hash = self.content(path, now)?;
        let is_noted = noted.is_none_or(|noted| noted == hash);
        let linked = is_noted && self.has(&hash, now.len()) && {
            let adopted = into.adopt(&hash, &self.file(&hash));
            adopted.inspect_err(|error| tracing::debug!("{path} is copied: {error}")).is_ok()
        };
        linked.then_some(hash)
    }

    /// Bytes of the prepared files that users of the homeserver uploaded.
    pub fn local_bytes(&self) -> u64 {
        let local = self.entries.range("local_content/".to_owned().."local_content0".to_owned());
        local.fold(0, |sum, (_, entry)| sum.saturating_add(entry.stamp.bytes))
    }

    /// Removes the directory. What was linked from it stays.
    ///
    /// # Errors
    ///
    /// [`PreparedError::Io`].
    pub fn remove(self) -> Result<(), PreparedError> {
        fs::remove_dir_all(&self.path)
            .map_err(|source| PreparedError::Io { path: self.path, source })
    }

    /// Whether a content is there with this size.
    fn has(&self, hash: &ContentHash, bytes: u64) -> bool {
        let metadata = self.file(hash).symlink_metadata();
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.len() == bytes)
    }
}

/// Whether the directory is there, and its user's alone.
fn is_private(path: &Path) -> Result<bool, PreparedError> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(PreparedError::Io { path: path.to_owned(), source }),
    };
    if !metadata.is_dir() {
        return Err(PreparedError::Foreign { path: path.to_owned() });
    }
    let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
    if is_own && metadata.mode() & OTHERS == 0 {
        Ok(true)
    } else {
        Err(PreparedError::Rights { path: path.to_owned() })
    }
}

/// Locks a directory until the file is closed.
fn lock(path: &Path) -> Result<File, PreparedError> {
    let io_error = |source| PreparedError::Io { path: path.to_owned(), source };
    let directory = File::open(path).map_err(io_error)?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(PreparedError::Busy { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io_error(source)),
    }
}
