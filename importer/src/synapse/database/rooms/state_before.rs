//! The state *before* an event, from Synapse's groups, which are the states *after* events.
//!
//! * A message changes nothing: its own group.
//! * A state event with one prev event: the group of that.
//! * A state event after a fork, or at the edge of what the server knows: its own group, with the event's own entry set
//!   back to what it replaced. Synapse resolved the fork's states when the event arrived, and noted in
//!   `unsigned.replaces_state` which event was there before; so nothing has to be resolved again.

use std::collections::BTreeMap;

use ruma::{OwnedEventId, RoomId};

use super::{
    super::{DatabaseError, connection::Connection},
    state_groups::Key,
    stored_event::StoredEvent,
};

/// The state before an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StateBefore {
    /// The event is the room's first.
    Nothing,
    /// A state group.
    Group(i64),
    /// A state group but for one entry.
    Changed { group: i64, key: Key, value: Option<OwnedEventId> },
    /// The database does not hold it.
    Missing,
}

impl StateBefore {
    /// The group that the state is made of.
    pub(super) fn group(&self) -> Option<i64> {
        match self {
            Self::Group(group) | Self::Changed { group, .. } => Some(*group),
            Self::Nothing | Self::Missing => None,
        }
    }
}

/// The state group after each event.
pub(super) type GroupsOfEvents = BTreeMap<OwnedEventId, i64>;

/// A state event's only prev event.
struct Prev<'a> {
    event: &'a StoredEvent<'a>,
    only: Option<OwnedEventId>,
}

/// The states before some events, in their order. `recent` holds the groups of the page before, and is replaced by those of
/// these events.
pub(super) async fn read(
    db: &mut Connection,
    room_id: &RoomId,
    events: &[StoredEvent<'_>],
    recent: &mut GroupsOfEvents,
) -> Result<Vec<StateBefore>, DatabaseError> {
    let own: GroupsOfEvents = events
        .iter()
        .filter_map(|event| Some((event.row.event_id.clone(), event.row.group?)))
        .collect();
    let prevs: Vec<Prev<'_>> = events
        .iter()
        .filter(|event| event.pdu.state_key.is_some() && !event.is_create())
        .map(|event| Prev { event, only: only(event.pdu.prev_events()) })
        .collect();
    let mut groups = GroupsOfEvents::new();
    let mut unknown = Vec::new();
    for prev in prevs.iter().filter_map(|prev| prev.only.as_ref()) {
        match own.get(prev).or_else(|| recent.get(prev)) {
            Some(group) => {
                groups.insert(prev.clone(), *group);
            }
            None => unknown.push(prev.as_str()),
        }
    }
    groups.extend(groups_of(db, &unknown).await?);
    let replaced: Vec<OwnedEventId> = prevs
        .iter()
        .filter(|prev| prev.only.as_ref().is_none_or(|prev| !groups.contains_key(prev)))
        .filter_map(|prev| prev.event.pdu.replaces_state())
        .collect();
    let replaced: Vec<&str> = replaced.iter().map(|event_id| event_id.as_str()).collect();
    let replaced = state_keys(db, room_id, &replaced).await?;
    let mut prevs = prevs.into_iter();
    let befores = events.iter().map(|event| {
        if event.is_create() {
            return StateBefore::Nothing;
        }
        match event.state_entry() {
            None => event.row.group.map_or(StateBefore::Missing, StateBefore::Group),
            Some(key) => {
                let prev = prevs.next().and_then(|prev| prev.only);
                event.before(key, prev.and_then(|prev| groups.get(&prev)), &replaced)
            }
        }
    });
    let befores = befores.collect();
    *recent = own;
    Ok(befores)
}

/// The state groups after events.
async fn groups_of(
    db: &mut Connection,
    event_ids: &[&str],
) -> Result<GroupsOfEvents, DatabaseError> {
    let sql = "SELECT event_id, state_group FROM event_to_state_groups WHERE event_id IN ($IDS)";
    let rows = db.rows_in("event_to_state_groups", sql, event_ids).await?;
    Ok(rows.iter().filter_map(|row| row.decode().ok()).collect())
}

/// Types and state keys of state events of the room.
async fn state_keys(
    db: &mut Connection,
    room_id: &RoomId,
    event_ids: &[&str],
) -> Result<BTreeMap<OwnedEventId, Key>, DatabaseError> {
    let sql =
        "SELECT event_id, room_id, type, state_key FROM state_events WHERE event_id IN ($IDS)";
    let rows = db.rows_in("state_events", sql, event_ids).await?;
    Ok(rows
        .iter()
        .filter_map(|row| row.decode::<(OwnedEventId, String, String, String)>().ok())
        .filter(|(_, room, _, _)| room == room_id.as_str())
        .map(|(event_id, _, kind, state_key)| (event_id, (kind, state_key)))
        .collect())
}

fn only(prev_events: Vec<OwnedEventId>) -> Option<OwnedEventId> {
    let [only] = <[OwnedEventId; 1]>::try_from(prev_events).ok()?;
    Some(only)
}

impl StoredEvent<'_> {
    /// The state before a state event with this key. `prev`: the group after its only prev event.
    fn before(
        &self,
        key: Key,
        prev: Option<&i64>,
        replaced: &BTreeMap<OwnedEventId, Key>,
    ) -> StateBefore {
        if let Some(group) = prev {
            return StateBefore::Group(*group);
        }
        let Some(group) = self.row.group else { return StateBefore::Missing };
        // Whatever else stands there came from a client or server that made it up.
        let value =
            self.pdu.replaces_state().filter(|event_id| replaced.get(event_id) == Some(&key));
        StateBefore::Changed { group, key, value }
    }
}
