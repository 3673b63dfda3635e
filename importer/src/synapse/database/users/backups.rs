//! Key backups.

use std::collections::{BTreeMap, BTreeSet};

use ruma::UserId;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::batch::UserTables;
use crate::{
    dump::format::DumpKeyBackup,
    synapse::database::{
        DatabaseError,
        connection::Connection,
        counter::Items,
        row::{Known, Row, row},
    },
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

row! {
    /// A row of `e2e_room_keys`.
    struct SessionRow {
        session_id: String,
        room_id: String,
        first_message_index: Known<u64>,
        forwarded_count: Known<u64>,
        is_verified: bool,
        /// `session_data`.
        data: Box<RawValue>,
    }
}

/// Sessions by their ids, by rooms.
type SessionsByRoom = BTreeMap<String, BTreeMap<String, Box<RawValue>>>;

/// All versions that have not been deleted; the keys of deleted ones are gone.
pub(super) async fn read(
    tables: &mut UserTables<'_>,
    tally: &mut Tally,
) -> Result<Vec<DumpKeyBackup>, DatabaseError> {
    let sql = "SELECT version, algorithm, auth_data, etag, user_id FROM e2e_room_keys_versions \
               WHERE user_id IN ($IDS) AND deleted = 0 ORDER BY version";
    let rows = tables.rows("e2e_room_keys_versions", sql).await?;
    let mut items =
        Items::new(tally, Kind::KeyBackup, tables.id.as_str()).of("e2e_room_keys_versions");
    let mut versions = BTreeMap::new();
    let mut broken = BTreeSet::new();
    for row in &rows {
        match items.one::<(i64, String, Box<RawValue>, Known<u64>)>(Row::Kept(row)) {
            Some((version, algorithm, auth_data, etag)) => {
                let backup = (algorithm, auth_data, etag);
                items.put(&mut versions, version, backup, ToString::to_string);
            }
            None => broken.extend(row.integer(0)),
        }
    }
    for version in broken.into_iter().filter(|version| !versions.contains_key(version)) {
        leave_out(tables.db, tables.id, version, tally).await?;
    }
    let mut backups = Vec::with_capacity(versions.len());
    for (version, (algorithm, auth_data, etag)) in versions {
        backups.push(DumpKeyBackup {
            version: version.to_string(),
            algorithm,
            auth_data,
            etag: etag.0.unwrap_or(0).to_string(),
            rooms: sessions(tables.db, tables.id, version, tally).await?,
        });
    }
    Ok(backups)
}

/// Counts the sessions of a backup that can't be read as left out.
async fn leave_out(
    db: &mut Connection,
    user_id: &UserId,
    version: i64,
    tally: &mut Tally,
) -> Result<(), DatabaseError> {
    const REASON: &str = "backup-left-out";
    let table = "e2e_room_keys";
    let sql = "SELECT COUNT(*) FROM e2e_room_keys WHERE user_id = $1 AND version = $2";
    let rows = db.rows(table, sql, &[user_id.as_str().into(), version.into()]).await?;
    let number = rows.first().and_then(|row| row.integer(0));
    let number = number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    if number > 0 {
        let item = format!("{user_id} version {version}");
        let detail = "the backup that they are in can't be read";
        tally.leave_out(Kind::KeyBackupSession, number, item, REASON, detail);
        tally.rows.met(table, user_id.as_str(), number);
        tally.rows.left_out(table, REASON, number);
    }
    Ok(())
}

async fn sessions(
    db: &mut Connection,
    user_id: &UserId,
    version: i64,
    tally: &mut Tally,
) -> Result<SessionsByRoom, DatabaseError> {
    let sql = "SELECT session_id, room_id, first_message_index, forwarded_count, is_verified, session_data \
               FROM e2e_room_keys WHERE user_id = $1 AND version = $2";
    let owner = format!("{user_id} version {version}");
    let mut items = Items::new(tally, Kind::KeyBackupSession, &owner)
        .of_owner("e2e_room_keys", user_id.as_str());
    let mut rooms = SessionsByRoom::new();
    db.each("e2e_room_keys", sql, &[user_id.as_str().into(), version.into()], |row| {
        let Some(row) = items.one::<SessionRow>(row) else { return };
        let session = Session {
            first_message_index: row.first_message_index.0.unwrap_or(0),
            forwarded_count: row.forwarded_count.0.unwrap_or(0),
            is_verified: row.is_verified,
            data: row.data,
        };
        if let Ok(session) = to_raw_value(&session) {
            let name = |session: &String| format!("{session} in {}", row.room_id);
            let room = rooms.entry(row.room_id.clone()).or_default();
            items.put(room, row.session_id, session, name);
        }
    })
    .await?;
    Ok(rooms)
}
