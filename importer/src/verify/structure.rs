//! A database on its own: rows that decode, indexes that agree, events that are what their ids and hashes say.

pub(super) mod appservices;
pub(super) mod directory;
pub(super) mod events;
pub(super) mod hidden;
pub(super) mod indexes;
pub(super) mod keys;
pub(super) mod media;
pub(super) mod media_files;
pub(super) mod membership;
pub(super) mod receipts;
pub(super) mod rooms;
pub(super) mod rows;
pub(super) mod states;
pub(super) mod timeline;
pub(super) mod users;

use super::{Verified, VerifyError, tools::since_import::SinceImport};
use crate::{conduit::store::KvStore, findings::collector::Found, progress::Progress};

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
    let since = SinceImport::read(store)?;
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
