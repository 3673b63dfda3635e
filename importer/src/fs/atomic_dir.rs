//! Directories that appear under their name only when they are complete.

mod place;
mod rehearsal;

#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use self::place::{Place, entries};
pub(crate) use self::rehearsal::nearest;
pub use self::{
    place::{normal, prepared_media, suffixed},
    rehearsal::rehearse,
};
use crate::fs::hints;

/// The file that says that a `.partial` directory is ours and may be removed by the next run, unless it is locked: then
/// this run goes on.
const MARKER: &str = ".importer-partial";

/// Why a directory could not be made or completed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartialError {
    /// The target holds something already.
    #[error("`{}` is not empty; name a new directory, or remove what is there if nobody needs it", path.display())]
    NotEmpty {
        /// The target.
        path: PathBuf,
    },
    /// `<target>.partial` is there and not ours.
    #[error("`{}` is in the way and was not made by the importer; move it elsewhere", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// `<target>.partial` is being written.
    #[error("another importer is writing `{}`; wait for its end, or stop it", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("writing `{}`{}", path.display(), hints::of(source))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// Files that make a directory what it is, of RocksDB, SQLite and a dump: where entries get their names one by one, these
/// are the last ones.
const LAST: [&str; 3] = ["CURRENT", "conduit.db", "manifest.json"];

/// A directory `<target>.partial` that [`Self::finish`] renames to `<target>`. When dropped before that it stays for
/// inspection, and the next run removes it.
///
/// A mount point can't be replaced. There it is `<target>/importer.partial`, and [`Self::finish`] moves its entries.
#[derive(Debug)]
pub struct Partial {
    place: Place,
    /// The marker, locked.
    _marker: File,
}

impl Partial {
    /// Makes the directory (mode 0700, empty but for a marker), after removing one of an earlier run.
    ///
    /// # Errors
    ///
    /// [`PartialError::NotEmpty`] if `target` holds anything, [`PartialError::Foreign`], [`PartialError::Busy`],
    /// [`PartialError::Io`].
    pub fn create(target: &Path) -> Result<Self, PartialError> {
        let place = check_place(Place::of(target))?;
        let path = &place.partial;
        let io_error = |source| PartialError::Io { path: path.clone(), source };
        if path.symlink_metadata().is_ok() {
            fs::remove_dir_all(path).map_err(io_error)?;
        }
        if place.is_mount {
            // What replaces a directory brings its mode along; a mount point must be told.
            fs::set_permissions(&place.target, fs::Permissions::from_mode(0o700))
                .map_err(|source| PartialError::Io { path: place.target.clone(), source })?;
        }
        let marker = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .and_then(|()| File::create_new(path.join(MARKER)))
            .map_err(io_error)?;
        lock(&marker, path)?;
        Ok(Self { place, _marker: marker })
    }

    /// The directory to write into.
    pub fn path(&self) -> &Path {
        &self.place.partial
    }

    /// Gives the directory its name. All its files must be durable already.
    ///
    /// # Errors
    ///
    /// [`PartialError::NotEmpty`] if something appeared at the target meanwhile, [`PartialError::Io`].
    pub fn finish(self) -> Result<PathBuf, PartialError> {
        let Place { target, partial, is_mount } = &self.place;
        let io_error = |source| PartialError::Io { path: target.clone(), source };
        if !self.place.is_free().map_err(io_error)? {
            return Err(PartialError::NotEmpty { path: target.clone() });
        }
        let named = if *is_mount { pour(partial, target) } else { rename(partial, target) };
        named.map_err(io_error)?;
        Ok(self.place.target)
    }
}

/// Puts a complete directory in the place of its name.
fn rename(partial: &Path, target: &Path) -> io::Result<()> {
    let marker = partial.join(MARKER);
    fs::remove_file(&marker)
        .and_then(|()| File::open(partial)?.sync_all())
        // An empty directory gives way to a renamed one, and its mode with it.
        .and_then(|()| fs::rename(partial, target))
        .inspect_err(|_| drop(File::create(&marker)))
        .and_then(|()| File::open(target.parent().unwrap_or(Path::new("/")))?.sync_all())
}

/// Moves the entries of a complete directory to the mount point above it. That can be interrupted in the middle: then the
/// next run finds the target in use, and Conduit finds no database there, as the file that makes it one comes last.
fn pour(partial: &Path, target: &Path) -> io::Result<()> {
    let is_last = |name: &OsString| LAST.iter().any(|last| name == last);
    let mut names = entries(partial)?;
    names.retain(|name| name != MARKER);
    names.sort_by_key(is_last);
    for name in &names {
        if is_last(name) {
            File::open(target)?.sync_all()?;
        }
        fs::rename(partial.join(name), target.join(name))?;
    }
    fs::remove_dir_all(partial)?;
    File::open(target)?.sync_all()
}

/// Says whether [`Partial::create`] would refuse `target`, without touching anything.
///
/// # Errors
///
/// [`PartialError::NotEmpty`] if `target` holds anything, [`PartialError::Foreign`], [`PartialError::Busy`],
/// [`PartialError::Io`].
pub fn check(target: &Path) -> Result<(), PartialError> {
    check_place(Place::of(target)).map(drop)
}

/// Where `target` is written until it has its name.
pub fn unfinished(target: &Path) -> PathBuf {
    Place::of(target).partial
}

fn check_place(place: Place) -> Result<Place, PartialError> {
    let io_error = |source| PartialError::Io { path: place.target.clone(), source };
    if !place.is_free().map_err(io_error)? {
        return Err(PartialError::NotEmpty { path: place.target });
    }
    let path = &place.partial;
    if let Ok(marker) = File::open(path.join(MARKER)) {
        lock(&marker, path)?;
    } else if !entries(path)
        .map_err(|source| PartialError::Io { path: path.clone(), source })?
        .is_empty()
    {
        return Err(PartialError::Foreign { path: place.partial });
    }
    Ok(place)
}

/// Locks the marker until it is closed.
fn lock(marker: &File, path: &Path) -> Result<(), PartialError> {
    match marker.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(PartialError::Busy { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(PartialError::Io { path: path.to_owned(), source }),
    }
}
