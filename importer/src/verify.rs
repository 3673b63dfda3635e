//! Reads a Conduit database back and says whether it is whole, and whether it is what the dump says.
//!
//! Nothing here shares a code path with [`crate::import`]: expectations are worked out anew from the dump, and rows are
//! decoded by the table of layouts.
//!
//! Codes of findings are in [`crate::findings::codes`].

mod appservices;
mod directory;
mod dump;
mod events;
mod found;
mod indexes;
mod keys;
mod media;
mod membership;
mod receipts;
mod rooms;
mod rows;
mod states;
mod timeline;
mod users;

use std::collections::BTreeMap;

use found::Found;
pub use media::{Files, media};

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
    pub rows: BTreeMap<&'static str, u64>,
    /// Bytes of their keys and values, by tree.
    pub bytes: BTreeMap<&'static str, u64>,
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
    store: &dyn KvStore,
    server_name: &str,
    progress: &Progress,
) -> Result<Verified, VerifyError> {
    let mut found = Found::default();
    let phase = progress.phase("structure", 8);
    let trees = rows::check(store, server_name, &mut found)?;
    phase.advance(1);
    indexes::check(store, &mut found)?;
    phase.advance(1);
    let events = events::check(store, server_name, &mut found)?;
    phase.advance(1);
    states::check(store, &events, &mut found)?;
    phase.advance(1);
    rooms::check(store, server_name, &events, &mut found)?;
    phase.advance(1);
    users::check(store, server_name, &mut found)?;
    keys::check(store, server_name, &mut found)?;
    phase.advance(1);
    drop(events);
    timeline::check(store, &mut found)?;
    phase.advance(1);
    directory::check(store, server_name, &mut found)?;
    appservices::check(store, &mut found)?;
    receipts::check(store, &mut found)?;
    media::check(store, &mut found)?;
    phase.advance(1);
    Ok(Verified { rows: trees.rows, bytes: trees.bytes, findings: found.finish() })
}

/// Compares a database with the dump it was made from, in both directions: missing, extra, different, by kind. What the
/// import left out (`skipped`) explains what is missing; without that list, only the dump's own rules do.
///
/// # Errors
///
/// [`VerifyError`].
pub fn against_dump(
    store: &dyn KvStore,
    dump: &DumpReader,
    skipped: &[Skip],
    progress: &Progress,
) -> Result<Verified, VerifyError> {
    let mut found = Found::default();
    dump::compare(store, dump, skipped, *progress, &mut found)?;
    Ok(Verified { findings: found.finish(), ..Verified::default() })
}
