//! Every event: form, id, hashes, signatures, auth events, its place in the indexes.

mod compact;
mod cryptography;

use std::collections::{BTreeMap, BTreeSet};

pub(in crate::verify) use compact::{Events, Known, key_hash};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, RoomVersionId, room_version_rules::RoomVersionRules,
};

use super::rows::public_key;
use crate::{
    conduit::{
        schema::{
            layout::Part,
            trees::{self, Tree},
        },
        store::KvStore,
    },
    findings::{codes, collector::Found},
    verify::{
        VerifyError,
        tools::{
            cursor::Cursor,
            multiset_hash::{Sum, hash},
            number_set::Numbers,
            parallel_scan,
            since_import::SinceImport,
        },
    },
};

/// Signatures that are checked, about; of more events, a sample, told by their ids. The id, which is checked for each
/// event, is a hash of all but the content, and the content has a hash.
const SIGNATURES: u64 = 20_000;

pub(in crate::verify) fn check(
    store: &dyn KvStore,
    server_name: &str,
    rows: &BTreeMap<&'static str, u64>,
    since: SinceImport,
    found: &mut Found,
) -> Result<Events, VerifyError> {
    let rules = room_rules(store)?;
    let number = |tree: &Tree| rows.get(tree.name).copied().unwrap_or(0);
    let (in_timelines, outside) = (number(&trees::PDUID_PDU), number(&trees::EVENTID_OUTLIERPDU));
    let own = Own {
        name: server_name,
        key: public_key(store)?,
        one_in: in_timelines.checked_div(SIGNATURES).unwrap_or(0).max(1),
    };
    let mut events = Events::of(in_timelines.saturating_add(outside));
    timeline(store, &rules, &own, since, &mut events, found)?;
    let look = |_: &[u8], value: &[u8]| event(value, &rules, &own);
    parallel_scan::scan(
        store,
        &trees::EVENTID_OUTLIERPDU,
        &[],
        look,
        |key, _, (read, of_event)| {
            found.merge(of_event);
            let Some(read) = read else { return Ok(()) };
            if read.id.as_bytes() != key {
                found.add(&codes::ROWS_DISAGREE, &read.id, "is stored under another id");
            }
            if store.get(&trees::EVENTID_PDUID, read.id.as_bytes())?.is_some() {
                found.add(
                    &codes::SHORT_ID_AMBIGUOUS,
                    &read.id,
                    "is both in the timeline and outside",
                );
            }
            read.remember(&mut events);
            Ok(())
        },
    )?;
    events.sort();
    auth_events(store, &rules, &events, found)?;
    for row in store.scan(&trees::SHORTEVENTID_EVENTID, &[])? {
        let (short, id) = row?;
        if let (Ok(short), Ok(id)) = (<[u8; 8]>::try_from(&*short), std::str::from_utf8(&id)) {
            events.add_short(u64::from_be_bytes(short), id);
        }
    }
    Ok(events)
}

/// Events of timelines.
fn timeline(
    store: &dyn KvStore,
    rules: &BTreeMap<String, RoomVersionRules>,
    own: &Own<'_>,
    since: SinceImport,
    events: &mut Events,
    found: &mut Found,
) -> Result<(), VerifyError> {
    let mut counts = Numbers::default();
    let (mut stored, mut indexed) = (Sum::default(), Sum::default());
    let mut places = Places::new(store)?;
    let look = |_: &[u8], value: &[u8]| event(value, rules, own);
    parallel_scan::scan(store, &trees::PDUID_PDU, &[], look, |pdu_id, _, (read, of_event)| {
        found.merge(of_event);
        let Some(read) = read else { return Ok(()) };
        stored.add(hash(&(read.id.as_bytes(), pdu_id)));
        let fields = trees::PDUID_PDU.decode_key(pdu_id).ok();
        let count = fields.filter(|fields| fields.get("count").is_some());
        let count = count.map(|fields| fields.u64("count"));
        if count.is_some_and(|count| !counts.insert(count)) {
            found.add(&codes::SHORT_ID_AMBIGUOUS, &read.id, "has the count of another event");
        }
        if places.before(&read.id, count)?.is_none() {
            let is_imported = since.is_imported() && !count.is_none_or(|count| since.is_new(count));
            if is_imported || read.kind != "m.room.create" && !since.has_run() {
                found.add(&codes::STATE_BEFORE_MISSING, &read.id, "has no state before it");
            } else {
                found.add(&codes::OWN_EVENT_WITHOUT_STATE, &read.id, "has no state before it");
            }
        }
        read.remember(events);
        Ok(())
    })?;
    for row in store.scan(&trees::EVENTID_PDUID, &[])? {
        let (id, pdu_id) = row?;
        indexed.add(hash(&(&*id, &*pdu_id)));
    }
    if stored == indexed {
        return Ok(());
    }
    places_one_by_one(store, found)
}

