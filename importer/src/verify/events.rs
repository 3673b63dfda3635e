//! Every event: form, id, hashes, signatures, auth events, its place in the indexes.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, RoomVersionId, canonical_json::redact,
    room_version_rules::RoomVersionRules, serde::Base64, signatures::PublicKeyMap,
};

use super::{VerifyError, found::Found, rows::public_key};
use crate::conduit::{
    kv::KvStore,
    layout::Part,
    trees::{self, Tree},
};

/// What is remembered of an event.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) room: Rc<str>,
    pub(super) kind: Rc<str>,
    pub(super) state_key: Option<Rc<str>>,
    /// `membership` of a member event.
    pub(super) membership: Option<Rc<str>>,
    pub(super) timeline: bool,
}

/// Texts that many events have, kept once.
#[derive(Default)]
struct Texts(BTreeSet<Rc<str>>);

impl Texts {
    fn share(&mut self, text: &str) -> Rc<str> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let new: Rc<str> = text.into();
        self.0.insert(new.clone());
        new
    }
}

/// All events by id.
pub(super) type Events = BTreeMap<String, Known>;

pub(super) fn check(
    store: &dyn KvStore,
    server_name: &str,
    found: &mut Found,
) -> Result<Events, VerifyError> {
    let rules = room_rules(store)?;
    let own = Own { name: server_name, key: public_key(store)? };
    let mut events = Events::new();
    let mut texts = Texts::default();
    let mut counts = BTreeSet::new();
    for row in store.scan(&trees::PDUID_PDU, &[])? {
        let (pdu_id, value) = row?;
        let Some(id) = event(&value, true, &rules, &own, &mut events, &mut texts, found) else {
            continue;
        };
        if store.get(&trees::EVENTID_PDUID, id.as_bytes())?.as_deref() != Some(&*pdu_id) {
            found.error("V106", &id, "`eventid_pduid` does not point to it");
        }
        if let Ok(fields) = trees::PDUID_PDU.decode_key(&pdu_id)
            && fields.get("count").is_some()
            && !counts.insert(fields.u64("count"))
        {
            found.error("V107", &id, "has the count of another event");
        }
        let is_create = events.get(&id).is_some_and(|event| &*event.kind == "m.room.create");
        if !is_create && !has_state_before(store, &id)? {
            found.error("V112", &id, "has no state before it");
        }
    }
    for row in store.scan(&trees::EVENTID_PDUID, &[])? {
        let (id, pdu_id) = row?;
        if store.get(&trees::PDUID_PDU, &pdu_id)?.is_none() {
            found.error("V106", String::from_utf8_lossy(&id), "points to no event");
        }
    }
    for row in store.scan(&trees::EVENTID_OUTLIERPDU, &[])? {
        let (key, value) = row?;
        let Some(id) = event(&value, false, &rules, &own, &mut events, &mut texts, found) else {
            continue;
        };
        if id.as_bytes() != &*key {
            found.error("V106", &id, "is stored under another id");
        }
    }
    auth_events(store, &rules, &events, found)?;
    Ok(events)
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
    for tree in [&trees::PDUID_PDU, &trees::EVENTID_OUTLIERPDU] {
        for row in store.scan(tree, &[])? {
            let (_, value) = row?;
            let Ok(pdu) = serde_json::from_slice::<Pdu>(&value) else { continue };
            // Invites and knocks of rooms that the server is not in come alone.
            let known = events.get(&pdu.event_id).filter(|event| rules.contains_key(&*event.room));
            let Some(event) = known else { continue };
            for auth in &pdu.auth_events {
                match events.get(auth).map(|auth| &auth.room) {
                    Some(room) if *room == event.room => {}
                    Some(room) => {
                        let text = format!("its auth event {auth} is of {room}");
                        found.error("V110", &pdu.event_id, text);
                    }
                    None => {
                        let text = format!("its auth event {auth} is missing");
                        found.error("V110", &pdu.event_id, text);
                    }
                }
            }
        }
    }
    Ok(())
}

/// This server's name and present key.
struct Own<'a> {
    name: &'a str,
    key: Option<(String, Vec<u8>)>,
}

/// The rules of each room, by its create event.
fn room_rules(store: &dyn KvStore) -> Result<BTreeMap<String, RoomVersionRules>, VerifyError> {
    let mut rules = BTreeMap::new();
    for tree in [&trees::PDUID_PDU, &trees::EVENTID_OUTLIERPDU] {
        for row in store.scan(tree, &[])? {
            let (_, value) = row?;
            if !value.windows(15).any(|window| window == b"\"m.room.create\"") {
                continue;
            }
            let Ok(json) = serde_json::from_slice::<CanonicalJsonObject>(&value) else { continue };
            if text(&json, "type") != Some("m.room.create") {
                continue;
            }
            let version = json
                .get("content")
                .and_then(CanonicalJsonValue::as_object)
                .and_then(|content| text(content, "room_version"))
                .unwrap_or("1");
            let version = RoomVersionId::try_from(version).ok().and_then(|version| version.rules());
            if let (Some(room), Some(version)) = (room_of(&json), version) {
                rules.insert(room, version);
            }
        }
    }
    Ok(rules)
}

