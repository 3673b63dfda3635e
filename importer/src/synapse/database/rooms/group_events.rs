//! The events of a group of rooms, in one query.
//!
//! Page by page, PostgreSQL looks up four rows for each event by its id. For a group that has a good part of a server's events it
//! reads the tables as a whole instead, and joins them in memory, which takes two thirds of the time. It does not sort: that would
//! need memory, or temporary files, for all the JSON of the group. The rows are sorted here.

use std::{collections::BTreeMap, ops::ControlFlow};

use super::{
    stored_event::{GROUP_COLUMNS, GROUP_TABLES},
    timeline::{ACCEPTED, StreamPosition, TimelineRow},
};
use crate::{
    dump::format::SourceKind,
    synapse::database::{DatabaseError, connection::Connection},
};

/// Most bytes of `event_json`, which is read as a whole for each group.
const TABLE_BYTES: u64 = 256 << 20;
/// Bytes of it that a group should have.
const GROUP_BYTES: u64 = 48 << 20;
/// Fewest groups: one reader reads the first while the other reads users, then each reads one.
const FEWEST: u64 = 3;
/// Most events of a group.
pub(super) const EVENTS: u64 = 100_000;
/// Most bytes of their JSON, which may be compressed in the table.
const JSON_BYTES: usize = if cfg!(test) { 1 << 16 } else { 64 << 20 };

/// The rows of timelines, by room.
pub(super) type GroupEvents = BTreeMap<String, Vec<TimelineRow>>;

/// How many of so many events a group should have. `None`: with SQLite, which looks up each event in any case, and where the
/// table is so large that a group has a small part of it.
pub(super) async fn number(db: &mut Connection, all: u64) -> Result<Option<u64>, DatabaseError> {
    if db.kind() != SourceKind::Postgres {
        return Ok(None);
    }
    let sql = "SELECT pg_table_size(CAST('event_json' AS regclass))";
    let rows = db.rows("event_json", sql, &[]).await?;
    let size = rows.first().and_then(|row| u64::try_from(row.integer(0)?).ok());
    let size = size.filter(|size| *size <= TABLE_BYTES);
    Ok(size.map(|size| {
        let groups = size.div_ceil(GROUP_BYTES).max(FEWEST);
        all.div_ceil(groups).min(EVENTS)
    }))
}

/// Reads the events of rooms that have no backfilled ones. Nothing, if they are too large.
pub(super) async fn read(
    db: &mut Connection,
    rooms: &[&str],
) -> Result<GroupEvents, DatabaseError> {
    let sql = format!(
        "SELECT {GROUP_COLUMNS} FROM {GROUP_TABLES} WHERE {ACCEPTED} AND e.stream_ordering >= 0 \
         AND e.room_id IN (SELECT value FROM json_array_elements_text(CAST($1 AS json)))"
    );
    let ids = serde_json::Value::from(rooms.to_vec()).to_string();
    let begin = StreamPosition::LIVE;
    let mut events: GroupEvents =
        rooms.iter().map(|room| ((*room).to_owned(), Vec::new())).collect();
    let mut bytes = 0_usize;
    db.each_of_whole_tables("events", &sql, &[ids.as_str().into()], |row| {
        let room = row.text(3);
        let row = TimelineRow::new(row, begin);
        bytes = bytes.saturating_add(row.size());
        if let Some(events) = events.get_mut(&room) {
            events.push(row);
        }
        if bytes > JSON_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await?;
    if bytes > JSON_BYTES {
        return Ok(GroupEvents::new());
    }
    for events in events.values_mut() {
        TimelineRow::sort(events);
    }
    Ok(events)
}
