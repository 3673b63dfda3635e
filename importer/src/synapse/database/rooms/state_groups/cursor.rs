//! A cursor over a room's states: one held in full, with differences to the latest ones.

use std::collections::{BTreeMap, VecDeque};

use ruma::OwnedEventId;

use super::{Entries, Key, entry};
use crate::dump::format::DumpState;

/// Changes that are kept, to move back. A state beyond them is read again.
const REMEMBERED: usize = if cfg!(test) { 20 } else { 50_000 };

/// A cursor: the state that it is at, in full, and the latest states as differences.
#[derive(Debug, Default)]
pub(super) struct StateCursor {
    id: u64,
    entries: Entries,
    /// Entries touched since, with their values in it.
    touched: BTreeMap<Key, Option<OwnedEventId>>,
    /// The latest states, in the order of their ids, which is the order of their making.
    latest: VecDeque<RecentState>,
    remembered: usize,
}

/// A state by its difference to another one, which is older.
#[derive(Debug)]
struct RecentState {
    id: u64,
    from: u64,
    changes: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    key: Key,
    old: Option<OwnedEventId>,
    new: Option<OwnedEventId>,
}

impl StateCursor {
    /// A cursor at a state that knows no other.
    pub(super) fn begin(id: u64, entries: Entries) -> Self {
        Self { id, entries, ..Self::default() }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// A state without a create event is one that has been lost.
    pub(super) fn is_room(&self) -> bool {
        self.entries.contains_key(&("m.room.create".to_owned(), String::new()))
    }

    /// How many entries there are if one with this key is added or replaced.
    pub(super) fn size_with(&self, key: &Key) -> usize {
        self.entries.len().saturating_add(usize::from(!self.entries.contains_key(key)))
    }

    /// Changes an entry.
    pub(super) fn put(&mut self, key: Key, value: Option<OwnedEventId>) {
        let old = put(&mut self.entries, &key, value);
        self.touched.entry(key).or_insert(old);
    }

    /// Changes whatever differs from a state.
    pub(super) fn become_state(&mut self, entries: Entries) {
        let gone: Vec<_> =
            self.entries.keys().filter(|key| !entries.contains_key(*key)).cloned().collect();
        for key in gone {
            self.put(key, None);
        }
        for (key, event_id) in entries {
            if self.entries.get(&key) != Some(&event_id) {
                self.put(key, Some(event_id));
            }
        }
    }

    /// Undoes the changes since the cursor's state.
    pub(super) fn give_up(&mut self) {
        for (key, old) in std::mem::take(&mut self.touched) {
            put(&mut self.entries, &key, old);
        }
    }

    /// Commits the changes as the state `id`. `None`: there are none, and the state is the old one.
    pub(super) fn settle(&mut self, id: u64) -> Option<DumpState> {
        let (mut set, mut unset, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        for (key, old) in std::mem::take(&mut self.touched) {
            let new = self.entries.get(&key);
            if new == old.as_ref() {
                continue;
            }
            match new {
                Some(event_id) => set.push(entry((&key, event_id))),
                None => unset.push(key.clone()),
            }
            changes.push(Change { new: new.cloned(), key, old });
        }
        if changes.is_empty() && self.id > 0 {
            return None;
        }
        let from = std::mem::replace(&mut self.id, id);
        let mut base = Some(from).filter(|from| *from > 0);
        // A state in full is shorter than many changes.
        if changes.len() > self.entries.len() {
            base = None;
            set = self.entries.iter().map(entry).collect();
            unset = Vec::new();
        }
        self.remember(RecentState { id, from, changes });
        Some(DumpState { id, base, set, unset })
    }

    fn remember(&mut self, state: RecentState) {
        self.remembered = self.remembered.saturating_add(state.changes.len());
        self.latest.push_back(state);
        while self.remembered > REMEMBERED {
            let Some(forgotten) = self.latest.pop_front() else { break };
            self.remembered = self.remembered.saturating_sub(forgotten.changes.len());
        }
    }

    /// Moves to another state; *false* if the differences on the way are forgotten, and then the cursor stays.
    pub(super) fn go_to(&mut self, target: u64) -> bool {
        let (mut back, mut forth) = (Vec::new(), Vec::new());
        let (mut here, mut there) = (self.id, target);
        while here != there {
            let farther = here.max(there);
            let Some(index) = self.find(farther) else { return false };
            let from = self.latest.get(index).map_or(0, |state| state.from);
            if here > there {
                back.push(index);
                here = from;
            } else {
                forth.push(index);
                there = from;
            }
        }
        for state in back.into_iter().filter_map(|index| self.latest.get(index)) {
            for Change { key, old, .. } in &state.changes {
                put(&mut self.entries, key, old.clone());
            }
        }
        for state in forth.into_iter().rev().filter_map(|index| self.latest.get(index)) {
            for Change { key, new, .. } in &state.changes {
                put(&mut self.entries, key, new.clone());
            }
        }
        self.id = target;
        true
    }

    fn find(&self, id: u64) -> Option<usize> {
        self.latest.binary_search_by_key(&id, |state| state.id).ok()
    }
}

fn put(entries: &mut Entries, key: &Key, value: Option<OwnedEventId>) -> Option<OwnedEventId> {
    match value {
        Some(event_id) => match entries.get_mut(key) {
            Some(entry) => Some(std::mem::replace(entry, event_id)),
            None => entries.insert(key.clone(), event_id),
        },
        None => entries.remove(key),
    }
}
