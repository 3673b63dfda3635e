//! Every state: does it expand to known events of one room, one for each key?

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

use super::{VerifyError, events::Events, found::Found};
use crate::conduit::{kv::KvStore, layout::Value, state_diff::StateDiff, trees};

/// More layers than any Conduit writes; a longer chain is a cycle or damage.
const MAX_LAYERS: usize = 100;
/// Expanded states that are kept. States build on recent ones, so most cost their difference alone.
const RECENT: usize = 8;

/// A state: (type, state key) to event id.
pub(super) type State = BTreeMap<(String, String), String>;
/// A state in short ids: state key to event.
pub(super) type Compressed = BTreeMap<u64, u64>;

pub(super) fn check(
    store: &dyn KvStore,
    events: &Events,
    found: &mut Found,
) -> Result<(), VerifyError> {
    let rooms = differences(store, events, found)?;
    let mut expander = Expander::new(store);
    let mut done = BTreeSet::new();
    for tree in [&trees::ROOMID_SHORTSTATEHASH, &trees::SHORTEVENTID_SHORTSTATEHASH] {
        for row in store.scan(tree, &[])? {
            let (key, value) = row?;
            let Ok(fields) = tree.decode_value(&key, &value) else { continue };
            let hash = fields.u64("short_state_hash");
            if done.insert(hash) && expander.get(hash)?.is_none() {
                let text = "does not expand, or has two events for a key";
                found.error("V111", format!("{tree} state {hash}"), text);
            }
            let owner = if tree == &trees::ROOMID_SHORTSTATEHASH {
                std::str::from_utf8(&key).ok().map(Rc::from)
            } else {
                let event = store.get(&trees::SHORTEVENTID_EVENTID, &key)?;
                let event = event.and_then(|event| String::from_utf8(event).ok());
                event.and_then(|event| Some(events.get(&event)?.room.clone()))
            };
            if let (Some(owner), Some(room)) = (owner, rooms.get(&hash))
                && owner != *room
            {
                let text = format!("is one of {room}, and used in {owner}");
                found.error("V111", format!("{tree} state {hash}"), text);
            }
        }
    }
    Ok(())
}

/// Each difference by itself: its parent is there, its entries resolve to the events they say, all of one room. Gives
/// the room of each state.
fn differences(
    store: &dyn KvStore,
    events: &Events,
    found: &mut Found,
) -> Result<BTreeMap<u64, Rc<str>>, VerifyError> {
    let mut rooms: BTreeMap<u64, Rc<str>> = BTreeMap::new();
    for row in store.scan(&trees::SHORTSTATEHASH_STATEDIFF, &[])? {
        let (key, _) = row?;
        let Ok(hash) = <[u8; 8]>::try_from(&*key).map(u64::from_be_bytes) else { continue };
        let subject = || format!("state {hash}");
        let Some(diff) = diff(store, hash)? else {
            found.error("V111", subject(), "is no difference of pairs");
            continue;
        };
        if diff.parent != 0
            && store.get(&trees::SHORTSTATEHASH_STATEDIFF, &diff.parent.to_be_bytes())?.is_none()
        {
            found.error("V111", subject(), format!("builds on {}, which is missing", diff.parent));
        }
        let removed: BTreeSet<_> = diff.removed.iter().collect();
        let mut room = rooms.get(&diff.parent).cloned();
        for entry in &diff.added {
            if removed.contains(entry) {
                // Conduit removes last (src/service/rooms/state_compressor/mod.rs:39-90).
                found.error("V111", subject(), format!("both adds and removes {entry:?}"));
            }
            match resolve(store, *entry, events)? {
                Err(problem) => found.error("V111", subject(), problem),
                Ok(of) if room.as_ref().is_none_or(|room| *room == of) => room = Some(of),
                Ok(of) => found.error("V111", subject(), format!("mixes events of {of} in")),
            }
        }
        rooms.extend(room.map(|room| (hash, room)));
    }
    Ok(rooms)
}

/// The room of an entry's event, or what is wrong with it.
fn resolve(
    store: &dyn KvStore,
    (state_key, event): (u64, u64),
    events: &Events,
) -> Result<Result<Rc<str>, String>, VerifyError> {
    let Some((kind, key, id)) = names(store, state_key, event)? else {
        return Ok(Err(format!("names ({state_key}, {event}), which nothing resolves")));
    };
    Ok(match events.get(&id) {
        None => Err(format!("names {id}, which is not stored")),
        Some(known) if *known.kind != *kind || known.state_key.as_deref() != Some(&*key) => {
            Err(format!("names {id} for ({kind}, {key}), which it is not"))
        }
        Some(known) => Ok(known.room.clone()),
    })
}

