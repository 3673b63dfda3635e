//! Local users' present memberships in a room.

use std::collections::BTreeMap;

use ruma::{OwnedEventId, OwnedUserId, RoomId, ServerName};
use serde_json::value::RawValue;

use super::{batch::RoomTables, event_json::Pdu, head::CurrentState};
use crate::{
    dump::format::DumpMember,
    synapse::database::{
        DatabaseError,
        connection::Connection,
        counter::Items,
        memberships,
        row::{Known, row},
    },
    tally::{Kind, Tally},
};

row! {
    /// A row of `local_current_membership`, with what belongs to its event.
    struct MemberRow {
        user_id: OwnedUserId,
        membership: String,
        event_id: OwnedEventId,
        /// Of `room_memberships`.
        forgotten: bool,
        /// The event, of an invite or knock.
        json: Known<Box<RawValue>>,
    }
}

/// What somebody who is invited or knocks was shown of the room: `invite_room_state` or `knock_room_state` in `unsigned` of the member
/// event.
pub(in crate::synapse::database) fn stripped_state(
    membership: &str,
    json: &str,
) -> Option<Vec<Box<RawValue>>> {
    matches!(membership, "invite" | "knock")
        .then(|| Pdu::unsigned_list(json, &format!("{membership}_room_state")))?
}

/// The memberships of local users, by the table of memberships, or else by the present state or the member events.
pub(super) async fn read(
    tables: &mut RoomTables<'_>,
    server_name: &ServerName,
    current: &CurrentState,
    tally: &mut Tally,
) -> Result<Vec<DumpMember>, DatabaseError> {
    // Not as joins, which would give a row twice if a broken index lets the other table have two.
    let sql = "SELECT l.user_id, l.membership, l.event_id, \
               (SELECT m.forgotten FROM room_memberships m WHERE m.event_id = l.event_id LIMIT 1), \
               CASE WHEN l.membership IN ('invite', 'knock') THEN \
               (SELECT ej.json FROM event_json ej WHERE ej.event_id = l.event_id LIMIT 1) END, \
               l.room_id FROM local_current_membership l WHERE l.room_id IN ($IDS)";
    let table = "local_current_membership";
    let rows = tables.rows(table, sql).await?;
    let (room_id, db) = (tables.id, tables.db());
    let mut items = Items::new(tally, Kind::Membership, room_id.as_str()).of(table);
    let mut members = BTreeMap::new();
    for row in items.decode::<MemberRow>(&rows) {
        let MemberRow { user_id, membership, event_id, forgotten, json: Known(json) } = row;
        if user_id.server_name() != server_name {
            let detail = "the user belongs to another server name";
            items.skip(user_id.as_str(), "foreign-user", detail);
            continue;
        }
        let stripped_state = json.and_then(|json| stripped_state(&membership, json.get()));
        let id = user_id.clone();
        let member = DumpMember { user_id, membership, event_id, forgotten, stripped_state };
        items.put(&mut members, id, member, ToString::to_string);
    }
    let mut missing = unlisted(db, room_id, current).await?;
    missing.retain(|user, _| user.server_name() == server_name && !members.contains_key(user));
    let missing: Vec<_> = missing.into_iter().collect();
    let missing = memberships::memberships(db, &missing).await?;
    let mut items = Items::new(tally, Kind::Membership, room_id.as_str());
    items.read(missing.len());
    items.written(missing.len());
    members.extend(missing.into_iter().map(|member| (member.user_id.clone(), member)));
    Ok(members.into_values().collect())
}

/// Member events by the present state; in a room without one, by the events of users whom no table lists.
async fn unlisted(
    db: &mut Connection,
    room_id: &RoomId,
    current: &CurrentState,
) -> Result<BTreeMap<OwnedUserId, OwnedEventId>, DatabaseError> {
    let Some(entries) = current.entries.as_ref().filter(|_| current.is_present) else {
        return memberships::members_of_events(db, room_id).await;
    };
    let first = ("m.room.member".to_owned(), String::new());
    Ok(entries
        .range(first..)
        .take_while(|((kind, _), _)| kind == "m.room.member")
        .filter_map(|((_, user), event)| {
            Some((OwnedUserId::try_from(user.as_str()).ok()?, event.clone()))
        })
        .collect())
}
