//! Every state: does it expand to known events, one for each key?

use std::collections::BTreeMap;

use super::{VerifyError, events::Events, found::Found};
use crate::conduit::{kv::KvStore, layout::Value, state_diff::StateDiff, trees};

/// More layers than any Conduit writes; a longer chain is a cycle or damage.
const MAX_LAYERS: usize = 100;

/// A state: (type, state key) to event id.
pub(super) type State = BTreeMap<(String, String), String>;

pub(super) fn check(
    store: &dyn KvStore,
    events: &Events,
    found: &mut Found,
) -> Result<(), VerifyError> {
    // Each difference by itself: its parent is there, its entries resolve to the events they say.
    for row in store.scan(&trees::SHORTSTATEHASH_STATEDIFF, &[])? {
        let (key, _) = row?;
        let Ok(hash) = <[u8; 8]>::try_from(&*key).map(u64::from_be_bytes) else { continue };
        let Some(diff) = diff(store, hash)? else {
            found.error("V111", format!("state {hash}"), "is no difference of pairs");
            continue;
        };
        if diff.parent != 0
            && store.get(&trees::SHORTSTATEHASH_STATEDIFF, &diff.parent.to_be_bytes())?.is_none()
        {
            found.error(
                "V111",
                format!("state {hash}"),
                format!("builds on {}, which is missing", diff.parent),
            );
        }
        for (state_key, event) in &diff.added {
            if let Some(problem) = entry(store, *state_key, *event, events)? {
                found.error("V111", format!("state {hash}"), problem);
            }
        }
    }
    for tree in [&trees::ROOMID_SHORTSTATEHASH, &trees::SHORTEVENTID_SHORTSTATEHASH] {
        for row in store.scan(tree, &[])? {
            let (key, value) = row?;
            let Ok(fields) = tree.decode_value(&key, &value) else { continue };
            let hash = fields.u64("short_state_hash");
            if compressed(store, hash)?.is_none() {
                let text = "does not expand, or has two events for a key";
                found.error("V111", format!("{tree} state {hash}"), text);
            }
        }
    }
    Ok(())
}

/// What is wrong with an entry.
fn entry(
    store: &dyn KvStore,
    state_key: u64,
    event: u64,
    events: &Events,
) -> Result<Option<String>, VerifyError> {
    let Some((kind, key, id)) = names(store, state_key, event)? else {
        return Ok(Some(format!("names ({state_key}, {event}), which nothing resolves")));
    };
    Ok(match events.get(&id) {
        None => Some(format!("names {id}, which is not stored")),
        Some(known) if known.kind != kind || known.state_key.as_ref() != Some(&key) => {
            Some(format!("names {id} for ({kind}, {key}), which it is not"))
        }
        Some(_) => None,
    })
}

fn names(
    store: &dyn KvStore,
    state_key: u64,
    event: u64,
) -> Result<Option<(String, String, String)>, VerifyError> {
    let key = store.get(&trees::SHORTSTATEKEY_STATEKEY, &state_key.to_be_bytes())?;
    let event = store.get(&trees::SHORTEVENTID_EVENTID, &event.to_be_bytes())?;
    let (Some(key), Some(event)) = (key, event) else { return Ok(None) };
    let Ok(fields) = trees::SHORTSTATEKEY_STATEKEY.decode_value(&[], &key) else { return Ok(None) };
    let Ok(event) = String::from_utf8(event) else { return Ok(None) };
    Ok(Some((fields.text("type").to_owned(), fields.text("state_key").to_owned(), event)))
}

fn diff(store: &dyn KvStore, hash: u64) -> Result<Option<StateDiff>, VerifyError> {
    let tree = &trees::SHORTSTATEHASH_STATEDIFF;
    let Some(value) = store.get(tree, &hash.to_be_bytes())? else { return Ok(None) };
    let Ok(fields) = tree.decode_value(&[], &value) else { return Ok(None) };
    Ok(match fields.get("diff") {
        Some(Value::U64s(numbers)) => StateDiff::decode(fields.u64("parent"), numbers),
        _ => None,
    })
}

/// A state in short ids, by Conduit's rule; `None` if it does not expand to one event a key.
pub(super) fn compressed(
    store: &dyn KvStore,
    hash: u64,
) -> Result<Option<BTreeMap<u64, u64>>, VerifyError> {
    let mut chain = Vec::new();
    let mut next = hash;
    while next != 0 {
        if chain.len() >= MAX_LAYERS {
            return Ok(None);
        }
        let Some(diff) = diff(store, next)? else { return Ok(None) };
        next = diff.parent;
        chain.push(diff);
    }
    let mut state: BTreeMap<u64, u64> = BTreeMap::new();
    for diff in chain.iter().rev() {
        for (key, event) in &diff.removed {
            if state.get(key) == Some(event) {
                state.remove(key);
            }
        }
        for (key, event) in &diff.added {
            if state.insert(*key, *event).is_some_and(|old| old != *event) {
                return Ok(None);
            }
        }
    }
    Ok(Some(state))
}

/// A state in names; `None` if it does not expand.
pub(super) fn expand(store: &dyn KvStore, hash: u64) -> Result<Option<State>, VerifyError> {
    let Some(compressed) = compressed(store, hash)? else { return Ok(None) };
    let mut state = State::new();
    for (key, event) in compressed {
        let Some((kind, key, id)) = names(store, key, event)? else { return Ok(None) };
        state.insert((kind, key), id);
    }
    Ok(Some(state))
}

/// The state before an event.
pub(super) fn before(store: &dyn KvStore, event: &str) -> Result<Option<State>, VerifyError> {
    let Some(short) = store.get(&trees::EVENTID_SHORTEVENTID, event.as_bytes())? else {
        return Ok(None);
    };
    let hash = store.get(&trees::SHORTEVENTID_SHORTSTATEHASH, &short)?;
    match hash.and_then(|hash| hash.try_into().ok()).map(u64::from_be_bytes) {
        Some(hash) => expand(store, hash),
        None => Ok(None),
    }
}

/// A room's current state.
pub(super) fn current(store: &dyn KvStore, room: &str) -> Result<Option<State>, VerifyError> {
    let hash = store.get(&trees::ROOMID_SHORTSTATEHASH, room.as_bytes())?;
    match hash.and_then(|hash| hash.try_into().ok()).map(u64::from_be_bytes) {
        Some(hash) => expand(store, hash),
        None => Ok(None),
    }
}
