//! Rooms of the dump and of the database.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Found, KvStore, Skipped, VerifyError, states::States};
use crate::{
    conduit::{layout::Part, trees},
    dump::{
        RoomReader,
        format::{DumpEvent, DumpRoom},
    },
    tally::Kind,
    verify::events::value_of,
};

/// Room versions that a Conduit holds.
const VERSIONS: std::ops::RangeInclusive<u8> = 3..=12;

/// Compares a room; whether it should be in the database.
pub(super) fn compare(
    store: &dyn KvStore,
    mut room: RoomReader,
    skipped: &Skipped<'_>,
    found: &mut Found,
) -> Result<bool, VerifyError> {
    let head = room.head().clone();
    let id = head.room_id.as_str();
    memberships(store, &head, skipped, found)?;
    let there = value_of(store, &trees::ROOMID_SHORTROOMID, &[Part::Text(id)])?.is_some();
    let version = head.room_version.as_deref().and_then(|version| version.parse::<u8>().ok());
    let expected = head.current_state.is_some()
        && version.is_some_and(|version| VERSIONS.contains(&version))
        && !skipped.explains(Kind::Room, id);
    if there != expected {
        let (code, text) = if expected {
            ("V201", "the room is missing")
        } else {
            ("V202", "the room should not be there")
        };
        found.error(code, id, text);
    }
    if !there || !expected {
        return Ok(expected);
    }
    let mut states = States::read(store, &mut room)?;
    for event in room.outliers()? {
        let event = event?;
        let item = event.event_id.as_str();
        let stored = match value_of(store, &trees::EVENTID_OUTLIERPDU, &[Part::Text(item)])? {
            Some(stored) => Some(stored),
            None => timeline_pdu(store, item)?,
        };
        same_event(&event, stored.as_deref(), Kind::Outlier, skipped, found);
    }
    timeline(store, &mut room, &mut states, skipped, found)?;
    if let Some(state) = head.current_state {
        states.compare_current(id, state, skipped, found)?;
    }
    extremities(store, &head, found)?;
    directory(store, &head, skipped, found)?;
    Ok(true)
}

fn timeline(
    store: &dyn KvStore,
    room: &mut RoomReader,
    states: &mut States<'_>,
    skipped: &Skipped<'_>,
    found: &mut Found,
) -> Result<(), VerifyError> {
    let id = room.head().room_id.to_string();
    let short =
        value_of(store, &trees::ROOMID_SHORTROOMID, &[Part::Text(&id)])?.unwrap_or_default();
    let mut stored = Vec::new();
    for row in store.scan(&trees::PDUID_PDU, &short)? {
        let (_, pdu) = row?;
        let pdu: Value = serde_json::from_slice(&pdu).unwrap_or_default();
        stored.push(pdu.get("event_id").and_then(Value::as_str).unwrap_or_default().to_owned());
    }
    let mut expected = Vec::new();
    for event in room.timeline()? {
        let event = event?;
        let event_id = event.event_id.as_str();
        if skipped.explains(Kind::TimelineEvent, event_id) {
            continue;
        }
        expected.push(event_id.to_owned());
        let pdu = timeline_pdu(store, event_id)?;
        same_event(&event, pdu.as_deref(), Kind::TimelineEvent, skipped, found);
        if let Some(state) = event.state_before {
            states.compare_before(event_id, state, skipped, found)?;
        }
    }
    if stored != expected {
        let first = stored.iter().zip(&expected).position(|(a, b)| a != b);
        let text = format!(
            "the timeline has {} events, the dump {}; they differ from number {} on",
            stored.len(),
            expected.len(),
            first.unwrap_or(stored.len().min(expected.len())).saturating_add(1)
        );
        found.error("V203", id, text);
    }
    Ok(())
}

fn timeline_pdu(store: &dyn KvStore, event: &str) -> Result<Option<Vec<u8>>, VerifyError> {
    match value_of(store, &trees::EVENTID_PDUID, &[Part::Text(event)])? {
        Some(pdu_id) => Ok(store.get(&trees::PDUID_PDU, &pdu_id)?),
        None => Ok(None),
    }
}

/// The event is stored, equal but for its id and what Conduit adds in `unsigned`; redacted exactly if the dump says so.
fn same_event(
    event: &DumpEvent,
    stored: Option<&[u8]>,
    kind: Kind,
    skipped: &Skipped<'_>,
    found: &mut Found,
) {
    let id = event.event_id.as_str();
    if skipped.explains(kind, id) {
        return;
    }
    let Some(stored) = stored else { return found.error("V201", id, "the event is missing") };
    let plain = |json: &[u8]| {
        let mut json: Value = serde_json::from_slice(json).unwrap_or_default();
        let unsigned = json.as_object_mut().and_then(|json| {
            json.remove("event_id");
            json.remove("unsigned")
        });
        (json, unsigned)
    };
    let (in_database, unsigned) = plain(stored);
    let (in_dump, _) = plain(event.pdu.get().as_bytes());
    if in_database != in_dump {
        found.error("V203", id, "the event differs");
    }
    let redacted = unsigned.is_some_and(|unsigned| unsigned.get("redacted_because").is_some());
    if redacted != event.redacted_by.is_some() {
        found.error("V203", id, "is redacted in one and not in the other");
    }
}

