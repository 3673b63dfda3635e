//! States as Conduit stores them: differences in layers, looked at without putting them together.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

use crate::{
    conduit::{
        schema::{
            state_diff::{CompressedEvent, StateDiff},
            trees,
        },
        store::KvRead,
    },
    verify::VerifyError,
};

/// More layers than any Conduit writes; a longer chain is a cycle or damage.
const MAX_LAYERS: usize = 100;
/// Layers that are kept, and entries of them all. States build on recent ones.
const KEPT_LAYERS: usize = 64;
const KEPT_ENTRIES: usize = 1 << 20;

/// A state in short ids: state key to event.
pub(in crate::verify) type Compressed = BTreeMap<u64, u64>;

/// A stored difference.
#[derive(Debug)]
pub(in crate::verify) struct Layer {
    hash: u64,
    parent: u64,
    /// Sorted, as `removed`.
    added: Vec<CompressedEvent>,
    removed: Vec<CompressedEvent>,
}

impl Layer {
    fn size(&self) -> usize {
        self.added.len() + self.removed.len()
    }

    fn keys(&self) -> impl Iterator<Item = u64> {
        self.added.iter().chain(&self.removed).map(|(key, _)| *key)
    }
}

/// A state: its layers, newest first; none is the empty state.
#[derive(Clone, Debug, Default)]
pub(in crate::verify) struct State(Vec<Rc<Layer>>);

impl State {
    /// The event at a state key.
    pub(in crate::verify) fn get(&self, key: u64) -> Option<u64> {
        for layer in &self.0 {
            if let Some(event) = at(&layer.added, key) {
                return Some(event);
            }
            if at(&layer.removed, key).is_some() {
                return None;
            }
        }
        None
    }

    /// Whether its newest layer leaves at most one event for each key, if those below do.
    pub(in crate::verify) fn is_sound(&self) -> bool {
        let Some((layer, below)) = self.0.split_first() else { return true };
        let below = Self(below.to_vec());
        let one_a_key = layer.added.is_sorted_by(|(a, _), (b, _)| a < b);
        one_a_key
            && layer.added.iter().all(|(key, event)| {
                below.get(*key).is_none_or(|earlier| {
                    earlier == *event || layer.removed.binary_search(&(*key, earlier)).is_ok()
                })
            })
    }

    /// Keys at which two states may differ: those of the layers that only one of them has.
    pub(in crate::verify) fn differing(&self, other: &Self) -> BTreeSet<u64> {
        let shared = self.0.iter().find(|layer| other.0.iter().any(|o| o.hash == layer.hash));
        let shared = shared.map(|layer| layer.hash);
        let own = |state: &Self| -> Vec<Rc<Layer>> {
            state.0.iter().take_while(|layer| Some(layer.hash) != shared).cloned().collect()
        };
        own(self).iter().chain(&own(other)).flat_map(|layer| layer.keys()).collect()
    }

    /// All entries.
    pub(in crate::verify) fn entries(&self) -> Compressed {
        let mut entries = Compressed::new();
        for layer in self.0.iter().rev() {
            for (key, event) in &layer.removed {
                if entries.get(key) == Some(event) {
                    entries.remove(key);
                }
            }
            entries.extend(layer.added.iter().copied());
        }
        entries
    }
}

fn at(events: &[CompressedEvent], key: u64) -> Option<u64> {
    let from = events.partition_point(|(found, _)| *found < key);
    events.get(from).filter(|(found, _)| *found == key).map(|(_, event)| *event)
}

/// The states of a database.
pub(in crate::verify) struct Layers<'a> {
    store: &'a dyn KvRead,
    /// Used last, first.
    recent: VecDeque<Rc<Layer>>,
    entries: usize,
}

impl<'a> Layers<'a> {
    pub(in crate::verify) fn new(store: &'a dyn KvRead) -> Self {
        Self { store, recent: VecDeque::new(), entries: 0 }
    }

    /// The database.
    pub(in crate::verify) fn store(&self) -> &'a dyn KvRead {
        self.store
    }

    /// The state of that number; `None` if a layer is missing or no difference.
    pub(in crate::verify) fn state(&mut self, hash: u64) -> Result<Option<State>, VerifyError> {
        let mut layers = Vec::new();
        let mut next = hash;
        while next != 0 {
            if layers.len() >= MAX_LAYERS {
                return Ok(None);
            }
            let Some(layer) = self.layer(next)? else { return Ok(None) };
            next = layer.parent;
            layers.push(layer);
        }
        Ok(Some(State(layers)))
    }

    /// As [`Self::state`], and `None` if the state has two events for a key.
    pub(in crate::verify) fn sound(&mut self, hash: u64) -> Result<Option<State>, VerifyError> {
        let Some(state) = self.state(hash)? else { return Ok(None) };
        let sound = (0..state.0.len())
            .all(|layer| State(state.0.get(layer..).unwrap_or_default().to_vec()).is_sound());
        Ok(sound.then_some(state))
    }

    fn layer(&mut self, hash: u64) -> Result<Option<Rc<Layer>>, VerifyError> {
        if let Some(at) = self.recent.iter().position(|layer| layer.hash == hash) {
            let layer = self.recent.remove(at);
            if let Some(layer) = &layer {
                self.recent.push_front(layer.clone());
            }
            return Ok(layer);
        }
        let Some(diff) = diff(self.store, hash)? else { return Ok(None) };
        Ok(Some(self.keep(hash, diff)))
    }

    /// Keeps a difference that was read.
    pub(in crate::verify) fn offer(&mut self, hash: u64, diff: StateDiff) {
        drop(self.keep(hash, diff));
    }

    fn keep(&mut self, hash: u64, diff: StateDiff) -> Rc<Layer> {
        let StateDiff { parent, mut added, mut removed } = diff;
        added.sort_unstable();
        removed.sort_unstable();
        let layer = Rc::new(Layer { hash, parent, added, removed });
        self.entries += layer.size();
        self.recent.push_front(layer.clone());
        while self.recent.len() > KEPT_LAYERS
            || (self.entries > KEPT_ENTRIES && self.recent.len() > 1)
        {
            let old = self.recent.pop_back();
            self.entries = self.entries.saturating_sub(old.map_or(0, |old| old.size()));
        }
        layer
    }
}

