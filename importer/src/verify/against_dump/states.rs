//! States of a dumped room, in the database's short ids: two numbers an entry, so that large rooms fit and compare fast.

use std::collections::BTreeMap;

use super::{Findings, KvRead, Skipped, VerifyError, codes};
use crate::{
    conduit::schema::{
        shapes::{Event, StateKey},
        trees::{self, Tree},
    },
    dump::RoomReader,
    tally::Kind,
    verify::{
        StateComparison,
        structure::states,
        tools::state_layers::{Layers, State},
    },
};

/// In a sample, of how many states one is compared whole.
const ONE_IN: usize = 1000;

/// A state as a difference; like [`crate::dump::format::DumpState`].
#[derive(Debug)]
struct Difference {
    base: u64,
    set: Box<[(u64, u64)]>,
    unset: Box<[u64]>,
}

/// The states of one dumped room, and their counterparts in the database.
pub(super) struct States<'a> {
    store: &'a dyn KvRead,
    room: String,
    how: StateComparison,
    differences: BTreeMap<u64, Difference>,
    stored: Layers<'a>,
    /// Names without a short id get numbers from the top.
    unknown: Unknown,
    /// States that were compared: the dump's and the database's.
    compared: BTreeMap<u64, u64>,
}

/// A stored state, and the entries that differ from it, by key.
type Changes = (State, BTreeMap<u64, Option<u64>>);

#[derive(Default)]
struct Unknown {
    by_name: BTreeMap<Vec<u8>, u64>,
    names: BTreeMap<u64, String>,
}

impl Unknown {
    fn number(&mut self, key: Vec<u8>, name: String) -> u64 {
        let used = u64::try_from(self.names.len()).unwrap_or(u64::MAX);
        let number = *self.by_name.entry(key).or_insert(u64::MAX.saturating_sub(used));
        self.names.entry(number).or_insert(name);
        number
    }
}

impl<'a> States<'a> {
    pub(super) fn read(
        store: &'a dyn KvRead,
        how: StateComparison,
        room: &mut RoomReader,
    ) -> Result<Self, VerifyError> {
        let mut states = Self {
            store,
            room: room.head().room_id.to_string(),
            how,
            differences: BTreeMap::new(),
            stored: Layers::new(store),
            unknown: Unknown::default(),
            compared: BTreeMap::new(),
        };
        for state in room.states()? {
            let state = state?;
            let mut set = Vec::with_capacity(state.set.len());
            for (kind, key, event) in &state.set {
                let key = states.state_key(kind, key)?;
                set.push((key, states.event(event.as_str())?));
            }
            let mut unset = Vec::with_capacity(state.unset.len());
            for (kind, key) in &state.unset {
                unset.push(states.state_key(kind, key)?);
            }
            // A base has a smaller id, so chains end.
            let base = state.base.filter(|base| *base < state.id).unwrap_or(0);
            let difference = Difference { base, set: set.into(), unset: unset.into() };
            states.differences.insert(state.id, difference);
        }
        Ok(states)
    }

