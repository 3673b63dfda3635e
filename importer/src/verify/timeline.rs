//! Timeline events in their order: the state before each follows from the one before its predecessor, and what Conduit
//! derives from events is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use serde::Deserialize;

use super::{VerifyError, found::Found, states::Expander};
use crate::conduit::{kv::KvStore, layout::Part, trees};

/// Longest word of the search index, in bytes (src/database/key_value/rooms/search.rs:9-14).
const LONGEST_WORD: usize = 50;

/// What is needed of a stored event; the rest has been checked.
#[derive(Deserialize)]
struct Pdu {
    event_id: String,
    room_id: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    state_key: Option<String>,
    prev_events: Vec<String>,
    content: serde_json::Value,
    #[serde(default)]
    unsigned: serde_json::Value,
}

/// Where an event stands: the short ids of itself and of the state before it.
struct Place {
    event: u64,
    before: u64,
}

pub(super) fn check(store: &dyn KvStore, found: &mut Found) -> Result<(), VerifyError> {
    let rooms = rooms(store)?;
    let mut expander = Expander::new(store);
    let mut counts = BTreeSet::new();
    let mut words: u64 = 0;
    // The last event of each room whose timeline was one chain so far.
    let mut chains: BTreeMap<u64, Option<String>> = BTreeMap::new();
    for row in store.scan(&trees::PDUID_PDU, &[])? {
        let (key, value) = row?;
        let (Ok(id), Ok(pdu)) =
            (trees::PDUID_PDU.decode_key(&key), serde_json::from_slice::<Pdu>(&value))
        else {
            continue;
        };
        counts.insert(id.u64("count"));
        let Some(room) = rooms.get(&id.u64("short_room")) else {
            found.error("V106", &pdu.event_id, "is in a room without a short id");
            continue;
        };
        if pdu.room_id.as_ref().is_some_and(|named| named != room) {
            found.error("V106", &pdu.event_id, format!("is stored in {room}, which it is not of"));
        }
        references(store, room, &pdu, found)?;
        let previous = pdu.prev_events.first();
        let chain = chains.entry(id.u64("short_room")).or_insert_with(|| previous.cloned());
        // After a fork, Conduit gives an event of its own the room's resolved state, not that after its predecessor
        // (src/service/rooms/state/mod.rs:192-202).
        if pdu.prev_events.len() < 2 && chain.as_ref() == previous {
            sequence(store, &mut expander, &pdu, found)?;
            *chain = Some(pdu.event_id.clone());
        } else {
            *chain = None;
        }
        words = words.saturating_add(indexed(store, id.u64("short_room"), &key, &pdu, found)?);
    }
    relations(store, &counts, found)?;
    let mut rows: u64 = 0;
    for row in store.scan(&trees::TOKENIDS, &[])? {
        row?;
        rows = rows.saturating_add(1);
    }
    if rows > words {
        let text = format!("has {rows} rows, the messages have {words} words");
        found.warning("V120", trees::TOKENIDS.name, text);
    }
    Ok(())
}

fn rooms(store: &dyn KvStore) -> Result<BTreeMap<u64, String>, VerifyError> {
    let mut rooms = BTreeMap::new();
    for row in store.scan(&trees::ROOMID_SHORTROOMID, &[])? {
        let (key, value) = row?;
        if let (Ok(room), Ok(fields)) =
            (std::str::from_utf8(&key), trees::ROOMID_SHORTROOMID.decode_value(&key, &value))
        {
            rooms.insert(fields.u64("short_room"), room.to_owned());
        }
    }
    Ok(rooms)
}

/// Each predecessor is referenced unless it is an extremity, which must not be
/// (src/service/rooms/event_handler/mod.rs:894-912).
fn references(
    store: &dyn KvStore,
    room: &str,
    pdu: &Pdu,
    found: &mut Found,
) -> Result<(), VerifyError> {
    let referenced = |event: &str| {
        let key = trees::REFERENCEDEVENTS.key(&[Part::Text(room), Part::Text(event)]);
        store.get(&trees::REFERENCEDEVENTS, &key).map(|row| row.is_some())
    };
    let leaf = |event: &str| {
        let key = trees::ROOMID_PDULEAVES.key(&[Part::Text(room), Part::Text(event)]);
        store.get(&trees::ROOMID_PDULEAVES, &key).map(|row| row.is_some())
    };
    for previous in pdu.prev_events.iter().filter(|id| id.starts_with('$')) {
        if !referenced(previous)? && !leaf(previous)? {
            let text = format!("{previous}, which precedes it, is not marked as referenced");
            found.warning("V119", &pdu.event_id, text);
        }
    }
    if leaf(&pdu.event_id)? && referenced(&pdu.event_id)? {
        found.error("V119", &pdu.event_id, "is an extremity and marked as referenced");
    }
    Ok(())
}