fn memberships(
    store: &dyn KvStore,
    head: &DumpRoom,
    skipped: &Skipped<'_>,
    found: &mut Found,
) -> Result<(), VerifyError> {
    let room = head.room_id.as_str();
    for member in &head.local_members {
        let item = format!("{} in {room}", member.user_id);
        let unsupported = !skipped.known
            && head
                .room_version
                .as_deref()
                .is_some_and(|v| !v.parse().is_ok_and(|v| VERSIONS.contains(&v)));
        if unsupported || skipped.explains(Kind::Membership, &item) {
            continue;
        }
        let tree = match member.membership.as_str() {
            "join" => &trees::USERROOMID_JOINED,
            "invite" => &trees::USERROOMID_INVITESTATE,
            "knock" => &trees::USERROOMID_KNOCKSTATE,
            _ => &trees::USERROOMID_LEFTSTATE,
        };
        let key = [Part::Text(member.user_id.as_str()), Part::Text(room)];
        let there = value_of(store, tree, &key)?.is_some();
        let gone = member.forgotten && tree == &trees::USERROOMID_LEFTSTATE;
        if there == gone {
            let text = format!("membership {} is not what the rows say", member.membership);
            found.error("V203", item, text);
        }
    }
    Ok(())
}

/// Those of the dump that are in the timeline; if none is, Conduit goes on from another event.
fn extremities(store: &dyn KvStore, head: &DumpRoom, found: &mut Found) -> Result<(), VerifyError> {
    let room = head.room_id.as_str();
    let mut expected = BTreeSet::new();
    for event in &head.forward_extremities {
        if value_of(store, &trees::EVENTID_PDUID, &[Part::Text(event.as_str())])?.is_some() {
            expected.insert(event.to_string());
        }
    }
    let mut stored = BTreeSet::new();
    let prefix = trees::ROOMID_PDULEAVES.key(&[Part::Text(room), Part::Text("")]);
    for row in store.scan(&trees::ROOMID_PDULEAVES, &prefix)? {
        let (_, event) = row?;
        stored.insert(String::from_utf8_lossy(&event).into_owned());
    }
    if !expected.is_empty() && stored != expected {
        let text = format!("has {} forward extremities, not the dump's", stored.len());
        found.error("V203", room, text);
    }
    Ok(())
}

fn directory(
    store: &dyn KvStore,
    head: &DumpRoom,
    skipped: &Skipped<'_>,
    found: &mut Found,
) -> Result<(), VerifyError> {
    let room = head.room_id.as_str();
    for alias in &head.aliases {
        if skipped.explains(Kind::Alias, alias.alias.as_str()) {
            continue;
        }
        let localpart = [Part::Text(alias.alias.alias())];
        let stored = value_of(store, &trees::ALIAS_ROOMID, &localpart)?;
        if stored.as_deref() != Some(room.as_bytes()) {
            found.error("V203", alias.alias.as_str(), format!("does not name {room}"));
        }
        let creator = value_of(store, &trees::ALIAS_USERID, &localpart)?;
        if creator.as_deref() != alias.creator.as_ref().map(|user| user.as_bytes()) {
            found.error("V203", alias.alias.as_str(), "its creator is another one");
        }
    }
    let published = value_of(store, &trees::PUBLICROOMIDS, &[Part::Text(room)])?.is_some();
    if published != head.published {
        found.error("V203", room, "is in the directory of one and not of the other");
    }
    Ok(())
}

/// Rooms of the database that the dump does not have, other than the admin room.
pub(super) fn extra(
    store: &dyn KvStore,
    rooms: &BTreeSet<String>,
    found: &mut Found,
) -> Result<(), VerifyError> {
    let admin_room = value_of(store, &trees::ALIAS_ROOMID, &[Part::Text("admins")])?;
    for row in store.scan(&trees::ROOMID_SHORTROOMID, &[])? {
        let (room, _) = row?;
        let is_admin_room = admin_room.as_deref() == Some(&*room);
        let room = String::from_utf8_lossy(&room).into_owned();
        if !is_admin_room && !rooms.contains(&room) {
            found.error("V202", room, "is a room that the dump does not have");
        }
    }
    Ok(())
}
