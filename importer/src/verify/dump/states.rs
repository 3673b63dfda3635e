//! States of a dumped room, in the database's short ids: two numbers an entry, so that large rooms fit and compare fast.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{Found, KvStore, Skipped, VerifyError};
use crate::{
    conduit::{
        layout::Part,
        trees::{self, Tree},
    },
    dump::RoomReader,
    tally::Kind,
    verify::states::{self, Compressed, Expander, Recent},
};

/// A state as a difference; like [`crate::dump::format::DumpState`].
#[derive(Debug)]
struct Difference {
    base: u64,
    set: Vec<(u64, u64)>,
    unset: Vec<u64>,
}

/// The states of one dumped room, and their counterparts in the database.
pub(super) struct States<'a> {
    store: &'a dyn KvStore,
    differences: BTreeMap<u64, Difference>,
    recent: Recent,
    stored: Expander<'a>,
    /// Names without a short id get numbers from the top.
    unknown: Unknown,
    /// Pairs of states, the dump's and the database's, that were found equal.
    equal: BTreeSet<(u64, u64)>,
}

#[derive(Default)]
struct Unknown {
    by_name: BTreeMap<Vec<u8>, u64>,
    names: BTreeMap<u64, String>,
}

impl Unknown {
    fn number(&mut self, key: Vec<u8>, name: &str) -> u64 {
        let used = u64::try_from(self.names.len()).unwrap_or(u64::MAX);
        let number = *self.by_name.entry(key).or_insert(u64::MAX.saturating_sub(used));
        self.names.entry(number).or_insert_with(|| name.to_owned());
        number
    }
}

impl<'a> States<'a> {
    pub(super) fn read(store: &'a dyn KvStore, room: &mut RoomReader) -> Result<Self, VerifyError> {
        let mut states = Self {
            store,
            differences: BTreeMap::new(),
            recent: Recent::default(),
            stored: Expander::new(store),
            unknown: Unknown::default(),
            equal: BTreeSet::new(),
        };
        for state in room.states()? {
            let state = state?;
            let mut difference = Difference {
                // A base has a smaller id, so chains end.
                base: state.base.filter(|base| *base < state.id).unwrap_or(0),
                set: Vec::with_capacity(state.set.len()),
                unset: Vec::with_capacity(state.unset.len()),
            };
            for (kind, key, event) in &state.set {
                let key = states.state_key(kind, key)?;
                let event = Part::Text(event.as_str());
                difference.set.push((key, states.short(&trees::EVENTID_SHORTEVENTID, &[event])?));
            }
            for (kind, key) in &state.unset {
                difference.unset.push(states.state_key(kind, key)?);
            }
            states.differences.insert(state.id, difference);
        }
        Ok(states)
    }

    fn state_key(&mut self, kind: &str, key: &str) -> Result<u64, VerifyError> {
        self.short(&trees::STATEKEY_SHORTSTATEKEY, &[Part::Text(kind), Part::Text(key)])
    }

    fn short(&mut self, tree: &'static Tree, parts: &[Part<'_>]) -> Result<u64, VerifyError> {
        let key = tree.key(parts);
        if let Some(short) = store_number(self.store, tree, &key)? {
            return Ok(short);
        }
        let names = parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(*text),
            _ => None,
        });
        let name = names.collect::<Vec<_>>().join(", ");
        Ok(self.unknown.number(key, &name))
    }

    /// A state of the dump; `None` if the dump has no such state.
    fn get(&mut self, id: u64) -> Option<Rc<Compressed>> {
        let mut layers = Vec::new();
        let mut next = id;
        let mut base = None;
        while next != 0 {
            base = self.recent.get(next);
            if base.is_some() {
                break;
            }
            let difference = self.differences.get(&next)?;
            layers.push((next, difference));
            next = difference.base;
        }
        let mut state = base.unwrap_or_default();
        while let Some((id, difference)) = layers.pop() {
            let entries = Rc::make_mut(&mut state);
            for key in &difference.unset {
                entries.remove(key);
            }
            entries.extend(difference.set.iter().copied());
            self.recent.put(id, &state);
        }
        Some(state)
    }

    /// Whether the dump has a state of that id.
    pub(super) fn contains(&self, id: u64) -> bool {
        self.differences.contains_key(&id)
    }

    /// Compares the state before an event.
    pub(super) fn compare_before(
        &mut self,
        event: &str,
        expected: u64,
        skipped: &Skipped<'_>,
        found: &mut Found,
    ) -> Result<(), VerifyError> {
        let stored = self.stored.hash_before(event)?;
        self.compare(event, expected, stored, skipped, found)
    }

    /// Compares a room's current state.
    pub(super) fn compare_current(
        &mut self,
        room: &str,
        expected: u64,
        skipped: &Skipped<'_>,
        found: &mut Found,
    ) -> Result<(), VerifyError> {
        let stored = self.stored.hash_of_room(room)?;
        self.compare(room, expected, stored, skipped, found)
    }

    fn compare(
        &mut self,
        subject: &str,
        id: u64,
        hash: Option<u64>,
        skipped: &Skipped<'_>,
        found: &mut Found,
    ) -> Result<(), VerifyError> {
        if hash.is_some_and(|hash| self.equal.contains(&(id, hash))) {
            return Ok(());
        }
        let Some(expected) = self.get(id) else { return Ok(()) };
        let stored = match hash {
            Some(hash) => self.stored.get(hash)?,
            None => None,
        };
        let Some((hash, stored)) = hash.zip(stored) else {
            found.error("V201", subject, "its state is missing");
            return Ok(());
        };
        if expected == stored {
            self.equal.insert((id, hash));
            return Ok(());
        }
        for (key, event) in &*expected {
            let there = stored.get(key);
            // An event that is not there is reported where it should be.
            let unknown = there.is_none() && self.unknown.names.contains_key(event);
            if there != Some(event) && !unknown && !self.left_out(*event, skipped)? {
                let text = format!("its state differs at ({})", self.key_name(*key)?);
                found.error("V203", subject, text);
            }
        }
        for key in stored.keys().filter(|key| !expected.contains_key(*key)) {
            let text = format!("its state has ({}) in addition", self.key_name(*key)?);
            found.error("V202", subject, text);
        }
        Ok(())
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

fn store_number(
    store: &dyn KvStore,
    tree: &'static Tree,
    key: &[u8],
) -> Result<Option<u64>, VerifyError> {
    Ok(store.get(tree, key)?.and_then(|value| value.try_into().ok()).map(u64::from_be_bytes))
}