fn place(store: &dyn KvStore, event: &str) -> Result<Option<Place>, VerifyError> {
    let number = |bytes: Vec<u8>| bytes.try_into().ok().map(u64::from_be_bytes);
    let Some(short) = store.get(&trees::EVENTID_SHORTEVENTID, event.as_bytes())? else {
        return Ok(None);
    };
    let before = store.get(&trees::SHORTEVENTID_SHORTSTATEHASH, &short)?;
    Ok(number(short).zip(before.and_then(number)).map(|(event, before)| Place { event, before }))
}

/// In a chain, after one predecessor that is a timeline event too, the state before is the one before that, with its effect.
fn sequence(
    store: &dyn KvStore,
    expander: &mut Expander<'_>,
    pdu: &Pdu,
    found: &mut Found,
) -> Result<(), VerifyError> {
    let [previous] = pdu.prev_events.as_slice() else { return Ok(()) };
    let Some(pdu_id) = store.get(&trees::EVENTID_PDUID, previous.as_bytes())? else {
        return Ok(());
    };
    let Some(stored) = store.get(&trees::PDUID_PDU, &pdu_id)? else { return Ok(()) };
    let Ok(previous) = serde_json::from_slice::<Pdu>(&stored) else { return Ok(()) };
    // The create event has no state before it; what follows it has just that in its state.
    let (Some(earlier), Some(own)) =
        (place(store, &previous.event_id)?, place(store, &pdu.event_id)?)
    else {
        return Ok(());
    };
    let effect = match &previous.state_key {
        Some(key) => {
            let key = [Part::Text(&previous.kind), Part::Text(key)];
            let key = trees::STATEKEY_SHORTSTATEKEY.key(&key);
            let short = store.get(&trees::STATEKEY_SHORTSTATEKEY, &key)?;
            short.and_then(|short| short.try_into().ok()).map(u64::from_be_bytes)
        }
        None if own.before == earlier.before => return Ok(()),
        None => None,
    };
    let Some(mut expected) = expander.get(earlier.before)? else { return Ok(()) };
    if let Some(key) = effect {
        Rc::make_mut(&mut expected).insert(key, earlier.event);
    }
    if expander.get(own.before)?.is_some_and(|state| state != expected) {
        let text = format!("the state before it is not the one after {}", previous.event_id);
        found.warning("V118", &pdu.event_id, text);
    }
    Ok(())
}

/// How many words of a message are in the search index; all should be.
fn indexed(
    store: &dyn KvStore,
    short_room: u64,
    pdu_id: &[u8],
    pdu: &Pdu,
    found: &mut Found,
) -> Result<u64, VerifyError> {
    let body = pdu.content.get("body").and_then(serde_json::Value::as_str);
    let redacted = pdu.unsigned.get("redacted_because").is_some();
    let Some(body) = body.filter(|_| pdu.kind == "m.room.message" && !redacted) else {
        return Ok(0);
    };
    let words: BTreeSet<_> = body
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty() && word.len() <= LONGEST_WORD)
        .map(str::to_lowercase)
        .collect();
    let mut number: u64 = 0;
    for word in words {
        let mut key = short_room.to_be_bytes().to_vec();
        key.extend_from_slice(word.as_bytes());
        key.push(0xff);
        key.extend_from_slice(pdu_id);
        if store.get(&trees::TOKENIDS, &key)?.is_some() {
            number = number.saturating_add(1);
        } else {
            found.warning("V120", &pdu.event_id, "a word of it can't be searched for");
        }
    }
    Ok(number)
}

/// Relations and threads name events that exist.
fn relations(
    store: &dyn KvStore,
    counts: &BTreeSet<u64>,
    found: &mut Found,
) -> Result<(), VerifyError> {
    for row in store.scan(&trees::TOFROM_RELATION, &[])? {
        let (key, _) = row?;
        let Ok(fields) = trees::TOFROM_RELATION.decode_key(&key) else { continue };
        let ends = [fields.u64("to_count"), fields.u64("from_count")];
        if ends.iter().any(|end| !counts.contains(end)) {
            let text = "relates an event that is not there";
            found.error("V121", format!("{} {ends:?}", trees::TOFROM_RELATION), text);
        }
    }
    for row in store.scan(&trees::THREADID_USERIDS, &[])? {
        let (key, _) = row?;
        if store.get(&trees::PDUID_PDU, &key)?.is_none() {
            let subject = format!("{} {}", trees::THREADID_USERIDS, hex::encode(&key));
            found.error("V121", subject, "is a thread without its root");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
