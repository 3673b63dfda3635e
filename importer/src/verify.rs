//! Reads a Conduit database back and says whether it is whole, and whether it is what the dump says.
//!
//! Nothing here shares a code path with [`crate::import`]: expectations are worked out anew from the dump, and rows are
//! decoded by the table of layouts.
//!
//! | code | severity | meaning |
//! |---|---|---|
//! | V101 | blocking | a row does not have the form of its tree |
//! | V102 | note | a tree that Conduit does not know |
//! | V103 | blocking | `global` lacks version 18, the counter or a readable key; Conduit does not start |
//! | V104 | blocking | `@conduit:NAME` or its admin room is missing |
//! | V105 | blocking | a number is above the counter: Conduit would hand it out again |
//! | V106 | blocking | two rows that should point at each other don't |
//! | V107 | blocking | a short id is 0, or names two things |
//! | V108 | blocking | an event is not what Conduit can read |
//! | V109 | blocking | an event's id is not the hash of its content, or a signature of this server is wrong |
//! | V110 | blocking | an auth event is missing, or one of another room |
//! | V111 | blocking | a state does not expand to known events of its room, one for each key |
//! | V112 | blocking | a timeline event has no state before it: anybody could read it |
//! | V113 | blocking | who is joined, or what is counted from it, differs from the room's state |
//! | V113 | warning | an invite, knock or leave differs from the room's state |
//! | V114 | blocking | push rules of a user don't parse: messages to that user's rooms would fail |
//! | V115 | blocking | a token or key of a device that does not exist |
//! | V116 | note | an event is signed by a key that this server no longer has |
//! | V117 | note | a redacted event lacks `origin`, as Conduit leaves those that it redacts itself |
//! | V118 | warning | the state before an event is not the one after its only predecessor |
//! | V119 | blocking | an extremity is marked as referenced: Conduit drops it with the next event from elsewhere |
//! | V119 | warning | an event that others follow is not marked as referenced |
//! | V120 | warning | the search index does not fit the messages |
//! | V121 | blocking | a relation or thread of events that are not there |
//! | V122 | blocking | an alias or entry of the directory for a room that is not there |
//! | V123 | blocking | a read receipt that ends Conduit's sending task, or two of a user in a room |
//! | V124 | blocking | rows of a media file are missing: Conduit deletes it |
//! | V125 | note | a key of a device that is gone, as Conduit leaves it behind |
//! | V126 | blocking | a pusher that Conduit can't read |
//! | V127 | note | an alias is listed for a room that it no longer names, as Conduit leaves it after an upgrade |
//! | V128 | blocking | an application service's registration is unreadable or another one's; Conduit does not start |
//! | V129 | blocking | account data without the type and content that clients are given |
//! | V140 | blocking | a media file is not there |
//! | V141 | blocking | a media file has not the content or size that its row says |
//! | V142 | warning | a file in the media directory that no row names |
//! | V201 | blocking | something of the dump is missing in the database |
//! | V202 | blocking | something in the database is not in the dump |
//! | V203 | blocking | something differs from the dump |

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
    let rows = rows::check(store, server_name, &mut found)?;
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
    Ok(Verified { rows, findings: found.finish() })
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
    Ok(Verified { rows: BTreeMap::new(), findings: found.finish() })
}