    fn state_key(&mut self, kind: &str, key: &str) -> Result<u64, VerifyError> {
        let tree = &trees::STATEKEY_SHORTSTATEKEY;
        let row = tree.key_of(&StateKey { r#type: kind, state_key: key });
        self.short(tree, row, || format!("{kind}, {key}"))
    }

    fn event(&mut self, event: &str) -> Result<u64, VerifyError> {
        let tree = &trees::EVENTID_SHORTEVENTID;
        self.short(tree, tree.key_of(&Event { event }), || event.to_owned())
    }

    /// The short id at a key of a tree. The name is for what has none.
    fn short(
        &mut self,
        tree: &'static Tree,
        key: Vec<u8>,
        name: impl FnOnce() -> String,
    ) -> Result<u64, VerifyError> {
        match states::number(self.store, tree, &key)? {
            Some(short) => Ok(short),
            None => Ok(self.unknown.number(key, name())),
        }
    }

    /// What a state of the dump changes in one that was compared before, or in the empty one: that one's counterpart, and
    /// events by key. `None` if the dump has no such state.
    fn changes(&mut self, id: u64, whole: bool) -> Result<Option<Changes>, VerifyError> {
        let mut changes = BTreeMap::new();
        let mut next = id;
        while next != 0 {
            if next != id
                && !whole
                && let Some(hash) = self.compared.get(&next)
                && let Some(base) = self.stored.state(*hash)?
            {
                return Ok(Some((base, changes)));
            }
            let Some(difference) = self.differences.get(&next) else { return Ok(None) };
            for (key, event) in &difference.set {
                changes.entry(*key).or_insert(Some(*event));
            }
            for key in &difference.unset {
                changes.entry(*key).or_insert(None);
            }
            next = difference.base;
        }
        Ok(Some((State::default(), changes)))
    }

    /// Forgets which were compared.
    pub(super) fn begin_again(&mut self) {
        self.compared.clear();
    }

    /// Whether the dump has a state of that id.
    pub(super) fn contains(&self, id: u64) -> bool {
        self.differences.contains_key(&id)
    }

    /// Compares a state with its counterpart; both of an event or a room, the subject.
    pub(super) fn compare(
        &mut self,
        subject: &str,
        id: u64,
        hash: Option<u64>,
        skipped: &Skipped<'_>,
        found: &mut Findings,
    ) -> Result<(), VerifyError> {
        if hash.is_some_and(|hash| self.compared.get(&id) == Some(&hash)) {
            return Ok(());
        }
        let whole = match self.how {
            StateComparison::All => true,
            StateComparison::Sample => self.compared.len().is_multiple_of(ONE_IN),
        };
        let Some((base, changes)) = self.changes(id, whole)? else { return Ok(()) };
        let stored = match hash {
            Some(hash) => self.stored.state(hash)?,
            None => None,
        };
        let Some((hash, stored)) = hash.zip(stored) else {
            found.add(&codes::MISSING_IN_DATABASE, subject, "its state is missing");
            return Ok(());
        };
        let mut keys = base.differing(&stored);
        keys.extend(changes.keys());
        for key in keys {
            let expected = changes.get(&key).copied().unwrap_or_else(|| base.get(key));
            let there = stored.get(key);
            if there == expected {
                continue;
            }
            let Some(expected) = expected else {
                let text = format!("its state has ({}) in addition", self.key_name(key)?);
                found.add(&codes::NOT_IN_DUMP, subject, text);
                continue;
            };
            // An event that is not there is reported where it should be.
            let unknown = there.is_none() && self.unknown.names.contains_key(&expected);
            let belongs = there.is_some() || self.belongs(expected, key)?;
            if !unknown && belongs && !self.left_out(expected, skipped)? {
                let text = format!("its state differs at ({})", self.key_name(key)?);
                found.add(&codes::DIFFERS_FROM_DUMP, subject, text);
            }
        }
        self.compared.insert(id, hash);
        Ok(())
    }

    /// Whether an event, as far as it is there, is one of the room for the key: a damaged state may name any.
    fn belongs(&self, event: u64, key: u64) -> Result<bool, VerifyError> {
        #[derive(serde::Deserialize)]
        struct Event {
            #[serde(rename = "type")]
            kind: String,
            state_key: Option<String>,
            // Create events of room version 12 have none.
            room_id: Option<String>,
        }
        let Some(id) = self.store.get(&trees::SHORTEVENTID_EVENTID, &event.to_be_bytes())? else {
            return Ok(true);
        };
        let json = match self.store.get(&trees::EVENTID_PDUID, &id)? {
            Some(place) => self.store.get(&trees::PDUID_PDU, &place)?,
            None => self.store.get(&trees::EVENTID_OUTLIERPDU, &id)?,
        };
        let event = json.and_then(|json| serde_json::from_slice::<Event>(&json).ok());
        let Some(event) = event else { return Ok(true) };
        if event.room_id.is_some_and(|room| room != self.room) {
            return Ok(false);
        }
        let name = states::key_name(self.store, key)?;
        Ok(name.is_none_or(|name| {
            event.state_key.is_some_and(|state_key| (event.kind, state_key) == name)
        }))
    }

    /// Whether the import left the event out.
    fn left_out(&self, event: u64, skipped: &Skipped<'_>) -> Result<bool, VerifyError> {
        let stored = self.store.get(&trees::SHORTEVENTID_EVENTID, &event.to_be_bytes())?;
        let id = match stored {
            Some(stored) => String::from_utf8(stored).ok(),
            None => self.unknown.names.get(&event).cloned(),
        };
        Ok(id.is_some_and(|id| {
            [Kind::Outlier, Kind::TimelineEvent, Kind::State]
                .iter()
                .any(|kind| skipped.explains(*kind, &id))
        }))
    }

    fn key_name(&self, key: u64) -> Result<String, VerifyError> {
        if let Some(name) = self.unknown.names.get(&key) {
            return Ok(name.clone());
        }
        Ok(states::key_name(self.store, key)?
            .map_or_else(|| key.to_string(), |(kind, key)| format!("{kind}, {key}")))
    }
}
