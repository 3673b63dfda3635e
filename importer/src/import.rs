//! From a dump to the rows of a Conduit database.

use std::path::Path;

use crate::{
    conduit::kv::{KvError, KvStore},
    dump::{DumpReader, ReadError},
    findings::Finding,
    progress::Progress,
    tally::Tally,
};

/// What the import did.
#[derive(Debug, Default)]
pub struct Imported {
    /// What was read from the dump, written to the database and left out.
    pub tally: Tally,
    /// What the operator must know.
    pub findings: Vec<Finding>,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The dump could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database could not be written.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// Something in the dump makes a Conduit database impossible.
    #[error("the dump can't be imported")]
    Blocked {
        /// Why; at least one is blocking.
        findings: Vec<Finding>,
    },
    /// The operating system refused.
    #[error("writing `{}`", path.display())]
    Io {
        /// The file or directory.
        path: std::path::PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
}

/// Findings that make the import impossible or worth a warning, known from the dump alone.
///
/// # Errors
///
/// [`ImportError::Read`].
pub fn check(_dump: &DumpReader) -> Result<Vec<Finding>, ImportError> {
    todo!()
}

/// Writes the whole dump into `store`, which must be empty, and finishes it.
///
/// # Errors
///
/// [`ImportError`].
pub fn import(
    _dump: &DumpReader,
    _store: &mut dyn KvStore,
    _progress: &Progress,
) -> Result<Imported, ImportError> {
    todo!()
}

/// Whether `directory` may become a database: absent or empty.
///
/// # Errors
///
/// [`ImportError::Io`].
pub fn is_free(_directory: &Path) -> Result<bool, ImportError> {
    todo!()
}
