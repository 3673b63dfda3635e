//! Which events are redacted: those that Synapse would show redacted.

use std::collections::BTreeMap;

use ruma::{OwnedEventId, RoomId};

use super::{
    batch::RoomTables,
    stored_event::{EventMetadata, StoredEvent},
};
use crate::synapse::database::{DatabaseError, connection::Connection, row::row, schema::Schema};

row! {
    /// A row of `redactions`, with the redaction's event.
    struct RedactionRow {
        event_id: OwnedEventId,
        redacts: OwnedEventId,
        room_id: String,
        sender: String,
        metadata: EventMetadata,
    }
}

/// A redaction that was not rejected, in the same room as its target.
#[derive(Clone, Debug)]
struct Redaction {
    event_id: OwnedEventId,
    sender: String,
    /// It holds only for events of its sender's server. From room version 3 on, a redaction by somebody without the
    /// power to redact is accepted, as its target may not be known yet.
    own_server_only: bool,
}

/// Redactions by their targets, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Redactions(BTreeMap<OwnedEventId, Vec<Redaction>>);

row! {
    /// A row of `room_ban_redactions`: a ban or kick that redacts all earlier events of a user (MSC4293).
    #[derive(Debug)]
    pub(super) struct BanRedaction {
        /// `redacting_event_id`.
        event_id: OwnedEventId,
        user_id: String,
        /// `redact_end_ordering`: events from this stream ordering on are not redacted.
        end: Option<i64>,
    }
}

/// The redactions of some events of a room.
pub(super) async fn read(
    db: &mut Connection,
    room_id: &RoomId,
    events: &[StoredEvent<'_>],
) -> Result<Redactions, DatabaseError> {
    let redacted = events.iter().filter(|event| event.row.is_redacted);
    let ids: Vec<_> = redacted.map(|event| event.row.event_id.as_str()).collect();
    Ok(of_several_rooms(db, &ids).await?.remove(room_id.as_str()).unwrap_or_default())
}

/// The redactions of events with these ids, by the room that they are in.
pub(super) async fn of_several_rooms(
    db: &mut Connection,
    redacted: &[&str],
) -> Result<BTreeMap<String, Redactions>, DatabaseError> {
    let sql = "SELECT x.event_id, x.redacts, e.room_id, e.sender, ej.internal_metadata \
               FROM redactions x JOIN events e ON e.event_id = x.event_id \
               JOIN event_json ej ON ej.event_id = x.event_id \
               LEFT JOIN rejections r ON r.event_id = x.event_id \
               WHERE r.event_id IS NULL AND x.redacts IN ($IDS) ORDER BY e.stream_ordering";
    let rows = db.rows_in("redactions", sql, redacted).await?;
    let mut rooms: BTreeMap<String, Redactions> = BTreeMap::new();
    for row in rows.iter().filter_map(|row| row.decode::<RedactionRow>().ok()) {
        let own_server_only = row.metadata.recheck_redaction.0;
        let redaction = Redaction { event_id: row.event_id, sender: row.sender, own_server_only };
        let of_room = rooms.entry(row.room_id).or_default();
        of_room.0.entry(row.redacts).or_default().push(redaction);
    }
    Ok(rooms)
}

/// Bans and kicks of a room that redact.
pub(super) async fn bans(
    tables: &mut RoomTables<'_>,
    schema: &Schema,
) -> Result<Vec<BanRedaction>, DatabaseError> {
    if !schema.has_table("room_ban_redactions") {
        return Ok(Vec::new());
    }
    let sql = "SELECT b.redacting_event_id, b.user_id, b.redact_end_ordering, b.room_id FROM room_ban_redactions b \
               JOIN events e ON e.event_id = b.redacting_event_id AND e.room_id = b.room_id \
               LEFT JOIN rejections r ON r.event_id = e.event_id \
               WHERE r.event_id IS NULL AND b.room_id IN ($IDS) ORDER BY b.user_id";
    let rows = tables.rows("room_ban_redactions", sql).await?;
    Ok(rows.iter().filter_map(|row| row.decode().ok()).collect())
}

impl Redactions {
    /// What redacted an event. Synapse never redacts a create event.
    pub(super) fn of(
        &self,
        event: &StoredEvent<'_>,
        bans: &[BanRedaction],
    ) -> Option<OwnedEventId> {
        if event.is_create() {
            return None;
        }
        let sender = &*event.pdu.sender;
        let redactions = self.0.get(&event.row.event_id).into_iter().flatten();
        let valid = |redaction: &&Redaction| {
            !redaction.own_server_only || server(&redaction.sender) == server(sender)
        };
        let by_redaction = redactions.filter(valid).map(|redaction| &redaction.event_id);
        let by_ban = bans.iter().filter(|ban| ban.covers(event)).map(|ban| &ban.event_id);
        by_redaction.chain(by_ban).next().cloned()
    }
}

impl BanRedaction {
    fn covers(&self, event: &StoredEvent<'_>) -> bool {
        let ended = self.end.is_some_and(|end| event.row.position().stream() >= end);
        self.user_id == event.pdu.sender && !ended
    }
}

fn server(user_id: &str) -> Option<&str> {
    user_id.split_once(':').map(|(_, server)| server)
}
