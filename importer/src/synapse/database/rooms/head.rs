//! The head of a room's file.

use ruma::{OwnedEventId, RoomId, ServerName};
use serde_json::value::RawValue;

use super::{
    aliases,
    batch::RoomTables,
    list::ListedRooms,
    members, recent,
    state_groups::{self, Entries},
    stored_event::{COLUMNS, EXTREMITIES, EventRow, TABLES},
    timeline::Timeline,
};
use crate::{
    dump::{Extent, format::DumpRoom},
    synapse::database::{
        DatabaseError,
        connection::Connection,
        counter::Items,
        row::{Known, Row},
    },
    tally::{Kind, Tally},
};

/// A room's head, with what is needed to go on.
pub(super) struct Head {
    pub(super) room: DumpRoom,
    /// The state that becomes the first one.
    pub(super) current: Option<Entries>,
    pub(super) timeline: Timeline,
}

/// The state after the newest events.
pub(super) struct CurrentState {
    pub(super) entries: Option<Entries>,
    /// Whether it is what Synapse takes for the present state; else the server has left the room.
    pub(super) is_present: bool,
}

/// Reads a room's head.
pub(super) async fn read(
    tables: &mut RoomTables<'_>,
    server_name: &ServerName,
    extent: &Extent,
    listed: &ListedRooms,
    tally: &mut Tally,
) -> Result<Head, DatabaseError> {
    let room_id = tables.id;
    let (room_version, published) = room_row(tables).await?;
    if published {
        tally.read(Kind::PublishedRoom, 1);
        tally.written(Kind::PublishedRoom, 1);
    }
    let extremities = extremities(tables).await?;
    let current = current_state(tables, &extremities, tally).await?;
    let positions: Vec<_> = extremities.iter().map(EventRow::position).collect();
    let is_plain = listed.fingerprints.is_plain(room_id.as_str());
    let timeline = recent::timeline(tables.db(), room_id, extent, &positions, is_plain).await?;
    let mut forward_extremities: Vec<OwnedEventId> =
        extremities.into_iter().map(|event| event.event_id).collect();
    forward_extremities.sort();
    forward_extremities.dedup();
    Ok(Head {
        room: DumpRoom {
            room_id: room_id.to_owned(),
            room_version,
            published,
            aliases: aliases::read(tables, server_name, &listed.aliases, tally).await?,
            current_state: current.entries.is_some().then_some(1),
            forward_extremities,
            earlier_events: Some(timeline.earlier),
            local_members: members::read(tables, server_name, &current, tally).await?,
        },
        current: current.entries,
        timeline,
    })
}

/// Version, and whether the room is in the directory.
async fn room_row(tables: &mut RoomTables<'_>) -> Result<(Option<String>, bool), DatabaseError> {
    let sql = "SELECT room_version, is_public, room_id FROM rooms WHERE room_id IN ($IDS)";
    let rows = tables.rows("rooms", sql).await?;
    let (version, published) = rows
        .first()
        .and_then(|row| row.decode::<(Known<String>, bool)>().ok())
        .map(|(Known(version), published)| (version, published))
        .unwrap_or_default();
    let room_id = tables.id;
    match version.filter(|version| !version.is_empty()) {
        Some(version) => Ok((Some(version), published)),
        None => Ok((version_by_create_event(tables.db(), room_id).await?, published)),
    }
}

/// Databases from before 2020 may not have the version in `rooms`.
pub(in crate::synapse::database) async fn version_by_create_event(
    db: &mut Connection,
    room_id: &RoomId,
) -> Result<Option<String>, DatabaseError> {
    #[derive(serde::Deserialize)]
    struct Create {
        content: Content,
    }
    #[derive(serde::Deserialize)]
    struct Content {
        room_version: Option<String>,
    }
    let sql = "SELECT e.event_id, ej.json FROM events e JOIN event_json ej ON ej.event_id = e.event_id \
               LEFT JOIN rejections r ON r.event_id = e.event_id \
               WHERE r.event_id IS NULL AND e.room_id = $1 AND e.type = 'm.room.create'";
    let rows = db.rows("events", sql, &[room_id.as_str().into()]).await?;
    let create = rows
        .first()
        .and_then(|row| row.decode::<(OwnedEventId, Box<RawValue>)>().ok())
        .and_then(|(_, json)| serde_json::from_str::<Create>(json.get()).ok());
    Ok(create.map(|create| create.content.room_version.unwrap_or_else(|| "1".into())))
}

/// Forward extremities that a timeline can have, newest last.
async fn extremities(tables: &mut RoomTables<'_>) -> Result<Vec<EventRow>, DatabaseError> {
    let sql = format!(
        "SELECT {COLUMNS}, x.room_id FROM {EXTREMITIES} WHERE x.room_id IN ($IDS) ORDER BY e.stream_ordering"
    );
    let rows = tables.rows("event_forward_extremities", &sql).await?;
    let room_id = tables.id;
    let events = rows.iter().filter_map(|row| EventRow::decode(Row::Kept(row)).ok());
    Ok(events
        .filter(|event| event.is_accepted() && event.room_id == room_id.as_str())
        .filter(|event| event.read().is_ok())
        .collect())
}

/// The state after the newest events. Synapse forgets which it is when the last local user leaves: then it is that
/// after the newest extremity, or the newest event, which is that leave.
async fn current_state(
    tables: &mut RoomTables<'_>,
    extremities: &[EventRow],
    tally: &mut Tally,
) -> Result<CurrentState, DatabaseError> {
    let mut entries = Entries::new();
    let table = "current_state_events";
    let room_id = tables.id;
    let mut items = Items::new(tally, Kind::State, room_id.as_str());
    let mut number = 0;
    let sql = "SELECT type, state_key, event_id, room_id FROM current_state_events WHERE room_id IN ($IDS)";
    tables
        .each(table, sql, |row| {
            number = u64::saturating_add(number, 1);
            match row.decode::<(String, String, OwnedEventId)>() {
                Ok((kind, state_key, event_id)) => {
                    entries.insert((kind, state_key), event_id);
                }
                Err(broken) => {
                    items.broken(row, &broken);
                    items.row_left_out(table, broken.reason);
                }
            }
        })
        .await?;
    tally.rows.met(table, room_id.as_str(), number);
    let is_present = !entries.is_empty();
    if entries.is_empty() {
        let group = match extremities.iter().rev().find_map(|event| event.group) {
            Some(group) => Some(group),
            None => newest_group(tables.db(), room_id).await?,
        };
        if let Some(group) = group {
            entries = state_groups::whole(tables.databases.states(), group).await?;
        }
    }
    let entries = Some(entries).filter(|entries| !entries.is_empty());
    Ok(CurrentState { entries, is_present })
}

/// The state group after the newest event.
async fn newest_group(db: &mut Connection, room_id: &RoomId) -> Result<Option<i64>, DatabaseError> {
    let sql = format!(
        "SELECT sg.state_group FROM {TABLES} WHERE e.room_id = $1 AND NOT e.outlier AND r.event_id IS NULL \
         AND sg.state_group IS NOT NULL ORDER BY e.stream_ordering DESC LIMIT 1"
    );
    let rows = db.rows("events", &sql, &[room_id.as_str().into()]).await?;
    Ok(rows.first().and_then(|row| row.decode().ok()).map(|(group,)| group))
}
