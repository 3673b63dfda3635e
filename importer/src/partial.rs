//! Directories that appear under their name only when they are complete.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use crate::remedy;

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
    #[error("writing `{}`{}", path.display(), remedy::of(source))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// A directory `<target>.partial` that [`Self::finish`] renames to `<target>`. When dropped before that it stays for a
/// look, and the next run removes it.
#[derive(Debug)]
pub struct Partial {
    target: PathBuf,
    path: PathBuf,
    /// The marker, locked.
    _marker: File,
}

impl Partial {
    /// Makes `<target>.partial` (mode 0700, empty but for a marker), after removing one of an earlier run.
    ///
    /// # Errors
    ///
    /// [`PartialError::NotEmpty`] if `target` holds anything, [`PartialError::Foreign`], [`PartialError::Busy`],
    /// [`PartialError::Io`].
    pub fn create(target: &Path) -> Result<Self, PartialError> {
        check(target)?;
        let path = partial(target);
        let io_error = |source| PartialError::Io { path: path.clone(), source };
        if path.symlink_metadata().is_ok() {
            fs::remove_dir_all(&path).map_err(io_error)?;
        }
        let marker = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .and_then(|()| File::create_new(path.join(MARKER)))
            .map_err(io_error)?;
        lock(&marker, &path)?;
        Ok(Self { target: target.to_owned(), path, _marker: marker })
    }

    /// The directory to write into.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the directory its name. All its files must be durable already.
    ///
    /// # Errors
    ///
    /// [`PartialError::NotEmpty`] if something appeared at the target meanwhile, [`PartialError::Io`].
    pub fn finish(self) -> Result<PathBuf, PartialError> {
        if !is_free(&self.target)? {
            return Err(PartialError::NotEmpty { path: self.target });
        }
        let parent = self.target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let marker = self.path.join(MARKER);
        fs::remove_file(&marker)
            .and_then(|()| File::open(&self.path)?.sync_all())
            // An empty directory gives way to a renamed one, and its mode with it.
            .and_then(|()| fs::rename(&self.path, &self.target))
            .inspect_err(|_| drop(File::create(&marker)))
            .and_then(|()| File::open(parent.unwrap_or(Path::new(".")))?.sync_all())
            .map_err(|source| PartialError::Io { path: self.target.clone(), source })?;
        Ok(self.target)
    }
}

/// Says whether [`Partial::create`] would refuse `target`, without touching anything.
///
/// # Errors
///
/// [`PartialError::NotEmpty`] if `target` holds anything, [`PartialError::Foreign`], [`PartialError::Busy`],
/// [`PartialError::Io`].
pub fn check(target: &Path) -> Result<(), PartialError> {
    if !is_free(target)? {
        return Err(PartialError::NotEmpty { path: target.to_owned() });
    }
    let path = partial(target);
    if let Ok(marker) = File::open(path.join(MARKER)) {
        return lock(&marker, &path);
    }
    if is_free(&path)? { Ok(()) } else { Err(PartialError::Foreign { path }) }
}

/// Locks the marker until it is closed.
fn lock(marker: &File, path: &Path) -> Result<(), PartialError> {
    match marker.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(PartialError::Busy { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(PartialError::Io { path: path.to_owned(), source }),
    }
}

fn partial(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// Whether `directory` is absent or empty.
///
/// # Errors
///
/// [`PartialError::Io`], if it is no directory for instance.
pub fn is_free(directory: &Path) -> Result<bool, PartialError> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(PartialError::Io { path: directory.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("target");
        (scratch, target)
    }

    #[test]
    fn the_target_appears_when_finished_and_only_its_owner_reads_it() {
        let (_scratch, target) = scratch();
        let partial = Partial::create(&target).unwrap();
        fs::write(partial.path().join("file"), "x").unwrap();
        assert!(!target.exists());
        partial.finish().unwrap();
        let names: Vec<_> =
            fs::read_dir(&target).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["file"]);
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn an_empty_target_gives_way() {
        let (_scratch, target) = scratch();
        fs::create_dir(&target).unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).unwrap();
        Partial::create(&target).unwrap().finish().unwrap();
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_an_earlier_run_left_is_replaced() {
        let (_scratch, target) = scratch();
        let earlier = Partial::create(&target).unwrap();
        fs::write(earlier.path().join("old"), "x").unwrap();
        drop(earlier);
        let partial = Partial::create(&target).unwrap();
        assert!(!partial.path().join("old").exists());
    }

    #[test]
    fn what_another_run_is_writing_stays() {
        let (_scratch, target) = scratch();
        let running = Partial::create(&target).unwrap();
        assert!(matches!(Partial::create(&target), Err(PartialError::Busy { .. })));
        running.finish().unwrap();
        assert!(target.is_dir());
    }

    #[test]
    fn what_others_made_is_refused_and_stays() {
        let (scratch, target) = scratch();
        let foreign = scratch.path().join("target.partial");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("precious"), "x").unwrap();
        assert!(matches!(Partial::create(&target), Err(PartialError::Foreign { .. })));
        assert!(foreign.join("precious").exists());

        fs::create_dir(&target).unwrap();
        fs::write(target.join("precious"), "x").unwrap();
        assert!(matches!(Partial::create(&target), Err(PartialError::NotEmpty { .. })));
    }

    #[test]
    fn a_target_that_appears_meanwhile_is_not_overwritten() {
        let (_scratch, target) = scratch();
        let partial = Partial::create(&target).unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(target.join("precious"), "x").unwrap();
        assert!(matches!(partial.finish(), Err(PartialError::NotEmpty { .. })));
    }
}
