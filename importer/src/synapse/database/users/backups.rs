//! Key backups.

use std::collections::BTreeMap;

use ruma::UserId;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::batch::OneUser;
use crate::{
    dump::format::DumpKeyBackup,
    synapse::database::{DatabaseError, connection::Connection, items::Items, row::Known},
    tally::{Kind, Tally},
};

/// A session as `GET /_matrix/client/v3/room_keys/keys` gives it.
#[derive(Serialize)]
struct Session {
    first_message_index: u64,
    forwarded_count: u64,
    is_verified: bool,
    #[serde(rename = "session_data")]
    data: Box<RawValue>,
}

type Rooms = BTreeMap<String, BTreeMap<String, Box<RawValue>>>;

/// All versions that have not been deleted; the keys of deleted ones are gone.
pub(super) async fn read(
    one: &mut OneUser<'_>,
    tally: &mut Tally,
) -> Result<Vec<DumpKeyBackup>, DatabaseError> {
    let sql = "SELECT version, algorithm, auth_data, etag, user_id FROM e2e_room_keys_versions \
               WHERE user_id IN ($IDS) AND deleted = 0 ORDER BY version";
    let rows = one.rows("e2e_room_keys_versions", sql).await?;
    let mut items =
        Items::new(tally, Kind::KeyBackup, one.id.as_str()).of("e2e_room_keys_versions");
    let mut versions = BTreeMap::new();
    for (version, algorithm, auth_data, etag) in
        items.decode::<(i64, String, Box<RawValue>, Known<u64>)>(&rows)
    {
        items.put(&mut versions, version, (algorithm, auth_data, etag), ToString::to_string);
    }
    let mut backups = Vec::with_capacity(versions.len());
    for (version, (algorithm, auth_data, etag)) in versions {
        backups.push(DumpKeyBackup {
            version: version.to_string(),
            algorithm,
            auth_data,
            etag: etag.0.unwrap_or(0).to_string(),
            rooms: sessions(one.db, one.id, version, tally).await?,
        });
    }
    Ok(backups)
}

async fn sessions(
    db: &mut Connection,
    user_id: &UserId,
    version: i64,
    tally: &mut Tally,
) -> Result<Rooms, DatabaseError> {
    let sql = "SELECT session_id, room_id, first_message_index, forwarded_count, is_verified, session_data \
               FROM e2e_room_keys WHERE user_id = $1 AND version = $2";
    let owner = format!("{user_id} version {version}");
    let mut items = Items::new(tally, Kind::KeyBackupSession, &owner)
        .of_owner("e2e_room_keys", user_id.as_str());
    let mut rooms = Rooms::new();
    db.each("e2e_room_keys", sql, &[user_id.as_str().into(), version.into()], |row| {
        type Columns = (String, String, Known<u64>, Known<u64>, bool, Box<RawValue>);
        if let Some((
            session_id,
            room_id,
            Known(first_message_index),
            Known(forwarded_count),
            is_verified,
            data,
        )) = items.one::<Columns>(row)
        {
            let session = Session {
                first_message_index: first_message_index.unwrap_or(0),
                forwarded_count: forwarded_count.unwrap_or(0),
                is_verified,
                data,
            };
            if let Ok(session) = to_raw_value(&session) {
                let name = |session: &String| format!("{session} in {room_id}");
                let room = rooms.entry(room_id.clone()).or_default();
                items.put(room, session_id, session, name);
            }
        }
    })
    .await?;
    Ok(rooms)
}
