//! What belongs to the server as a whole.

use std::collections::BTreeSet;

use ruma::{OwnedRoomId, OwnedUserId};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{ImportError, row_writer::Rows, skip::SkipReason};
use crate::{
    conduit::schema::{
        dialect::Dialect,
        keypair,
        shapes::{AsSent, Count, Room, Server},
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

/// Writes the server's earlier keys, where the server publishes them: Continuwuity takes its own row of `server_signingkeys` for
/// that (src/api/server/key.rs:37 there).
pub(super) fn old_signing_keys(
    server: &DumpServer,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
) -> Result<(), ImportError> {
    let is_held = rows.dialect() == Dialect::Continuwuity;
    let mut latest = None;
    let mut keys = serde_json::Map::new();
    for key in &server.old_signing_keys {
        let reason = if is_held {
            // One that can't be read would cost the row, which Continuwuity reads as a whole.
            let detail = "Continuwuity reads key ids of letters, digits and `_` alone";
            (!is_strict(&key.key_id)).then_some(SkipReason::new("id-invalid", detail))
        } else {
            let detail = "a stock Conduit publishes no old keys; other servers know them already";
            Some(SkipReason::new("not-in-conduit", detail))
        };
        if tally.keeps(Kind::SigningKey, || key.key_id.clone(), reason) {
            latest = latest.max(Some(key.expired_ts));
            let value = json!({"expired_ts": key.expired_ts, "key": key.public_key});
            keys.insert(key.key_id.clone(), value);
        }
    }
    let Some(latest) = latest else { return Ok(()) };
    let published = json!({
        "server_name": server.server_name,
        "verify_keys": {},
        "old_verify_keys": keys,
        "signatures": {},
        "valid_until_ts": latest,
    });
    let own = Server { server: &server.server_name };
    rows.put(&trees::SERVER_SIGNINGKEYS, &own, &AsSent { json: &published.to_string() })
}

/// Whether the id of a key is an algorithm and a name of letters, digits and `_`
/// (<https://spec.matrix.org/v1.16/server-server-api/#retrieving-server-keys>).
fn is_strict(key_id: &str) -> bool {
    key_id.split_once(':').is_some_and(|(_, name)| {
        !name.is_empty() && name.chars().all(|char| char.is_alphanumeric() || char == '_')
    })
}

/// Gives the signing key as Conduit keeps it.
pub(super) fn signing_key(server: &DumpServer, tally: &mut Tally) -> Result<Vec<u8>, ImportError> {
    tally.read(Kind::SigningKey, 1);
    let key = &server.signing_key;
    let keypair = keypair::encode(&key.version, key.seed.expose_secret())?;
    tally.written(Kind::SigningKey, 1);
    Ok(keypair)
}
