//! What rooms' histories are made of: it tells whether a history in an earlier dump is still what Synapse has.
//!
//! The fingerprint of a room is a sum over all its rows in the tables that decide what a dump has of its history:
//!
//! * `events`: the event ids, their order, which of them are outliers, and whose sender was erased. From room version 3 on an id is
//!   the hash of its event, and Synapse never changes the content behind an id, except that it prunes what is redacted or expired.
//! * `rejections`, `redactions`, `room_ban_redactions`: which events are not shown, or redacted.
//! * `event_expiry`: the events whose content Synapse will prune. It deletes the row when it does.
//!
//! State groups never change, and an event keeps its group, with one exception: while a room is joined partially. Such a room has no
//! fingerprint. Nor has any room while Synapse has background updates to finish.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::synapse::{
    database::{
        DatabaseError,
        connection::Connection,
        row::{KeptRow, Row, row},
        schema::Schema,
    },
    erased::Erased,
};

/// Fingerprints of rooms.
#[derive(Clone, Debug, Default)]
pub(in crate::synapse::database) struct Fingerprints {
    rooms: BTreeMap<String, Fingerprint>,
    /// The least and the greatest `stream_ordering`.
    streams: Option<(i64, i64)>,
}

/// Rows that a history is made of: how many, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fingerprint {
    rows: u64,
    sum: u128,
    /// How many of them are of `events`.
    events: u64,
    /// Whether there are events with a negative `stream_ordering`.
    backfilled: bool,
}

row! {
    /// A row of `events`.
    struct EventRow {
        event_id: String,
        room_id: String,
        /// `stream_ordering`.
        stream: i64,
        /// `topological_ordering`.
        topological: i64,
        outlier: bool,
        sender: Option<String>,
    }
}

/// Tables of which a row belongs to an event: an id, the room, and what the row says.
const OF_EVENTS: [(&str, &str); 4] = [
    (
        "rejections",
        "SELECT x.event_id, e.room_id, '' FROM rejections x JOIN events e ON e.event_id = x.event_id",
    ),
    (
        "redactions",
        "SELECT x.event_id, e.room_id, x.redacts FROM redactions x JOIN events e ON e.event_id = x.event_id",
    ),
    (
        "event_expiry",
        "SELECT x.event_id, e.room_id, CAST(x.expiry_ts AS TEXT) FROM event_expiry x \
         JOIN events e ON e.event_id = x.event_id",
    ),
    (
        "room_ban_redactions",
        "SELECT x.redacting_event_id, x.room_id, x.user_id || ' ' || COALESCE(CAST(x.redact_end_ordering AS TEXT), '') \
         FROM room_ban_redactions x",
    ),
];

/// Reads the fingerprints of all rooms.
pub(super) async fn read(
    db: &mut Connection,
    schema: &Schema,
    erased: &Erased,
) -> Result<Fingerprints, DatabaseError> {
    let mut rooms = BTreeMap::new();
    if !schema.pending_updates.is_empty() {
        return Ok(Fingerprints::default());
    }
    let mut unknown = BTreeSet::new();
    let mut streams = None;
    let sql = "SELECT event_id, room_id, stream_ordering, topological_ordering, outlier, sender FROM events";
    db.each("events", sql, &[], |row| match row.decode::<EventRow>() {
        Ok(event) => {
            let is_erased = event.sender.is_some_and(|sender| erased.contains(&sender));
            let row = [
                event.event_id.as_bytes(),
                &event.stream.to_be_bytes(),
                &event.topological.to_be_bytes(),
                &[u8::from(event.outlier), u8::from(is_erased)],
            ];
            let room = add(&mut rooms, event.room_id, "events", &row);
            room.events = room.events.saturating_add(1);
            room.backfilled |= event.stream < 0;
            let (first, last) = streams.get_or_insert((event.stream, event.stream));
            *first = event.stream.min(*first);
            *last = event.stream.max(*last);
        }
        Err(_broken) => {
            unknown.insert(row.text(1));
        }
    })
    .await?;
    for (table, sql) in OF_EVENTS {
        if !schema.has_table(table) {
            continue;
        }
        db.each(table, sql, &[], |row| {
            let (event_id, room_id, says) = (row.text(0), row.text(1), said(row));
            let row = [event_id.as_bytes(), b" ", says.as_bytes()];
            let _room = add(&mut rooms, room_id, table, &row);
        })
        .await?;
    }
    if schema.has_table("partial_state_rooms") {
        let sql = "SELECT room_id FROM partial_state_rooms";
        let partial = db.rows("partial_state_rooms", sql, &[]).await?;
        unknown.extend(partial.iter().map(KeptRow::label));
    }
    for room in &unknown {
        rooms.remove(room);
    }
    Ok(Fingerprints { rooms, streams })
}

fn said(row: Row<'_>) -> String {
    if row.is_null(2) { String::new() } else { row.text(2) }
}

fn add<'a>(
    rooms: &'a mut BTreeMap<String, Fingerprint>,
    room: String,
    table: &str,
    row: &[&[u8]],
) -> &'a mut Fingerprint {
    let mut hash = Sha256::new_with_prefix(table);
    for part in row {
        hash.update(part);
    }
    let mut half = [0; 16];
    half.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    let room = rooms.entry(room).or_default();
    room.rows = room.rows.saturating_add(1);
    room.sum = room.sum.wrapping_add(u128::from_be_bytes(half));
    room
}

impl Fingerprints {
    /// That of a room, as a dump has it. `None`: its history may change in ways that no table shows.
    pub(super) fn of(&self, room_id: &str) -> Option<String> {
        self.rooms.get(room_id).map(|Fingerprint { rows, sum, .. }| format!("{rows}-{sum:032x}"))
    }

    /// How many rows `events` has of a room. `None`: it is not known.
    pub(super) fn events_of(&self, room_id: &str) -> Option<u64> {
        self.rooms.get(room_id).map(|room| room.events)
    }

    /// How many it has of all rooms of which that is known.
    pub(super) fn events(&self) -> u64 {
        self.rooms.values().map(|room| room.events).fold(0, u64::saturating_add)
    }

    /// The least and the greatest `stream_ordering` of these.
    pub(super) fn streams(&self) -> Option<(i64, i64)> {
        self.streams
    }

    /// Rooms with so many events.
    #[cfg(test)]
    pub(super) fn with_events(rooms: &[(String, u64)]) -> Self {
        let of_room = |(room, events): &(String, u64)| {
            (room.clone(), Fingerprint { events: *events, ..Fingerprint::default() })
        };
        Self { rooms: rooms.iter().map(of_room).collect(), streams: None }
    }

    /// Whether each event of a room is known to have a place in the stream, and none was backfilled.
    pub(super) fn is_plain(&self, room_id: &str) -> bool {
        self.rooms.get(room_id).is_some_and(|room| !room.backfilled)
    }
}
