//! Where the files of a dump's media are: in its own folder, or where Synapse keeps them.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::fs::PutError;

/// What a path must begin with, so that a store can't be the cover for any other file of the machine.
const FOLDERS: [&str; 2] = ["local_content", "remote_content"];

/// Directories in which media files are looked for, in this order.
#[derive(Clone, Debug)]
pub struct MediaStore {
    roots: Vec<PathBuf>,
    /// Whether files have Synapse's paths, or those of a dump's own folder.
    synapse: bool,
}

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotUsable {
    /// It is in none of the directories.
    #[error(
        "the file `{path}` is not in the media store; clients could not get it from Synapse either, unless a storage provider has it"
    )]
    Missing {
        /// Its path below the store.
        path: String,
    },
    /// The path is not one that Synapse makes, or leads out of the store.
    #[error("the path `{path}` leads out of the media store")]
    Outside {
        /// The path.
        path: String,
    },
    /// A directory, a pipe or the like.
    #[error("`{path}` is no regular file")]
    NoFile {
        /// The path.
        path: String,
    },
    /// The content is not the one that was uploaded.
    #[error(
        "the file `{path}` is damaged: its SHA-256 differs from the one recorded at the upload"
    )]
    Damaged {
        /// The path.
        path: String,
    },
    /// The operating system refused.
    #[error(
        "`{path}` can't be read ({source}); run the importer as a user who may read Synapse's media store"
    )]
    Io {
        /// The path.
        path: String,
        /// What it said.
        source: io::Error,
    },
}

impl NotUsable {
    /// What a failed copy says of the file `path`.
    ///
    /// # Errors
    ///
    /// The error itself, if it says nothing of the file but of where it should go.
    pub fn of(error: PutError, path: &str) -> Result<Self, PutError> {
        let path = path.to_owned();
        match error {
            PutError::Read(source) => Ok(Self::Io { path, source }),
            PutError::Other => Ok(Self::Damaged { path }),
            PutError::Write { .. } => Err(error),
        }
    }

    /// A stable code for the tally.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "file-missing",
            Self::Outside { .. } => "path-outside-store",
            Self::NoFile { .. } => "no-regular-file",
            Self::Damaged { .. } => "file-damaged",
            Self::Io { .. } => "file-unreadable",
        }
    }
}

impl MediaStore {
    /// Where the files of a dump's media are: in the dump's own `folder`, or in the `stores` that it names. `moved` is Synapse's
    /// media store if it is elsewhere than the dump says; storage providers, which follow it, stay where they are.
    pub fn of_records(folder: PathBuf, stores: &[String], moved: Option<&PathBuf>) -> Self {
        match (moved, stores) {
            (_, []) => Self::of_dump(folder),
            (Some(moved), [_, providers @ ..]) => {
                let providers = providers.iter().map(PathBuf::from);
                Self::of_synapse(std::iter::once(moved.clone()).chain(providers).collect())
            }
            (None, stores) => Self::of_synapse(stores.iter().map(PathBuf::from).collect()),
        }
    }

    /// Synapse's media store: `media_store_path`, then the directories of storage providers.
    pub fn of_synapse(roots: Vec<PathBuf>) -> Self {
        Self { roots, synapse: true }
    }

    /// The folder of a dump.
    pub fn of_dump(folder: PathBuf) -> Self {
        Self { roots: vec![folder], synapse: false }
    }

    /// The directories.
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Whether these are a homeserver's own, and not a dump's folder.
    pub(crate) fn is_synapses(&self) -> bool {
        self.synapse
    }

    /// Whether one of the directories is there.
    pub fn exists(&self) -> bool {
        self.roots.iter().any(|root| root.is_dir())
    }

    /// Opens a file for reading, and says where it really is. Waits for nothing: pipes and devices are refused.
    ///
    /// # Errors
    ///
    /// [`NotUsable`].
    pub fn open(&self, path: &str) -> Result<(File, PathBuf), NotUsable> {
        let outside = || NotUsable::Outside { path: path.to_owned() };
        let top = path.split('/').next().unwrap_or_default();
        let is_plain = path.split('/').all(is_plain) && (!self.synapse || FOLDERS.contains(&top));
        if !is_plain {
            return Err(outside());
        }
        let error = |source| NotUsable::Io { path: path.to_owned(), source };
        for root in &self.roots {
            // The top folder may be a link to another disk; below it nothing may lead elsewhere.
            let (real, folder) =
                match (root.join(path).canonicalize(), root.join(top).canonicalize()) {
                    (Ok(real), Ok(folder)) => (real, folder),
                    (Err(error), _) | (_, Err(error)) if is_absence(&error) => continue,
                    (Err(source), _) | (_, Err(source)) => return Err(error(source)),
                };
            if !real.starts_with(&folder) {
                return Err(outside());
            }
            return open_regular(&real).map_err(error)?.map_or_else(
                || Err(NotUsable::NoFile { path: path.to_owned() }),
                |file| Ok((file, real)),
            );
        }
        Err(NotUsable::Missing { path: path.to_owned() })
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The file; `None` if it is a directory, pipe or device.
fn open_regular(path: &Path) -> io::Result<Option<File>> {
    /// `O_NONBLOCK`: opening a pipe that nobody writes to does not wait.
    const NONBLOCK: i32 = 0o4000;
    if !path.metadata()?.is_file() {
        return Ok(None);
    }
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

/// A part of a path as Synapse allows it (`synapse/media/filepath.py`).
pub(crate) fn is_plain(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.[]:".contains(c);
    !matches!(part, "" | "." | "..") && part.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::MediaStore;

    #[test]
    fn the_store_may_have_its_folders_elsewhere_and_several_roots() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        fs::create_dir_all(path("disk/AA/bb")).unwrap();
        fs::write(path("disk/AA/bb/file"), "x").unwrap();
        fs::create_dir_all(path("main")).unwrap();
        std::os::unix::fs::symlink(path("disk"), path("main/local_content")).unwrap();
        fs::create_dir_all(path("provider/local_content/CC/dd")).unwrap();
        fs::write(path("provider/local_content/CC/dd/file"), "y").unwrap();
        let store = MediaStore::of_synapse(vec![path("main"), path("provider")]);
        assert!(store.open("local_content/AA/bb/file").is_ok());
        assert!(store.open("local_content/CC/dd/file").is_ok());
        let missing = store.open("local_content/EE/ff/file").unwrap_err();
        assert_eq!(missing.reason(), "file-missing");
        assert!(!MediaStore::of_synapse(vec![path("nowhere")]).exists());
    }
}
