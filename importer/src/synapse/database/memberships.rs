//! Who is in a room by its present state and its member events, where the table of memberships (`local_current_membership`)
//! says something else, or nothing.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedEventId, OwnedUserId, RoomId, ServerName};
use serde::Deserialize;

use super::{
    DatabaseError,
    connection::Connection,
    rooms::stripped_state,
    row::{KeptRow, Known},
};
use crate::dump::format::DumpMember;

/// Application services' users without an account, with their services.
type Senders = BTreeMap<OwnedUserId, String>;

/// A local user for whom the table of memberships differs from a room's state or events.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Disagreement {
    pub(super) room: String,
    pub(super) user: String,
    pub(super) difference: Difference,
}

/// How the table of memberships differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Difference {
    /// It names another event than the state.
    OtherEvent,
    /// It has no row, and the state has a member event.
    OnlyState,
    /// It has no row, the room has no present state, and there is a member event: an invite, or a room that was left.
    OnlyEvents,
}

const COLUMNS: &str =
    "SELECT c.room_id, c.state_key, CASE WHEN l.user_id IS NULL THEN 1 ELSE 0 END";
const CONDITION: &str = "LEFT JOIN local_current_membership l ON l.room_id = c.room_id AND l.user_id = c.state_key \
                         WHERE (l.user_id IS NULL OR l.event_id <> c.event_id)";

/// Accepted member events `m` of rooms without a present state, of users without a row in the table of memberships. Events
/// that came as part of an earlier state have negative stream orderings. Users whom a room's present state does not name are
/// not in that room. SQLite would begin with all events of the server, but keeps the order of tables that are joined by `CROSS JOIN`.
const UNLISTED: &str = "CROSS JOIN events e LEFT JOIN rejections r ON r.event_id = m.event_id \
                      WHERE e.event_id = m.event_id AND r.event_id IS NULL AND e.stream_ordering > 0 \
                      AND NOT EXISTS (SELECT 1 FROM local_current_membership l WHERE l.room_id = m.room_id AND l.user_id = m.user_id) \
                      AND NOT EXISTS (SELECT 1 FROM current_state_events c WHERE c.room_id = m.room_id)";

/// Where the table of memberships and the states of rooms disagree about accounts, sorted.
pub(super) async fn disagreements(
    db: &mut Connection,
    senders: &Senders,
) -> Result<Vec<Disagreement>, DatabaseError> {
    let table = "local_current_membership";
    let of_accounts = format!(
        "{COLUMNS} FROM users u JOIN current_state_events c ON c.type = 'm.room.member' AND c.state_key = u.name {CONDITION}"
    );
    let of_senders = format!(
        "{COLUMNS} FROM current_state_events c {CONDITION} AND c.type = 'm.room.member' AND c.state_key IN ($IDS)"
    );
    let mut rows = db.rows(table, &of_accounts, &[]).await?;
    let senders: Vec<&str> = senders.keys().map(|user| user.as_str()).collect();
    rows.extend(db.rows_in(table, &of_senders, &senders).await?);
    let mut all: Vec<_> = rows
        .iter()
        .filter_map(|row| row.decode::<(String, String, bool)>().ok())
        .map(|(room, user, is_missing)| {
            let difference =
                if is_missing { Difference::OnlyState } else { Difference::OtherEvent };
            Disagreement { room, user, difference }
        })
        .collect();
    let of_accounts = format!(
        "SELECT m.room_id, m.user_id FROM users u CROSS JOIN room_memberships m {UNLISTED} AND m.user_id = u.name"
    );
    let of_senders = format!(
        "SELECT m.room_id, m.user_id FROM room_memberships m {UNLISTED} AND m.user_id IN ($IDS)"
    );
    let table = "room_memberships";
    let mut rows = db.rows(table, &of_accounts, &[]).await?;
    rows.extend(db.rows_in(table, &of_senders, &senders).await?);
    all.extend(
        rows.iter()
            .filter_map(|row| row.decode::<(String, String)>().ok())
            .map(|(room, user)| Disagreement { room, user, difference: Difference::OnlyEvents }),
    );
    all.sort();
    all.dedup();
    Ok(all)
}

/// Rooms that no local user has to do with but by their states and member events.
pub(super) async fn rooms_of_state(
    db: &mut Connection,
    senders: &Senders,
) -> Result<BTreeSet<String>, DatabaseError> {
    let all = disagreements(db, senders).await?;
    let missing = all.into_iter().filter(|one| one.difference != Difference::OtherEvent);
    let rooms: BTreeSet<String> = missing.map(|one| one.room).collect();
    let ids: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let sql = "SELECT DISTINCT room_id FROM local_current_membership WHERE room_id IN ($IDS)";
    let known = db.rows_in("local_current_membership", sql, &ids).await?;
    let known: BTreeSet<String> = known.iter().map(KeptRow::label).collect();
    Ok(rooms.difference(&known).cloned().collect())
}

/// Whether somebody is in such a room by the member events.
pub(super) async fn is_joined_by_events(
    db: &mut Connection,
    server_name: &ServerName,
    room_id: &RoomId,
) -> Result<bool, DatabaseError> {
    let events: Vec<_> = members_of_events(db, room_id).await?.into_iter().collect();
    let members = memberships(db, &events).await?;
    let is_own = |user: &OwnedUserId| user.server_name() == server_name;
    Ok(members.iter().any(|member| member.membership == "join" && is_own(&member.user_id)))
}

/// The newest member events in a room without a present state, of users without a row in the table of memberships.
pub(super) async fn members_of_events(
    db: &mut Connection,
    room_id: &RoomId,
) -> Result<BTreeMap<OwnedUserId, OwnedEventId>, DatabaseError> {
    let sql = format!(
        "SELECT m.user_id, m.event_id FROM room_memberships m {UNLISTED} AND m.room_id = $1 ORDER BY e.stream_ordering"
    );
    let rows = db.rows("room_memberships", &sql, &[room_id.as_str().into()]).await?;
    Ok(rows.iter().filter_map(|row| row.decode().ok()).collect())
}

/// The memberships in member events; an event that is missing or broken has none.
pub(super) async fn memberships(
    db: &mut Connection,
    events: &[(OwnedUserId, OwnedEventId)],
) -> Result<Vec<DumpMember>, DatabaseError> {
    #[derive(Deserialize)]
    struct Event {
        content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        membership: String,
    }
    let ids: Vec<&str> = events.iter().map(|(_, event_id)| event_id.as_str()).collect();
    let sql = "SELECT ej.event_id, ej.json, m.forgotten FROM event_json ej \
               LEFT JOIN room_memberships m ON m.event_id = ej.event_id WHERE ej.event_id IN ($IDS)";
    let rows = db.rows_in("event_json", sql, &ids).await?;
    let memberships = rows.iter().filter_map(|row| {
        let (event_id, json, forgotten) = row.decode::<(String, String, Known<bool>)>().ok()?;
        let membership = serde_json::from_str::<Event>(&json).ok()?.content.membership;
        let stripped_state = stripped_state(&membership, &json);
        Some((event_id, (membership, forgotten.0.unwrap_or(false), stripped_state)))
    });
    let memberships: BTreeMap<_, _> = memberships.collect();
    let known = |(user_id, event_id): &(OwnedUserId, OwnedEventId)| {
        let (membership, forgotten, stripped_state) = memberships.get(event_id.as_str())?.clone();
        let (user_id, event_id) = (user_id.clone(), event_id.clone());
        Some(DumpMember { user_id, membership, event_id, forgotten, stripped_state })
    };
    Ok(events.iter().filter_map(known).collect())
}
