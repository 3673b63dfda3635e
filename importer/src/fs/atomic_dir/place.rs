//! The one form of a directory's path, and where a directory is written before it has its name.

use std::{
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};

/// Symbolic links that are followed, as many as Linux does.
const LINKS: usize = 40;
/// A mount point's directory for what is being written: nothing can be put in a mount point's place.
const INSIDE: &str = "importer.partial";
/// A mount point's directory for media files that are copied before the directory itself is made.
const PREPARED_INSIDE: &str = "importer.prepared-media";
/// What `mkfs` leaves at the top of ext file systems.
const LOST_AND_FOUND: &str = "lost+found";

/// Where a directory is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its name in the end, normalised by [`normal`].
    pub(super) target: PathBuf,
    /// What is written until then.
    pub(super) partial: PathBuf,
    /// Whether the target is a mount point, which stays and gets the entries one by one.
    pub(super) is_mount: bool,
}

impl Place {
    /// Where `target` is made.
    pub(super) fn of(target: &Path) -> Self {
        let target = normal(target);
        let is_mount = is_mount_point(&target);
        let partial = if is_mount { target.join(INSIDE) } else { suffixed(&target, ".partial") };
        Self { target, partial, is_mount }
    }

    /// Whether the target is absent or empty. At the top of a file system, what belongs to the file system does not count,
    /// nor does what an importer has not finished.
    pub(super) fn is_free(&self) -> io::Result<bool> {
        let own = [INSIDE, PREPARED_INSIDE, LOST_AND_FOUND];
        let counts = |name: &OsString| !(self.is_mount && own.iter().any(|own| name == own));
        Ok(!entries(&self.target)?.iter().any(counts))
    }
}

/// The names in a directory; none if it is absent.
pub(super) fn entries(directory: &Path) -> io::Result<Vec<OsString>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.file_name())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A path in the form in which names are added to it: absolute, without a slash at its end, and no symbolic link itself. Its
/// parent can be one.
///
/// `/var/lib/matrix-conduit/` is what Conduit's own example and Debian's package write, and `.dump` behind that would be a
/// directory in it.
pub fn normal(path: &Path) -> PathBuf {
    let Ok(absolute) = std::path::absolute(path) else { return path.to_owned() };
    let mut plain: PathBuf = absolute.components().collect();
    for _ in 0..LINKS {
        let Ok(to) = fs::read_link(&plain) else { break };
        // Links are relative to where they are.
        plain = plain.parent().unwrap_or(Path::new("/")).join(to).components().collect();
    }
    match plain.components().next_back() {
        Some(Component::Normal(_)) => plain,
        _ => plain.canonicalize().unwrap_or(plain),
    }
}

/// Where media files are kept that are copied before `target` is made: `<target>.prepared-media`, or in a mount point
/// `<target>/importer.prepared-media`. Both are on the file system on which `target` is written.
pub fn prepared_media(target: &Path) -> PathBuf {
    let Place { target, is_mount, .. } = Place::of(target);
    if is_mount { target.join(PREPARED_INSIDE) } else { suffixed(&target, ".prepared-media") }
}

/// A path beside `path`, with something added to its name.
pub fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether a file system is mounted here, or a part of one.
fn is_mount_point(path: &Path) -> bool {
    let Ok(found) = rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS) else {
        return false;
    };
    found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
}