/// Names the events whose places don't agree.
fn places_one_by_one(store: &dyn KvStore, found: &mut Found) -> Result<(), VerifyError> {
    let mut seen = BTreeSet::new();
    for row in store.scan(&trees::PDUID_PDU, &[])? {
        let (pdu_id, value) = row?;
        let Ok(json) = serde_json::from_slice::<CanonicalJsonObject>(&value) else { continue };
        let Some(id) = text(&json, "event_id") else { continue };
        if store.get(&trees::EVENTID_PDUID, id.as_bytes())?.as_deref() != Some(&*pdu_id) {
            found.add(&codes::ROWS_DISAGREE, id, "`eventid_pduid` does not point to it");
        }
        if !seen.insert(hash(&id)) {
            found.add(&codes::SHORT_ID_AMBIGUOUS, id, "is stored twice");
        }
    }
    for row in store.scan(&trees::EVENTID_PDUID, &[])? {
        let (id, pdu_id) = row?;
        if store.get(&trees::PDUID_PDU, &pdu_id)?.is_none() {
            found.add(&codes::ROWS_DISAGREE, String::from_utf8_lossy(&id), "points to no event");
        }
    }
    Ok(())
}

/// Finds the short id of timeline events, and the state before them.
pub(in crate::verify) struct Places<'a> {
    store: &'a dyn KvStore,
    ids: Cursor<'a>,
    states: Cursor<'a>,
}

impl<'a> Places<'a> {
    pub(in crate::verify) fn new(store: &'a dyn KvStore) -> Result<Self, VerifyError> {
        Ok(Self {
            store,
            ids: Cursor::new(store, &trees::SHORTEVENTID_EVENTID)?,
            states: Cursor::new(store, &trees::SHORTEVENTID_SHORTSTATEHASH)?,
        })
    }

    /// The short id of an event. The number before its count often is it, and is next to the one of the event before.
    pub(in crate::verify) fn short(
        &mut self,
        id: &str,
        count: Option<u64>,
    ) -> Result<Option<u64>, VerifyError> {
        if let Some(near) = count.and_then(|count| count.checked_sub(1))
            && self.ids.get(near)?.as_deref() == Some(id.as_bytes())
        {
            return Ok(Some(near));
        }
        let short = self.store.get(&trees::EVENTID_SHORTEVENTID, id.as_bytes())?;
        Ok(short.and_then(|short| short.try_into().ok()).map(u64::from_be_bytes))
    }

    /// The short id of an event, and that of the state before it.
    pub(in crate::verify) fn before(
        &mut self,
        id: &str,
        count: Option<u64>,
    ) -> Result<Option<(u64, u64)>, VerifyError> {
        let Some(short) = self.short(id, count)? else { return Ok(None) };
        Ok(self.states.number(short)?.map(|before| (short, before)))
    }
}

/// Each event's auth events are there and of its room; Conduit gives up on one of another room
/// (src/service/rooms/auth_chain/mod.rs:135-140). They are read again, which costs less than to keep them.
fn auth_events(
    store: &dyn KvStore,
    rules: &BTreeMap<String, RoomVersionRules>,
    events: &Events,
    found: &mut Found,
) -> Result<(), VerifyError> {
    #[derive(serde::Deserialize)]
    struct Pdu {
        event_id: String,
        auth_events: Vec<String>,
    }
    let look = |_: &[u8], value: &[u8]| {
        let mut found = Found::default();
        let Ok(pdu) = serde_json::from_slice::<Pdu>(value) else { return found };
        // Invites and knocks of rooms that the server is not in come alone.
        let known = events.get(&pdu.event_id);
        let known = known.filter(|event| rules.contains_key(events.name(event.room())));
        let Some(event) = known else { return found };
        for auth in &pdu.auth_events {
            match events.get(auth).map(Known::room) {
                Some(room) if room == event.room() => {}
                Some(room) => {
                    let text = format!("its auth event {auth} is of {}", events.name(room));
                    found.add(&codes::AUTH_EVENT_OF_OTHER_ROOM, &pdu.event_id, text);
                }
                None => {
                    // Conduit goes on without (src/service/rooms/auth_chain/mod.rs:152-154).
                    let text = format!("its auth event {auth} is missing");
                    found.add(&codes::AUTH_EVENT_MISSING, &pdu.event_id, text);
                }
            }
        }
        found
    };
    for tree in [trees::PDUID_PDU.tree(), trees::EVENTID_OUTLIERPDU.tree()] {
        parallel_scan::scan(store, tree, &[], look, |_, _, of_event| {
            found.merge(of_event);
            Ok(())
        })?;
    }
    Ok(())
}

/// This server's name and present key.
struct Own<'a> {
    name: &'a str,
    key: Option<(String, Vec<u8>)>,
    /// Of how many events one has its signature checked.
    one_in: u64,
}

