//! The states of a room, as a tree of differences.
//!
//! One state is held in full, that at the cursor; going to another one undoes and redoes the differences on the way.
//! Timelines are lines with short forks, so ways are short.

use std::collections::{BTreeMap, BTreeSet};

use ruma::OwnedEventId;

use super::event::Key;
use crate::dump::format::DumpState;

/// A state in full.
pub(super) type Entries = BTreeMap<Key, OwnedEventId>;

/// The id of the empty state.
pub(super) const EMPTY: u64 = 0;

/// All states of a room.
#[derive(Debug, Default)]
pub(super) struct StateTree {
    /// The state with id *n* is at *n* - 1.
    nodes: Vec<Node>,
    cursor: u64,
    entries: Entries,
}

/// A state, as a difference to another one of a smaller id.
#[derive(Debug)]
struct Node {
    base: u64,
    changes: BTreeMap<Key, Change>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    old: Option<OwnedEventId>,
    new: Option<OwnedEventId>,
}

impl StateTree {
    /// The state `base` with an entry set; `base` itself if it has that entry.
    pub(super) fn with(&mut self, base: u64, key: Key, event_id: OwnedEventId) -> u64 {
        let old = self.get(base).get(&key).cloned();
        if old.as_ref() == Some(&event_id) {
            return base;
        }
        let change = Change { old, new: Some(event_id) };
        self.push(base, BTreeMap::from([(key, change)]))
    }

    /// The id of a state: a new one, as a difference to the nearest of `candidates`, or the candidate that equals it.
    pub(super) fn whole(&mut self, candidates: &[u64], entries: &Entries) -> u64 {
        let mut best = (EMPTY, difference(&Entries::new(), entries));
        for candidate in candidates {
            let changes = difference(self.get(*candidate), entries);
            if changes.is_empty() {
                return *candidate;
            }
            if changes.len() < best.1.len() {
                best = (*candidate, changes);
            }
        }
        if best.1.is_empty() {
            return EMPTY;
        }
        self.push(best.0, best.1)
    }

    /// The newest state.
    pub(super) fn last(&self) -> Option<u64> {
        u64::try_from(self.nodes.len()).ok().filter(|id| *id != EMPTY)
    }

    /// A state in full, of an id that this gave, or [`EMPTY`].
    pub(super) fn get(&mut self, id: u64) -> &Entries {
        let mut redo = Vec::new();
        let mut target = id;
        while self.cursor != target {
            // A base has a smaller id than what is built on it, so the common one is reached from the larger ids.
            if self.cursor > target {
                let Some(node) = node(&self.nodes, self.cursor) else { break };
                for (key, change) in &node.changes {
                    put(&mut self.entries, key, change.old.as_ref());
                }
                self.cursor = node.base;
            } else {
                let Some(node) = node(&self.nodes, target) else { break };
                redo.push(target);
                target = node.base;
            }
        }
        for id in redo.into_iter().rev() {
            if let Some(node) = node(&self.nodes, id) {
                for (key, change) in &node.changes {
                    put(&mut self.entries, key, change.new.as_ref());
                }
                self.cursor = id;
            }
        }
        &self.entries
    }

    /// Consecutive numbers for the states of `used` and those that they build on.
    pub(super) fn number(&self, used: &BTreeSet<u64>) -> BTreeMap<u64, u64> {
        let mut kept = BTreeSet::new();
        for id in used {
            let mut id = *id;
            while let Some(node) = node(&self.nodes, id) {
                if !kept.insert(id) {
                    break;
                }
                id = node.base;
            }
        }
        kept.into_iter().zip(1..).collect()
    }

    /// The numbered states, as a dump has them.
    pub(super) fn dump(&self, numbers: &BTreeMap<u64, u64>) -> impl Iterator<Item = DumpState> {
        numbers.iter().filter_map(|(id, number)| {
            let node = node(&self.nodes, *id)?;
            let mut state = DumpState {
                id: *number,
                base: numbers.get(&node.base).copied(),
                set: Vec::new(),
                unset: Vec::new(),
            };
            for ((kind, state_key), change) in &node.changes {
                let (kind, state_key) = (kind.clone(), state_key.clone());
                match change.new.clone() {
                    Some(event_id) => state.set.push((kind, state_key, event_id)),
                    None => state.unset.push((kind, state_key)),
                }
            }
            Some(state)
        })
    }

    /// The events that the numbered states are made of.
    pub(super) fn event_ids(
        &self,
        numbers: &BTreeMap<u64, u64>,
    ) -> impl Iterator<Item = &OwnedEventId> {
        let nodes = numbers.keys().filter_map(|id| node(&self.nodes, *id));
        nodes.flat_map(|node| node.changes.values()).filter_map(|change| change.new.as_ref())
    }

    fn push(&mut self, base: u64, changes: BTreeMap<Key, Change>) -> u64 {
        self.nodes.push(Node { base, changes });
        u64::try_from(self.nodes.len()).unwrap_or(u64::MAX)
    }
}

fn node(nodes: &[Node], id: u64) -> Option<&Node> {
    nodes.get(usize::try_from(id.checked_sub(1)?).ok()?)
}

fn put(entries: &mut Entries, key: &Key, value: Option<&OwnedEventId>) {
    match value {
        Some(event_id) => entries.insert(key.clone(), event_id.clone()),
        None => entries.remove(key),
    };
}

fn difference(from: &Entries, to: &Entries) -> BTreeMap<Key, Change> {
    let gone = from.iter().filter(|(key, _)| !to.contains_key(*key));
    let gone = gone.map(|(key, old)| (key.clone(), Change { old: Some(old.clone()), new: None }));
    let new = to.iter().filter(|(key, new)| from.get(*key) != Some(*new)).map(|(key, new)| {
        (key.clone(), Change { old: from.get(key).cloned(), new: Some(new.clone()) })
    });
    gone.chain(new).collect()
}

#[cfg(test)]
mod tests;
