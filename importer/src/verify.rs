//! Reads a Conduit database back and says whether it is whole, and whether it is what the dump says.
//!
//! Nothing here shares a code path with [`crate::import`]: expectations are worked out anew from the dump, and rows are
//! decoded by the table of layouts.

use crate::{
    conduit::kv::{KvError, KvStore},
    dump::{DumpReader, ReadError},
    findings::Finding,
    progress::Progress,
    tally::Skip,
};

/// Why a database could not be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The dump could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database could not be read.
    #[error(transparent)]
    Kv(#[from] KvError),
}

/// What was verified.
#[derive(Debug, Default, serde::Serialize)]
pub struct Verified {
    /// Rows read, by tree.
    pub rows: std::collections::BTreeMap<&'static str, u64>,
    /// Everything that is not as it should be, sorted.
    pub findings: Vec<Finding>,
}

/// Checks a database on its own: every row decodes, every index has its other direction, ids are unique and below the
/// counter, events are what their ids, hashes and signatures say, state expands to what exists.
///
/// # Errors
///
/// [`VerifyError::Kv`].
pub fn structure(
    _store: &dyn KvStore,
    _server_name: &str,
    _progress: &Progress,
) -> Result<Verified, VerifyError> {
    todo!()
}

/// Compares a database with the dump it was made from, in both directions: missing, extra, different, by kind.
///
/// # Errors
///
/// [`VerifyError`].
pub fn against_dump(
    _store: &dyn KvStore,
    _dump: &DumpReader,
    _skipped: &[Skip],
    _progress: &Progress,
) -> Result<Verified, VerifyError> {
    todo!()
}
