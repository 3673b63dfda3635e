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
    super::{DatabaseError, DatabaseSource},
    StoredEvent,
    states::Key,
};

/// The state before an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// The event is the room's first.
    Nothing,
    /// A state group.
    Group(i64),
    /// A state group but for one entry.
    Changed { group: i64, key: Key, value: Option<OwnedEventId> },
    /// The database does not hold it.
    Missing,
}

impl DatabaseSource {
    /// The states before some events, in their order.
    pub(super) async fn befores(
        &mut self,
        room_id: &RoomId,
        events: &[StoredEvent],
    ) -> Result<Vec<Before>, DatabaseError> {
        let state_events = || events.iter().filter(|event| event.pdu.state_key.is_some());
        let single: Vec<&str> = state_events()
            .filter_map(|event| event.only_prev())
            .map(|event_id| event_id.as_str())
            .collect();
        let groups = self.groups(&single).await?;
        let replaced: Vec<&str> = state_events()
            .filter(|event| event.only_prev().is_none_or(|prev| !groups.contains_key(prev)))
            .filter_map(|event| event.pdu.replaces_state.as_deref())
            .map(ruma::EventId::as_str)
            .collect();
        let replaced = self.state_keys(room_id, &replaced).await?;
        Ok(events.iter().map(|event| event.before(&groups, &replaced)).collect())
    }

    async fn groups(
        &mut self,
        event_ids: &[&str],
    ) -> Result<BTreeMap<OwnedEventId, i64>, DatabaseError> {
        let sql =
            "SELECT event_id, state_group FROM event_to_state_groups WHERE event_id IN ($IDS)";
        let rows = self.main.rows_in("event_to_state_groups", sql, event_ids).await?;
        Ok(rows.iter().filter_map(|row| row.decode().ok()).collect())
    }

    /// Types and state keys of state events of the room.
    async fn state_keys(
        &mut self,
        room_id: &RoomId,
        event_ids: &[&str],
    ) -> Result<BTreeMap<OwnedEventId, Key>, DatabaseError> {
        let sql =
            "SELECT event_id, room_id, type, state_key FROM state_events WHERE event_id IN ($IDS)";
        let rows = self.main.rows_in("state_events", sql, event_ids).await?;
        Ok(rows
            .iter()
            .filter_map(|row| row.decode::<(OwnedEventId, String, String, String)>().ok())
            .filter(|(_, room, _, _)| room == room_id.as_str())
            .map(|(event_id, _, kind, state_key)| (event_id, (kind, state_key)))
            .collect())
    }
}

impl StoredEvent {
    fn only_prev(&self) -> Option<&OwnedEventId> {
        match self.pdu.prev_events.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    fn before(
        &self,
        groups: &BTreeMap<OwnedEventId, i64>,
        replaced: &BTreeMap<OwnedEventId, Key>,
    ) -> Before {
        if self.is_create() {
            return Before::Nothing;
        }
        let Some(key) = self.state_entry() else {
            return self.group.map_or(Before::Missing, Before::Group);
        };
        if let Some(group) = self.only_prev().and_then(|prev| groups.get(prev)) {
            return Before::Group(*group);
        }
        let Some(group) = self.group else { return Before::Missing };
        // Whatever else stands there came from a client or server that made it up.
        let value =
            self.pdu.replaces_state.clone().filter(|event_id| replaced.get(event_id) == Some(&key));
        Before::Changed { group, key, value }
    }
}
