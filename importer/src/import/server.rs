//! What belongs to the server as a whole.

use std::collections::BTreeSet;

use ruma::{OwnedRoomId, OwnedUserId};
use secrecy::ExposeSecret as _;

use super::{ImportError, row_writer::Rows};
use crate::{
    conduit::schema::{
        keypair,
        shapes::{Count, Room, Server},
        trees,
    },
    dump::format::DumpServer,
    tally::{Kind, Tally},
};

/// Writes the rooms that nobody may join.
pub(super) fn blocked_rooms(
    rooms: &[OwnedRoomId],
    rows: &mut Rows<'_>,
    tally: &mut Tally,
) -> Result<(), ImportError> {
    for room in rooms {
        tally.read(Kind::BlockedRoom, 1);
        rows.mark(&trees::DISABLEDROOMIDS, &Room { room: room.as_str() })?;
        tally.written(Kind::BlockedRoom, 1);
    }
    Ok(())
}

/// Gives users a row of whom only a room's state says that they are there, as Conduit does for each member
/// (src/service/rooms/state_cache/mod.rs:37-41).
pub(super) fn users_without_accounts(
    users: &BTreeSet<OwnedUserId>,
    rows: &mut Rows<'_>,
) -> Result<(), ImportError> {
    for user in users {
        rows.ensure_account(user.as_str())?;
    }
    Ok(())
}

/// Writes that other servers have had all receipts and device lists up to now, which Synapse sent them
/// (src/service/sending/mod.rs:269-370).
pub(super) fn edu_positions(
    servers: &BTreeSet<String>,
    server_name: &str,
    rows: &mut Rows<'_>,
) -> Result<(), ImportError> {
    let count = rows.last();
    for server in servers.iter().filter(|server| *server != server_name) {
        rows.put(&trees::SERVERNAME_EDUCOUNT, &Server { server }, &Count { count })?;
    }
    Ok(())
}

/// Gives the signing key as Conduit keeps it; older keys are left out.
pub(super) fn signing_key(server: &DumpServer, tally: &mut Tally) -> Result<Vec<u8>, ImportError> {
    let old = u64::try_from(server.old_signing_keys.len()).unwrap_or(u64::MAX);
    tally.read(Kind::SigningKey, old.saturating_add(1));
    for key in &server.old_signing_keys {
        let detail = "a stock Conduit publishes no old keys; other servers know them already";
        tally.skip(Kind::SigningKey, &key.key_id, "not-in-conduit", detail);
    }
    let key = &server.signing_key;
    let keypair = keypair::encode(&key.version, key.seed.expose_secret())?;
    tally.written(Kind::SigningKey, 1);
    Ok(keypair)
}
