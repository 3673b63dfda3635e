//! The last step of a run, tried beforehand: whether a directory can be made and get its name where it is to be.
//!
//! Whoever may do that can't be told from modes alone: file systems are mounted read-only, directories are sticky, and
//! some file systems have rules of their own.

use std::{fs, io, path::Path};

use tempfile::TempDir;

use super::{PartialError, Place};

/// The beginning of the names of what is made for a trial.
const PREFIX: &str = ".importer-check";
/// Where an empty directory is while its name is given away.
const ASIDE: &str = "aside";

/// Makes a directory where `target` is written until it is complete, gives it the name, and removes it. What was there is
/// there again afterwards: an empty directory is moved aside, and back with its owner and mode.
///
/// `target` must be free: [`super::check`].
///
/// # Errors
///
/// [`PartialError::Io`], as the last step would give it.
pub fn rehearse(target: &Path) -> Result<(), PartialError> {
    let Place { target, is_mount, .. } = Place::of(target);
    let parent = if is_mount { target.as_path() } else { target.parent().unwrap_or(&target) };
    let directory = nearest(parent);
    // The error would name what is made for the trial.
    let refused = |error: io::Error| PartialError::Io {
        path: directory.to_owned(),
        source: error.kind().into(),
    };
    let probe = tempfile::Builder::new().prefix(PREFIX).tempdir_in(directory).map_err(refused)?;
    let tried = if is_mount {
        owned(&target).and_then(|()| named(&probe, &probe.path().with_extension("named")))
    } else if target.is_dir() {
        aside(&target, &probe.path().join(ASIDE))
    } else if directory == parent {
        named(&probe, &target)
    } else {
        Ok(())
    };
    if let Err(source) = tried {
        if probe.path().join(ASIDE).exists() {
            // It could not be moved back, and must not be removed.
            let _stays = probe.keep();
        }
        return Err(PartialError::Io { path: target, source });
    }
    probe.close().map_err(refused)
}

/// The nearest directory above that is there, or the path itself.
pub(crate) fn nearest(path: &Path) -> &Path {
    let here = Path::new(".");
    let existing = path.ancestors().find(|path| path.exists());
    existing.filter(|path| !path.as_os_str().is_empty()).unwrap_or(here)
}

/// Gives a new directory this name, and removes it.
fn named(probe: &TempDir, name: &Path) -> io::Result<()> {
    let made = probe.path().join("made");
    fs::create_dir(&made)?;
    fs::rename(&made, name)?;
    fs::remove_dir(name)
}

/// Moves an empty directory away and back.
fn aside(target: &Path, away: &Path) -> io::Result<()> {
    fs::rename(target, away)?;
    fs::rename(away, target).map_err(|error| {
        let text = format!("{error}; the empty directory is now `{}`", away.display());
        io::Error::new(error.kind(), text)
    })
}

/// Whether the mode of a directory can be set: its mode is set to what it is.
fn owned(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, directory.metadata()?.permissions())
}