/// A stored difference.
fn diff(store: &dyn KvRead, hash: u64) -> Result<Option<StateDiff>, VerifyError> {
    let value = store.get(&trees::SHORTSTATEHASH_STATEDIFF, &hash.to_be_bytes())?;
    Ok(value.and_then(|value| decode(&value)))
}

/// A difference from its bytes.
pub(in crate::verify) fn decode(value: &[u8]) -> Option<StateDiff> {
    let row = trees::SHORTSTATEHASH_STATEDIFF.read_value(&[], value).ok()?;
    StateDiff::decode(row.parent, &row.diff)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conduit::store::{KvLoad as _, Row, memory::MemoryStore};

    fn put(store: &mut MemoryStore, hash: u64, diff: &StateDiff) {
        let (tree, key) = (&trees::SHORTSTATEHASH_STATEDIFF, hash.to_be_bytes().to_vec());
        store.write(vec![Row { tree, key, value: diff.encode() }]).unwrap();
    }

    /// An earlier state, and keys with their new events.
    type Step = (u64, Vec<(u64, Option<u64>)>);

    /// Stores states, each a change of an earlier one; what they expand to.
    fn states(store: &mut MemoryStore, steps: &[Step]) -> Vec<Compressed> {
        let mut expanded = vec![Compressed::new()];
        for (hash, (base, changes)) in (1_u64..).zip(steps) {
            let parent = base.checked_rem(hash).unwrap();
            let before = &expanded[usize::try_from(parent).unwrap()];
            let mut after = before.clone();
            for (key, event) in changes {
                match event {
                    Some(event) => after.insert(*key, *event),
                    None => after.remove(key),
                };
            }
            let lacks = |other: &Compressed, key, event| other.get(key) != Some(event);
            let added = after.iter().filter(|(key, event)| lacks(before, *key, *event));
            let removed = before.iter().filter(|(key, event)| lacks(&after, *key, *event));
            let pairs = |entries: Vec<(&u64, &u64)>| {
                entries.into_iter().map(|(key, event)| (*key, *event)).collect()
            };
            let diff = StateDiff {
                parent,
                added: pairs(added.collect()),
                removed: pairs(removed.collect()),
            };
            put(store, hash, &diff);
            expanded.push(after);
        }
        expanded
    }

    proptest! {
        #[test]
        fn layers_say_what_the_whole_state_says(
            steps in proptest::collection::vec(
                (any::<u64>(), proptest::collection::vec((1..6_u64, proptest::option::of(1..4_u64)), 0..5)),
                1..20,
            )
        ) {
            let mut store = MemoryStore::default();
            let expanded = states(&mut store, &steps);
            let mut layers = Layers::new(&store);
            let states: Vec<_> =
                (0_u64..).zip(&expanded).map(|(hash, _)| layers.sound(hash).unwrap().unwrap()).collect();
            for (state, whole) in states.iter().zip(&expanded) {
                assert_eq!(state.entries(), *whole);
                for key in 0..7 {
                    assert_eq!(state.get(key), whole.get(&key).copied());
                }
                for (other, other_whole) in states.iter().zip(&expanded) {
                    let keys = state.differing(other);
                    for key in (0..7).filter(|key| !keys.contains(key)) {
                        assert_eq!(whole.get(&key), other_whole.get(&key));
                    }
                }
            }
        }
    }

    #[test]
    fn two_events_for_a_key_a_cycle_and_a_missing_layer_are_noticed() {
        let mut store = MemoryStore::default();
        let diff = |parent, added: &[CompressedEvent], removed: &[CompressedEvent]| StateDiff {
            parent,
            added: added.into(),
            removed: removed.into(),
        };
        put(&mut store, 1, &diff(0, &[(1, 10), (2, 20)], &[]));
        put(&mut store, 2, &diff(1, &[(1, 11)], &[]));
        put(&mut store, 3, &diff(1, &[(1, 11)], &[(1, 10)]));
        put(&mut store, 4, &diff(0, &[(1, 10), (1, 11)], &[]));
        put(&mut store, 5, &diff(5, &[], &[]));
        put(&mut store, 6, &diff(99, &[], &[]));
        put(&mut store, 7, &diff(2, &[(3, 30)], &[]));
        let mut layers = Layers::new(&store);
        let sound = [1, 2, 3, 4, 5, 6, 7].map(|hash| layers.sound(hash).unwrap().is_some());
        assert_eq!(sound, [true, false, true, false, false, false, false]);
        assert!(layers.state(5).unwrap().is_none());
    }
}
