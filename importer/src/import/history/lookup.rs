//! Reads of the database, by ids instead of numbers.

use std::collections::{BTreeMap, BTreeSet};

use conduit_backfill::{host::StateMap, verdict::Verdict};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, RoomId, RoomVersionId};

use super::HistoryError;
use crate::{
    conduit::{
        schema::{
            pdu_id::PduCount,
            shapes::{RoomEvent, StateKey},
            trees::{self, Tree},
        },
        store::KvRead,
    },
    import::events::state_layers::State,
};

/// A store to look rows up in.
pub(super) struct Lookup<'a>(pub(super) &'a dyn KvRead);

impl Lookup<'_> {
    pub(super) fn number(
        &self,
        tree: &'static Tree,
        key: &[u8],
    ) -> Result<Option<u64>, HistoryError> {
        let value = self.0.get(tree, key)?;
        Ok(value.and_then(|value| value.try_into().ok()).map(u64::from_be_bytes))
    }

    /// The first count of a room's timeline.
    pub(super) fn first(&self, short_room: u64) -> Result<Option<PduCount>, HistoryError> {
        let first = self.0.scan(&trees::PDUID_PDU, &short_room.to_be_bytes())?.next();
        let Some((key, _)) = first.transpose()? else { return Ok(None) };
        Ok(PduCount::read(&key).map(|(_, count)| count))
    }

    /// The end of the numbers that are free for a room's past, which begin after its short id: the first count of its timeline, or
    /// the first event's short id, if that is less. `None` if the first count is no number of the counter.
    pub(super) fn free_until(&self, short_room: u64) -> Result<Option<u64>, HistoryError> {
        let Some(PduCount::Normal(first)) = self.first(short_room)? else { return Ok(None) };
        let event = self.id_at(&PduCount::Normal(first).key(short_room))?;
        let short = self.number(&trees::EVENTID_SHORTEVENTID, event.as_str().as_bytes())?;
        Ok(Some(short.map_or(first, |short| first.min(short))))
    }

    /// The place of an event in the timeline of a room.
    pub(super) fn count(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Option<PduCount>, HistoryError> {
        let Some(key) = self.0.get(&trees::EVENTID_PDUID, event.as_str().as_bytes())? else {
            return Ok(None);
        };
        let short = self.number(&trees::ROOMID_SHORTROOMID, room.as_str().as_bytes())?;
        let place = PduCount::read(&key).filter(|(of, _)| Some(*of) == short);
        Ok(place.map(|(_, count)| count))
    }

    /// An event outside of the timeline, if it is of that room.
    pub(super) fn outlier(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Option<CanonicalJsonObject>, HistoryError> {
        let json = self.json(&trees::EVENTID_OUTLIERPDU, event.as_str().as_bytes())?;
        Ok(json.filter(|json| is_of(json, room)))
    }

    /// An event of a room, wherever it is.
    pub(super) fn event(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Option<CanonicalJsonObject>, HistoryError> {
        match self.0.get(&trees::EVENTID_PDUID, event.as_str().as_bytes())? {
            Some(key) => {
                let json = self.json(&trees::PDUID_PDU, &key)?;
                Ok(json.filter(|json| is_of(json, room)))
            }
            None => self.outlier(room, event),
        }
    }

    /// Whether an event is in any timeline, or an outlier.
    pub(super) fn is_stored(&self, event: &EventId) -> Result<bool, HistoryError> {
        for tree in [trees::EVENTID_PDUID.tree(), trees::EVENTID_OUTLIERPDU.tree()] {
            if self.0.get(tree, event.as_str().as_bytes())?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The id of the event with a key of the timeline.
    pub(super) fn id_at(&self, key: &[u8]) -> Result<OwnedEventId, HistoryError> {
        let json = self.json(&trees::PDUID_PDU, key)?;
        let id = json.as_ref().and_then(|json| json.get("event_id")?.as_str());
        id.and_then(|id| EventId::parse(id).ok()).ok_or_else(|| HistoryError::Damaged {
            what: format!("the event with the key {}", hex::encode(key)),
        })
    }

    pub(super) fn json(
        &self,
        tree: &'static Tree,
        key: &[u8],
    ) -> Result<Option<CanonicalJsonObject>, HistoryError> {
        let Some(value) = self.0.get(tree, key)? else { return Ok(None) };
        let json = serde_json::from_slice(&value);
        json.map(Some).map_err(|_| HistoryError::Damaged {
            what: format!("an event in `{tree}` ({})", hex::encode(key)),
        })
    }

    /// The state before an event of the timeline; `None` if there is none.
    pub(super) fn state_before(&self, event: &EventId) -> Result<Option<State>, HistoryError> {
        self.short_state(event)?.map(|hash| self.state(hash)).transpose()
    }

    /// The short state hash of an event.
    pub(super) fn short_state(&self, event: &EventId) -> Result<Option<u64>, HistoryError> {
        let short = self.number(&trees::EVENTID_SHORTEVENTID, event.as_str().as_bytes())?;
        let Some(short) = short else { return Ok(None) };
        self.number(&trees::SHORTEVENTID_SHORTSTATEHASH, &short.to_be_bytes())
    }

    /// The present state of a room.
    pub(super) fn current(&self, room: &RoomId) -> Result<State, HistoryError> {
        let damaged = || HistoryError::Damaged { what: format!("the present state of {room}") };
        let hash = self.number(&trees::ROOMID_SHORTSTATEHASH, room.as_str().as_bytes())?;
        self.state(hash.ok_or_else(damaged)?)
    }

    /// The short state keys at which a state has member events of a server's users.
    pub(super) fn members_of(
        &self,
        state: &State,
        server_name: &str,
    ) -> Result<BTreeSet<u64>, HistoryError> {
        let tree = &trees::SHORTSTATEKEY_STATEKEY;
        let mut members = BTreeSet::new();
        for key in state.entries().into_keys() {
            let damaged = || HistoryError::Damaged { what: format!("the state key {key}") };
            let value = self.0.get(tree, &key.to_be_bytes())?.ok_or_else(damaged)?;
            let name = tree.read_value(&[], &value).map_err(|_| damaged())?;
            let server = name.state_key.split_once(':').map(|(_, server)| server);
            if name.r#type == "m.room.member" && server == Some(server_name) {
                members.insert(key);
            }
        }
        Ok(members)
    }

    pub(super) fn state(&self, hash: u64) -> Result<State, HistoryError> {
        let state = State::stored(hash, self.0)?;
        state.ok_or_else(|| HistoryError::Damaged { what: format!("the state {hash}") })
    }

    /// A state in names.
    pub(super) fn names(&self, state: &State) -> Result<StateMap, HistoryError> {
        let mut names = StateMap::new();
        for (key, event) in state.entries() {
            let damaged =
                || HistoryError::Damaged { what: format!("the state entry {key} {event}") };
            let value = self.0.get(&trees::SHORTSTATEKEY_STATEKEY, &key.to_be_bytes())?;
            let value = value.ok_or_else(damaged)?;
            let tree = &trees::SHORTSTATEKEY_STATEKEY;
            let name = tree.read_value(&[], &value).map_err(|_| damaged())?;
            let name = (name.r#type.to_owned(), name.state_key.to_owned());
            names.insert(name, self.event_id(event)?.ok_or_else(damaged)?);
        }
        Ok(names)
    }

    /// The event with a short id.
    pub(super) fn event_id(&self, short: u64) -> Result<Option<OwnedEventId>, HistoryError> {
        let id = self.0.get(&trees::SHORTEVENTID_EVENTID, &short.to_be_bytes())?;
        let id = id.and_then(|id| String::from_utf8(id).ok());
        Ok(id.and_then(|id| EventId::parse(id).ok()))
    }

    /// Whether an event of the timeline is the create event.
    pub(super) fn is_create(&self, room: &RoomId, event: &EventId) -> Result<bool, HistoryError> {
        let event = self.event(room, event)?;
        let text = |name: &str| event.as_ref().and_then(|event| event.get(name)?.as_str());
        Ok(text("type") == Some("m.room.create") && text("state_key") == Some(""))
    }

    /// The version of a room, by the create event of its present state.
    pub(super) fn version(&self, room: &RoomId) -> Result<Option<RoomVersionId>, HistoryError> {
        let hash = self.number(&trees::ROOMID_SHORTSTATEHASH, room.as_str().as_bytes())?;
        let Some(hash) = hash else { return Ok(None) };
        let damaged = || HistoryError::Damaged { what: format!("the create event of {room}") };
        let key = StateKey { r#type: "m.room.create", state_key: "" };
        let key = trees::STATEKEY_SHORTSTATEKEY.key_of(&key);
        let key = self.number(&trees::STATEKEY_SHORTSTATEKEY, &key)?.ok_or_else(damaged)?;
        let create = self.state(hash)?.get(key).ok_or_else(damaged)?;
        let create = self.event_id(create)?.ok_or_else(damaged)?;
        let create = self.event(room, &create)?.ok_or_else(damaged)?;
        let content = create.get("content").and_then(CanonicalJsonValue::as_object);
        let version = content.and_then(|content| content.get("room_version")?.as_str());
        let version = RoomVersionId::try_from(version.unwrap_or("1")).map_err(|_| damaged())?;
        Ok(Some(version))
    }

    /// The events of a room that were given up.
    pub(super) fn given_up(
        &self,
        room: &RoomId,
    ) -> Result<BTreeMap<OwnedEventId, Verdict>, HistoryError> {
        let tree = &trees::PREDECESSOR_GIVENUP;
        let mut given_up = BTreeMap::new();
        for row in self.0.scan(tree, &tree.key_of(&RoomEvent { room: room.as_str(), event: "" }))? {
            let (key, value) = row?;
            let event = tree.read_key(&key).ok().and_then(|key| EventId::parse(key.event).ok());
            let verdict = Verdict::parse(&String::from_utf8_lossy(&value));
            given_up.extend(event.map(|event| (event, verdict)));
        }
        Ok(given_up)
    }

    /// The ends of the room's graph.
    pub(super) fn is_leaf(&self, room: &RoomId, event: &str) -> Result<bool, HistoryError> {
        let tree = &trees::ROOMID_PDULEAVES;
        let key = tree.key_of(&RoomEvent { room: room.as_str(), event });
        Ok(self.0.get(tree, &key)?.is_some())
    }
}

/// Whether an event is of a room. The create event of version 12 doesn't say so: its id is the room's.
fn is_of(json: &CanonicalJsonObject, room: &RoomId) -> bool {
    if let Some(id) = json.get("room_id") {
        return id.as_str() == Some(room.as_str());
    }
    let id = json.get("event_id").and_then(CanonicalJsonValue::as_str).unwrap_or_default();
    id.get(1..) == room.as_str().get(1..)
}