/// Type, state key and event id of an entry.
fn names(
    store: &dyn KvStore,
    state_key: u64,
    event: u64,
) -> Result<Option<(String, String, String)>, VerifyError> {
    let event = store.get(&trees::SHORTEVENTID_EVENTID, &event.to_be_bytes())?;
    let (Some((kind, key)), Some(event)) = (key_name(store, state_key)?, event) else {
        return Ok(None);
    };
    Ok(String::from_utf8(event).ok().map(|event| (kind, key, event)))
}

/// Type and state key of a short state key.
pub(super) fn key_name(
    store: &dyn KvStore,
    state_key: u64,
) -> Result<Option<(String, String)>, VerifyError> {
    let tree = &trees::SHORTSTATEKEY_STATEKEY;
    let Some(value) = store.get(tree, &state_key.to_be_bytes())? else { return Ok(None) };
    let Ok(fields) = tree.decode_value(&[], &value) else { return Ok(None) };
    Ok(Some((fields.text("type").to_owned(), fields.text("state_key").to_owned())))
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

/// States that were expanded lately.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<(u64, Rc<Compressed>)>);

impl Recent {
    pub(super) fn get(&self, id: u64) -> Option<Rc<Compressed>> {
        self.0.iter().find(|(kept, _)| *kept == id).map(|(_, state)| state.clone())
    }

    pub(super) fn put(&mut self, id: u64, state: &Rc<Compressed>) {
        self.0.truncate(RECENT.saturating_sub(1));
        self.0.push_front((id, state.clone()));
    }
}

/// Expands the states of a database by Conduit's rule.
pub(super) struct Expander<'a> {
    store: &'a dyn KvStore,
    recent: Recent,
}

impl<'a> Expander<'a> {
    pub(super) fn new(store: &'a dyn KvStore) -> Self {
        Self { store, recent: Recent::default() }
    }

    /// A state in short ids; `None` if it does not expand to one event a key.
    pub(super) fn get(&mut self, hash: u64) -> Result<Option<Rc<Compressed>>, VerifyError> {
        let mut layers = Vec::new();
        let mut next = hash;
        let mut base = None;
        while next != 0 {
            base = self.recent.get(next);
            if base.is_some() {
                break;
            }
            if layers.len() >= MAX_LAYERS {
                return Ok(None);
            }
            let Some(diff) = diff(self.store, next)? else { return Ok(None) };
            let parent = diff.parent;
            layers.push((next, diff));
            next = parent;
        }
        let mut state = base.unwrap_or_default();
        while let Some((hash, diff)) = layers.pop() {
            if !apply(Rc::make_mut(&mut state), &diff) {
                return Ok(None);
            }
            // Its parent too: the next state often builds on that one.
            self.recent.put(hash, &state);
        }
        Ok(Some(state))
    }

    /// The hash of the state before an event.
    pub(super) fn hash_before(&self, event: &str) -> Result<Option<u64>, VerifyError> {
        let short = self.store.get(&trees::EVENTID_SHORTEVENTID, event.as_bytes())?;
        let Some(short) = short else { return Ok(None) };
        Ok(number(self.store.get(&trees::SHORTEVENTID_SHORTSTATEHASH, &short)?))
    }

    /// The hash of a room's current state.
    pub(super) fn hash_of_room(&self, room: &str) -> Result<Option<u64>, VerifyError> {
        Ok(number(self.store.get(&trees::ROOMID_SHORTSTATEHASH, room.as_bytes())?))
    }
}

/// Whether the difference leaves one event a key.
fn apply(state: &mut Compressed, diff: &StateDiff) -> bool {
    for (key, event) in &diff.removed {
        if state.get(key) == Some(event) {
            state.remove(key);
        }
    }
    diff.added
        .iter()
        .all(|(key, event)| state.insert(*key, *event).is_none_or(|earlier| earlier == *event))
}

fn number(bytes: Option<Vec<u8>>) -> Option<u64> {
    bytes?.try_into().ok().map(u64::from_be_bytes)
}

/// A room's current state in names; `None` if it does not expand.
pub(super) fn current(store: &dyn KvStore, room: &str) -> Result<Option<State>, VerifyError> {
    let mut expander = Expander::new(store);
    let Some(hash) = expander.hash_of_room(room)? else { return Ok(None) };
    let Some(compressed) = expander.get(hash)? else { return Ok(None) };
    let mut state = State::new();
    for (key, event) in &*compressed {
        let Some((kind, key, id)) = names(store, *key, *event)? else { return Ok(None) };
        state.insert((kind, key), id);
    }
    Ok(Some(state))
}