/// The rules of each room, by its create event.
fn room_rules(store: &dyn KvStore) -> Result<BTreeMap<String, RoomVersionRules>, VerifyError> {
    let mut rules = BTreeMap::new();
    let look = |_: &[u8], value: &[u8]| {
        let value = std::str::from_utf8(value).ok().filter(|v| v.contains("\"m.room.create\""))?;
        let json = serde_json::from_str::<CanonicalJsonObject>(value).ok()?;
        text(&json, "type").filter(|kind| *kind == "m.room.create")?;
        let content = json.get("content").and_then(CanonicalJsonValue::as_object);
        let version = content.and_then(|content| text(content, "room_version")).unwrap_or("1");
        Some((room_of(&json)?, RoomVersionId::try_from(version).ok()?.rules()?))
    };
    for tree in [trees::PDUID_PDU.tree(), trees::EVENTID_OUTLIERPDU.tree()] {
        parallel_scan::scan(store, tree, &[], look, |_, _, create| {
            rules.extend(create);
            Ok(())
        })?;
    }
    Ok(rules)
}

/// What an event says of itself.
struct Read {
    id: String,
    room: String,
    kind: String,
    state_key: Option<String>,
    membership: Option<String>,
}

impl Read {
    fn remember(&self, events: &mut Events) {
        let room = events.room(&self.room);
        let names = self.state_key.as_deref().map(|key| (&*self.kind, key));
        let membership = self.membership.as_deref().unwrap_or_default();
        events.add(&self.id, Known::new(room, names, membership));
    }
}

/// Checks one event by itself.
fn event(
    stored: &[u8],
    rules: &BTreeMap<String, RoomVersionRules>,
    own: &Own<'_>,
) -> (Option<Read>, Found) {
    let mut found = Found::default();
    let json: CanonicalJsonObject = match serde_json::from_slice(stored) {
        Ok(json) => json,
        Err(error) => {
            found.add(
                &codes::EVENT_UNREADABLE,
                "an event",
                format!("is no canonical JSON: {error}"),
            );
            return (None, found);
        }
    };
    let Some(id) = text(&json, "event_id").map(str::to_owned) else {
        found.add(&codes::EVENT_UNREADABLE, "an event", "has no `event_id`");
        return (None, found);
    };
    let Some(read) = read(&id, &json) else {
        found.add(&codes::EVENT_UNREADABLE, &id, "lacks what Conduit needs to read it");
        return (None, found);
    };
    if let Some(rules) = rules.get(&read.room) {
        cryptography::check(&id, json, rules, own, &mut found);
    }
    (Some(read), found)
}

/// What Conduit's typed reader needs (src/service/pdu.rs:32-54).
fn read(id: &str, json: &CanonicalJsonObject) -> Option<Read> {
    let ids = |name: &str| {
        let good = json.get(name)?.as_array()?.iter().all(|item| item.as_str().is_some());
        good.then_some(())
    };
    ruma::UserId::parse(text(json, "sender")?).ok()?;
    let number = |name: &str| match json.get(name) {
        Some(CanonicalJsonValue::Integer(number)) => u64::try_from(i64::from(*number)).ok(),
        _ => None,
    };
    number("origin_server_ts")?;
    number("depth")?;
    ids("prev_events")?;
    ids("auth_events")?;
    let content = json.get("content")?.as_object()?;
    text(json.get("hashes")?.as_object()?, "sha256")?;
    Some(Read {
        id: id.to_owned(),
        room: room_of(json)?,
        kind: text(json, "type")?.to_owned(),
        state_key: text(json, "state_key").map(str::to_owned),
        membership: text(content, "membership").map(str::to_owned),
    })
}

/// Whether Conduit can hold an event of a dump: both of its readers accept it, its id is its hash, it is of the room.
pub(in crate::verify) fn is_storable(
    pdu: &str,
    id: &str,
    room: &str,
    rules: &RoomVersionRules,
) -> bool {
    let Ok(mut json) = serde_json::from_str::<CanonicalJsonObject>(pdu) else { return false };
    json.remove("unsigned");
    json.remove("event_id");
    let hash = ruma::signatures::reference_hash(&json, rules).ok();
    json.insert("event_id".into(), CanonicalJsonValue::String(id.to_owned()));
    let of_room = read(id, &json).is_some_and(|known| known.room == room);
    of_room && hash.is_some_and(|hash| id.strip_prefix('$') == Some(&hash))
}

/// The room of an event: its `room_id`, or for create events without one (room version 12) the id made of its own.
fn room_of(json: &CanonicalJsonObject) -> Option<String> {
    match text(json, "room_id") {
        Some(room) => Some(room.to_owned()),
        None => Some(format!("!{}", text(json, "event_id")?.strip_prefix('$')?)),
    }
}

fn text<'a>(json: &'a CanonicalJsonObject, name: &str) -> Option<&'a str> {
    json.get(name)?.as_str()
}

/// The value of a key of texts.
pub(in crate::verify) fn value_of(
    store: &dyn KvStore,
    tree: &'static Tree,
    key: &[Part<'_>],
) -> Result<Option<Vec<u8>>, VerifyError> {
    Ok(store.get(tree, &tree.key(key))?)
}
