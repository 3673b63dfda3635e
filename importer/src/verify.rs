//! Reads a Conduit database back and says whether it is whole, and whether it is what the dump says.
//!
//! Nothing here shares a code path with [`crate::import`]: expectations are worked out anew from the dump, and rows are
//! decoded by the table of layouts.
//!
//! Codes of findings are in [`crate::findings::codes`].

mod appservices;
mod batches;
mod cursor;
mod directory;
mod dump;
mod events;
mod found;
mod hidden;
mod indexes;
mod keys;
mod layers;
mod media;
mod membership;
mod numbers;
mod receipts;
mod rooms;
mod rows;
mod since;
mod states;
mod sum;
mod timeline;
mod users;

use std::collections::BTreeMap;

use found::Found;
pub use media::{Files, media};
use since::Since;

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
    let phase = progress.phase_of(["part of the database", "parts of the database"], 4);
    let since = Since::read(store)?;
    let of_events = |store: &dyn KvStore| {
        let mut found = Found::default();
        let trees = rows::check(store, server_name, since, &mut found)?;
        phase.advance(1);
        let events = events::check(store, server_name, &trees.rows, since, &mut found)?;
        phase.advance(1);
        states::check(store, &events, &mut found)?;
        rooms::check(store, server_name, &events, since, &mut found)?;
        phase.advance(1);
        Ok::<_, VerifyError>((trees, found))
    };
    let of_others = |store: &dyn KvStore| {
        let mut found = Found::default();
        timeline::check(store, &mut found)?;
        hidden::check(store, server_name, since, &mut found)?;
        indexes::check(store, &mut found)?;
        users::check(store, server_name, &mut found)?;
        keys::check(store, server_name, &mut found)?;
        directory::check(store, server_name, &mut found)?;
        appservices::check(store, &mut found)?;
        receipts::check(store, &mut found)?;
        media::check(store, &mut found)?;
        phase.advance(1);
        Ok::<_, VerifyError>(found)
    };
    let (of_events, of_others) = match store.shared() {
        Some(shared) => rayon::join(|| of_events(shared), || of_others(shared)),
        None => (of_events(store), of_others(store)),
    };
    let (trees, mut found) = of_events?;
    found.merge(of_others?);
    let findings = since.judge(found.finish());
    Ok(Verified { rows: trees.rows, bytes: trees.bytes, findings })
}

/// How the states before events are compared with those of the dump. In any case each is, in what differs from one that was
/// compared before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateComparison {
    /// Of every thousand states of a room, one is put together and compared whole.
    #[default]
    Sample,
    /// Every state is put together and compared whole.
    All,
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
    how: StateComparison,
    progress: &Progress,
) -> Result<Verified, VerifyError> {
    let since = Since::read(store)?;
    let mut found = Found::default();
    dump::compare(store, dump, skipped, how, *progress, &mut found)?;
    Ok(Verified { findings: since.judge(found.finish()), ..Verified::default() })
}
