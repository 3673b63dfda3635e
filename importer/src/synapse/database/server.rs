//! What belongs to the server as a whole: mostly configuration.

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use ed25519_dalek::SigningKey;
use ruma::OwnedRoomId;
use secrecy::ExposeSecret;

use super::{
    DatabaseError,
    connection::Connection,
    counter::{Items, count},
};
use crate::{
    dump::format::{DumpOldSigningKey, DumpServer, DumpSigningKey},
    synapse::config::SynapseConfig,
    tally::{Kind, Tally},
};

/// Reads the rooms that are blocked; the rest is in the configuration.
pub(super) async fn read(
    db: &mut Connection,
    config: &SynapseConfig,
    now_ts: u64,
    tally: &mut Tally,
) -> Result<DumpServer, DatabaseError> {
    let blocked_rooms = blocked_rooms(db, tally).await?;
    let newest_ts = newest_event_ts(db).await?.unwrap_or(now_ts);
    let further = config.further_signing_keys.iter();
    let mut old_signing_keys: Vec<_> = further.filter_map(|key| retired(key, newest_ts)).collect();
    old_signing_keys.extend(config.old_signing_keys.iter().cloned());

    let keys = count(old_signing_keys.len()).saturating_add(1);
    tally.read(Kind::SigningKey, keys);
    tally.written(Kind::SigningKey, keys);
    tally.read(Kind::Appservice, count(config.appservices.len()));
    tally.written(Kind::Appservice, count(config.appservices.len()));
    Ok(DumpServer {
        server_name: config.server_name.to_string(),
        signing_key: config.signing_key.clone(),
        old_signing_keys,
        password_pepper: config.password_pepper.clone(),
        media_store_path: Some(config.media_store_path.display().to_string()),
        appservices: config.appservices.clone(),
        blocked_rooms,
    })
}

async fn blocked_rooms(
    db: &mut Connection,
    tally: &mut Tally,
) -> Result<Vec<OwnedRoomId>, DatabaseError> {
    let sql = "SELECT room_id FROM blocked_rooms ORDER BY room_id";
    let rows = db.rows("blocked_rooms", sql, &[]).await?;
    let mut items = Items::new(tally, Kind::BlockedRoom, "").of("blocked_rooms");
    let mut rooms: Vec<OwnedRoomId> = Vec::new();
    for (room_id,) in items.decode(&rows) {
        // They come sorted.
        if rooms.last() == Some(&room_id) {
            items.twice(room_id.as_str());
        } else {
            items.written(1);
            rooms.push(room_id);
        }
    }
    Ok(rooms)
}

/// When the newest event came. Synapse publishes further keys of its key file as valid until then, at least.
async fn newest_event_ts(db: &mut Connection) -> Result<Option<u64>, DatabaseError> {
    let sql = "SELECT received_ts FROM events ORDER BY stream_ordering DESC LIMIT 1";
    let rows = db.rows("events", sql, &[]).await?;
    Ok(rows.first().and_then(|row| row.decode().ok()).map(|(ts,)| ts))
}

/// A key that no longer signs, with its public half.
fn retired(key: &DumpSigningKey, expired_ts: u64) -> Option<DumpOldSigningKey> {
    let seed = BASE64_STANDARD_NO_PAD.decode(key.seed.expose_secret()).ok()?;
    let public = SigningKey::from_bytes(&seed.try_into().ok()?).verifying_key();
    Some(DumpOldSigningKey {
        key_id: format!("ed25519:{}", key.version),
        public_key: BASE64_STANDARD_NO_PAD.encode(public.as_bytes()),
        expired_ts,
    })
}