/// Checks one event and remembers it; its id.
fn event(
    stored: &[u8],
    timeline: bool,
    rules: &BTreeMap<String, RoomVersionRules>,
    own: &Own<'_>,
    events: &mut Events,
    texts: &mut Texts,
    found: &mut Found,
) -> Option<String> {
    let json: CanonicalJsonObject = match serde_json::from_slice(stored) {
        Ok(json) => json,
        Err(error) => {
            found.error("V108", "an event", format!("is no canonical JSON: {error}"));
            return None;
        }
    };
    let Some(id) = text(&json, "event_id").map(str::to_owned) else {
        found.error("V108", "an event", "has no `event_id`");
        return None;
    };
    let Some(known) = read(&json, timeline, texts) else {
        found.error("V108", &id, "lacks what Conduit needs to read it");
        return None;
    };
    if let Some(rules) = rules.get(&*known.room) {
        cryptography(&id, &json, rules, own, found);
    }
    if let Some(other) = events.insert(id.clone(), known) {
        let text = if other.timeline == timeline {
            "is stored twice"
        } else {
            "is both in the timeline and outside"
        };
        found.error("V107", &id, text);
    }
    Some(id)
}

/// What Conduit's typed reader needs (src/service/pdu.rs:32-54).
fn read(json: &CanonicalJsonObject, timeline: bool, texts: &mut Texts) -> Option<Known> {
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
    Some(Known {
        room: texts.share(&room_of(json)?),
        kind: texts.share(text(json, "type")?),
        state_key: text(json, "state_key").map(|key| texts.share(key)),
        membership: text(content, "membership").map(|membership| texts.share(membership)),
        timeline,
    })
}

/// Whether Conduit can hold an event of a dump: both of its readers accept it, its id is its hash, it is of the room.
pub(super) fn is_storable(pdu: &str, id: &str, room: &str, rules: &RoomVersionRules) -> bool {
    let Ok(mut json) = serde_json::from_str::<CanonicalJsonObject>(pdu) else { return false };
    json.remove("unsigned");
    json.remove("event_id");
    let hash = ruma::signatures::reference_hash(&json, rules).ok();
    json.insert("event_id".into(), CanonicalJsonValue::String(id.to_owned()));
    let of_room =
        read(&json, false, &mut Texts::default()).is_some_and(|known| &*known.room == room);
    of_room && hash.is_some_and(|hash| id.strip_prefix('$') == Some(&hash))
}

fn cryptography(
    id: &str,
    json: &CanonicalJsonObject,
    rules: &RoomVersionRules,
    own: &Own<'_>,
    found: &mut Found,
) {
    let mut pdu = json.clone();
    pdu.remove("event_id");
    let unsigned = pdu.remove("unsigned");
    let redacted = unsigned
        .as_ref()
        .and_then(CanonicalJsonValue::as_object)
        .is_some_and(|unsigned| unsigned.contains_key("redacted_because"));
    let is_hash = |pdu: &CanonicalJsonObject| {
        ruma::signatures::reference_hash(pdu, rules)
            .is_ok_and(|hash| id.strip_prefix('$') == Some(&hash))
    };
    if !is_hash(&pdu) {
        let origin = CanonicalJsonValue::String(own.name.to_owned());
        pdu.entry("origin".into()).or_insert(origin);
        if !redacted || !is_hash(&pdu) {
            return found.error("V109", id, "its id is not the hash of its content");
        }
        found.note("V117", id, "lost its `origin` when Conduit redacted it");
    }
    let sender = text(&pdu, "sender").unwrap_or_default();
    let Some((key_id, public)) = &own.key else { return };
    if sender.split_once(':').map(|(_, server)| server) != Some(own.name) {
        return;
    }
    let signed_by_key = pdu
        .get("signatures")
        .and_then(CanonicalJsonValue::as_object)
        .and_then(|signatures| signatures.get(own.name)?.as_object())
        .is_some_and(|signatures| signatures.contains_key(key_id));
    if !signed_by_key {
        return found.note("V116", id, "is signed by a key of before");
    }
    let keys = PublicKeyMap::from([(
        own.name.to_owned(),
        [(key_id.clone(), Base64::new(public.clone()))].into(),
    )]);
    // The other servers' signatures can't be checked here; theirs are set aside.
    if let Some(CanonicalJsonValue::Object(signatures)) = pdu.get_mut("signatures") {
        signatures.retain(|server, _| server == own.name);
    }
    match ruma::signatures::verify_event(&keys, &pdu, rules) {
        Ok(ruma::signatures::Verified::All) => {}
        // Without the content that was hashed, as servers keep an event whose sender was erased.
        Ok(ruma::signatures::Verified::Signatures) if redacted || is_pruned(&pdu, rules) => {}
        Ok(_) => found.error("V109", id, "its content hash is wrong and it is not redacted"),
        // As it came from Synapse: the comparison with the dump sees a change.
        Err(error) => {
            let public = STANDARD_NO_PAD.encode(public);
            found.warning("V109", id, format!("signature by {key_id} ({public}): {error}"));
        }
    }
}

/// Whether an event holds no more than what its redaction would leave.
fn is_pruned(pdu: &CanonicalJsonObject, rules: &RoomVersionRules) -> bool {
    redact(pdu.clone(), &rules.redaction, None).is_ok_and(|pruned| pruned == *pdu)
}

fn has_state_before(store: &dyn KvStore, id: &str) -> Result<bool, VerifyError> {
    let Some(short) = store.get(&trees::EVENTID_SHORTEVENTID, id.as_bytes())? else {
        return Ok(false);
    };
    Ok(store.get(&trees::SHORTEVENTID_SHORTSTATEHASH, &short)?.is_some())
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
pub(super) fn value_of(
    store: &dyn KvStore,
    tree: &'static Tree,
    key: &[Part<'_>],
) -> Result<Option<Vec<u8>>, VerifyError> {
    Ok(store.get(tree, &tree.key(key))?)
}
