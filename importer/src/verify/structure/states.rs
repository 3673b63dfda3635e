//! Every state: does it expand to known events of one room, one for each key?

use std::collections::{BTreeMap, BTreeSet};

use super::events::{self, Events, key_hash};
use crate::{
    conduit::{
        schema::{
            shapes::{ShortStateHash, ShortStateKey, StateKey},
            table::Shape as _,
            trees::{self, Tree},
        },
        store::KvRead,
    },
    findings::{codes, collector::Findings},
    verify::{
        VerifyError,
        tools::{
            cursor::Cursor,
            lookup::get,
            parts::{self, Part},
            state_layers::{self, Layers},
        },
    },
};

/// What is remembered of a state.
#[derive(Clone, Copy)]
struct Known {
    hash: u64,
    room: Option<u64>,
    /// Whether it has at most one event for each key.
    is_sound: bool,
    /// Whether it is made to hide events and never to be put together: at the place of its create event it has a number that
    /// no event has.
    hides: bool,
}

pub(in crate::verify) fn check(
    store: &dyn KvRead,
    events: &Events,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let states = differences(store, events, found)?;
    let mut done = BTreeSet::new();
    for tree in [trees::ROOMID_SHORTSTATEHASH.tree(), trees::SHORTEVENTID_SHORTSTATEHASH.tree()] {
        let of_part = |store: &dyn KvRead, part: Part| uses(store, &part, &states, events);
        parts::work(store, Part::of(store, tree)?, of_part, |uses| {
            found.merge(uses.found);
            for hash in uses.unsound {
                if done.insert(hash) {
                    let text = "does not expand, or has two events for a key";
                    found.add(&codes::STATE_UNSOUND, format!("{tree} state {hash}"), text);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// What the rows of a part say that use states.
#[derive(Default)]
struct Uses {
    found: Findings,
    /// States that are used and not sound, each once.
    unsound: BTreeSet<u64>,
}

/// Reads rows of rooms or events with their states.
fn uses(
    store: &dyn KvRead,
    part: &Part,
    states: &[Known],
    events: &Events,
) -> Result<Uses, VerifyError> {
    let tree = part.tree;
    let mut ids = Cursor::new(store, &trees::SHORTEVENTID_EVENTID);
    let mut uses = Uses::default();
    part.each(store, |key, value| {
        let Some(ShortStateHash { short_state_hash: hash }) = ShortStateHash::read(value) else {
            return Ok(());
        };
        let state = states.binary_search_by_key(&hash, |known| known.hash).ok();
        let state = state.and_then(|at| states.get(at));
        if state.is_some_and(|state| state.hides) && !is_outside(store, tree, key, &mut ids)? {
            let text = "hides events and can't be expanded, and a room or a timeline uses it";
            let subject = format!("{tree} state {hash}");
            uses.found.add(&codes::HIDING_STATE_USED, subject, text);
        }
        if !state.is_some_and(|state| state.is_sound) {
            uses.unsound.insert(hash);
        }
        let owner = if tree == &trees::ROOMID_SHORTSTATEHASH {
            std::str::from_utf8(key).ok().and_then(|room| events.number(room))
        } else {
            let short = <[u8; 8]>::try_from(key).map_or(0, u64::from_be_bytes);
            let id = ids.get(short)?;
            let id = id.as_deref().and_then(|id| std::str::from_utf8(id).ok());
            id.and_then(|id| events.get(id)).map(events::Known::room)
        };
        if let (Some(owner), Some(room)) = (owner, state.and_then(|state| state.room))
            && owner != room
        {
            let (room, owner) = (events.name(room), events.name(owner));
            let text = format!("belongs to {room} and is used in {owner}");
            uses.found.add(&codes::STATE_UNSOUND, format!("{tree} state {hash}"), text);
        }
        Ok(())
    })?;
    Ok(uses)
}

/// Whether a row holds the state of an event outside the timelines.
fn is_outside(
    store: &dyn KvRead,
    tree: &Tree,
    key: &[u8],
    ids: &mut Cursor<'_>,
) -> Result<bool, VerifyError> {
    let short = <[u8; 8]>::try_from(key).map_or(0, u64::from_be_bytes);
    let is_state_of_event = tree == &trees::SHORTEVENTID_SHORTSTATEHASH;
    let Some(id) = ids.get(short)?.filter(|_| is_state_of_event) else { return Ok(false) };
    Ok(store.get(&trees::EVENTID_OUTLIERPDU, &id)?.is_some())
}

/// Each difference by itself: its parent is there, its entries resolve to the events they say, all of one room, one event
/// a key. In order.
fn differences(
    store: &dyn KvRead,
    events: &Events,
    found: &mut Findings,
) -> Result<Vec<Known>, VerifyError> {
    let keys = keys(store)?;
    let create = short_key(store, "m.room.create", "")?;
    let mut layers = Layers::new(store);
    let mut states: Vec<Known> = Vec::new();
    for row in store.scan(&trees::SHORTSTATEHASH_STATEDIFF, &[])? {
        let (key, value) = row?;
        let Ok(hash) = <[u8; 8]>::try_from(&*key).map(u64::from_be_bytes) else { continue };
        let subject = || format!("state {hash}");
        let Some(diff) = state_layers::decode(&value) else {
            found.add(&codes::STATE_UNSOUND, subject(), "its difference is not a list of pairs");
            continue;
        };
        let parent = states.binary_search_by_key(&diff.parent, |known| known.hash).ok();
        let parent = parent.and_then(|at| states.get(at)).copied();
        if diff.parent != 0
            && parent.is_none()
            && store.get(&trees::SHORTSTATEHASH_STATEDIFF, &diff.parent.to_be_bytes())?.is_none()
        {
            found.add(
                &codes::STATE_UNSOUND,
                subject(),
                format!("builds on {}, which is missing", diff.parent),
            );
        }
        let removed: BTreeSet<_> = diff.removed.iter().collect();
        let mut room = parent.and_then(|parent| parent.room);
        let mut hides = false;
        for (key, event) in &diff.added {
            if removed.contains(&(*key, *event)) {
                // Conduit removes last (src/service/rooms/state_compressor/mod.rs:39-90).
                found.add(
                    &codes::STATE_UNSOUND,
                    subject(),
                    format!("both adds and removes {:?}", (key, event)),
                );
            }
            let known = events.get_short(*event);
            let fits = |known: &events::Known| keys.get(key).is_some_and(|k| known.is_at(*k));
            match known.filter(fits) {
                None if Some(*key) == create && !is_named(store, *event)? => hides = true,
                None => found.add(
                    &codes::STATE_UNSOUND,
                    subject(),
                    problem(store, *key, *event, events)?,
                ),
                Some(known) if room.is_none_or(|room| room == known.room()) => {
                    room = Some(known.room());
                }
                Some(known) => {
                    let text = format!("mixes events of {} in", events.name(known.room()));
                    found.add(&codes::STATE_UNSOUND, subject(), text);
                }
            }
        }
        if parent.is_some_and(|parent| parent.hides) {
            let text = format!("builds on {}, which hides events", diff.parent);
            found.add(&codes::HIDING_STATE_USED, subject(), text);
        }
        layers.offer(hash, diff);
        let is_sound = match parent {
            Some(parent) if !parent.is_sound => false,
            Some(_) => layers.state(hash)?.is_some_and(|state| state.is_sound()),
            None => layers.sound(hash)?.is_some(),
        };
        states.push(Known { hash, room, is_sound, hides });
    }
    Ok(states)
}

/// Whether a short id is an event's.
fn is_named(store: &dyn KvRead, short: u64) -> Result<bool, VerifyError> {
    Ok(store.get(&trees::SHORTEVENTID_EVENTID, &short.to_be_bytes())?.is_some())
}

/// Hashes of types and state keys by their short ids.
fn keys(store: &dyn KvRead) -> Result<BTreeMap<u64, u64>, VerifyError> {
    let mut keys = BTreeMap::new();
    let tree = &trees::SHORTSTATEKEY_STATEKEY;
    for row in store.scan(tree, &[])? {
        let (key, value) = row?;
        if let (Ok(short), Ok(names)) = (tree.read_key(&key), tree.read_value(&key, &value)) {
            keys.insert(short.short_state_key, key_hash(names.r#type, names.state_key));
        }
    }
    Ok(keys)
}

/// What is wrong with an entry.
fn problem(
    store: &dyn KvRead,
    key: u64,
    event: u64,
    events: &Events,
) -> Result<String, VerifyError> {
    let id = store.get(&trees::SHORTEVENTID_EVENTID, &event.to_be_bytes())?;
    let id = id.and_then(|id| String::from_utf8(id).ok());
    let (Some((kind, state_key)), Some(id)) = (key_name(store, key)?, id) else {
        return Ok(format!("names ({key}, {event}), which no row resolves"));
    };
    Ok(if events.get(&id).is_none() {
        format!("names {id}, which is not stored")
    } else {
        format!("names {id} for ({kind}, {state_key}), which is not its type and state key")
    })
}

/// Type and state key of a short state key.
pub(in crate::verify) fn key_name(
    store: &dyn KvRead,
    state_key: u64,
) -> Result<Option<(String, String)>, VerifyError> {
    let tree = &trees::SHORTSTATEKEY_STATEKEY;
    let Some(value) = get(store, tree, &ShortStateKey { short_state_key: state_key })? else {
        return Ok(None);
    };
    let Ok(names) = tree.read_value(&[], &value) else { return Ok(None) };
    Ok(Some((names.r#type.to_owned(), names.state_key.to_owned())))
}

/// The short id of a type and state key.
pub(in crate::verify) fn short_key(
    store: &dyn KvRead,
    kind: &str,
    state_key: &str,
) -> Result<Option<u64>, VerifyError> {
    let key = trees::STATEKEY_SHORTSTATEKEY.key_of(&StateKey { r#type: kind, state_key });
    number(store, &trees::STATEKEY_SHORTSTATEKEY, &key)
}

/// The number at a key.
pub(in crate::verify) fn number(
    store: &dyn KvRead,
    tree: &'static Tree,
    key: &[u8],
) -> Result<Option<u64>, VerifyError> {
    Ok(store.get(tree, key)?.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes))
}

/// A room's current state; `None` if it does not expand.
pub(in crate::verify) fn current(
    store: &dyn KvRead,
    room: &str,
) -> Result<Option<state_layers::State>, VerifyError> {
    match number(store, &trees::ROOMID_SHORTSTATEHASH, room.as_bytes())? {
        Some(hash) => Layers::new(store).sound(hash),
        None => Ok(None),
    }
}

/// The event at a key of a room's current state.
pub(in crate::verify) fn current_event(
    store: &dyn KvRead,
    room: &str,
    kind: &str,
    state_key: &str,
) -> Result<Option<String>, VerifyError> {
    let (Some(state), Some(key)) = (current(store, room)?, short_key(store, kind, state_key)?)
    else {
        return Ok(None);
    };
    let Some(short) = state.get(key) else { return Ok(None) };
    let id = store.get(&trees::SHORTEVENTID_EVENTID, &short.to_be_bytes())?;
    Ok(id.and_then(|id| String::from_utf8(id).ok()))
}
