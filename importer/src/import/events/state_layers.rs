//! Room states as layers of differences, the way Conduit builds them.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use crate::{
    conduit::{
        schema::{
            state_diff::{CompressedEvent, StateDiff},
            trees,
        },
        store::{KvError, KvRead},
    },
    import::{ImportError, row_writer::Rows},
};

/// Most layers of a state below the newest (src/service/rooms/state_compressor/mod.rs:144-256).
const MAX_LAYERS: usize = 3;

/// A stored difference.
#[derive(Debug)]
struct Layer {
    short_state_hash: u64,
    added: BTreeSet<CompressedEvent>,
    removed: BTreeSet<CompressedEvent>,
}

impl Layer {
    fn size(&self) -> usize {
        self.added.len() + self.removed.len()
    }
}

/// A state: layers from the full one to the newest difference.
#[derive(Clone, Debug, Default)]
pub(in crate::import) struct State {
    layers: Vec<Rc<Layer>>,
}

impl State {
    /// A state that was stored before; `None` if it can't be read.
    pub(in crate::import) fn stored(
        hash: u64,
        store: &dyn KvRead,
    ) -> Result<Option<Self>, KvError> {
        let tree = &trees::SHORTSTATEHASH_STATEDIFF;
        let mut layers = Vec::new();
        let mut next = hash;
        while next != 0 {
            // Conduit writes four (src/service/rooms/state_compressor/mod.rs:144-256); a chain without an end is damage.
            let value = store.get(tree, &next.to_be_bytes())?;
            let Some(value) = value.filter(|_| layers.len() <= 2 * MAX_LAYERS) else {
                return Ok(None);
            };
            let Ok(stored) = tree.read_value(&[], &value) else { return Ok(None) };
            let Some(diff) = StateDiff::decode(stored.parent, &stored.diff) else {
                return Ok(None);
            };
            layers.push(Rc::new(Layer {
                short_state_hash: next,
                added: diff.added.into_iter().collect(),
                removed: diff.removed.into_iter().collect(),
            }));
            next = diff.parent;
        }
        layers.reverse();
        Ok(Some(Self { layers }))
    }

    /// The id of the state; 0 for the empty one.
    pub(in crate::import) fn short_state_hash(&self) -> u64 {
        self.layers.last().map_or(0, |layer| layer.short_state_hash)
    }

    /// The short event id at a short state key.
    pub(in crate::import) fn get(&self, short_state_key: u64) -> Option<u64> {
        for layer in self.layers.iter().rev() {
            if let Some(event) = at(&layer.added, short_state_key) {
                return Some(event);
            }
            if at(&layer.removed, short_state_key).is_some() {
                return None;
            }
        }
        None
    }

    /// All entries.
    pub(in crate::import) fn entries(&self) -> BTreeMap<u64, u64> {
        let mut entries = BTreeMap::new();
        for layer in &self.layers {
            for (key, _) in &layer.removed {
                entries.remove(key);
            }
            entries.extend(layer.added.iter().copied());
        }
        entries
    }

    /// Stores this state with some entries changed: to another event, or to none. A layer that would be too large for its
    /// place is folded together with the one below.
    pub(in crate::import) fn change(
        &self,
        changes: &BTreeMap<u64, Option<u64>>,
        rows: &mut Rows<'_>,
    ) -> Result<Self, ImportError> {
        let mut added = BTreeSet::new();
        let mut removed = BTreeSet::new();
        for (key, new) in changes {
            let old = self.get(*key);
            if old == *new {
                continue;
            }
            added.extend(new.map(|event| (*key, event)));
            removed.extend(old.map(|event| (*key, event)));
        }
        if added.is_empty() && removed.is_empty() && !self.layers.is_empty() {
            return Ok(self.clone());
        }
        let mut layers = self.layers.clone();
        while let Some(top) = layers.last() {
            let size = added.len() + removed.len();
            if fits(size, layers.len(), layers.first().map_or(0, |full| full.size())) {
                break;
            }
            (added, removed) = fold(top, &added, &removed);
            layers.pop();
        }
        let layer = Layer { short_state_hash: rows.next(), added, removed };
        let diff = StateDiff {
            parent: layers.last().map_or(0, |layer| layer.short_state_hash),
            added: layer.added.iter().copied().collect(),
            removed: layer.removed.iter().copied().collect(),
        };
        let key = layer.short_state_hash.to_be_bytes().to_vec();
        rows.put_raw(&trees::SHORTSTATEHASH_STATEDIFF, key, diff.encode())?;
        layers.push(Rc::new(layer));
        Ok(Self { layers })
    }
}

/// Whether a layer of that size may lie on so many others, of which the lowest has the size `full`. The limits are the third,
/// second and first power of the fourth root of `full`: what is written for a change, its own row and its share in the
/// layers that are folded, then grows with that root alone. Conduit's own formula makes it grow with the square root.
fn fits(size: usize, below: usize, full: usize) -> bool {
    let power = |number: usize, exponent| {
        u128::try_from(number).unwrap_or(u128::MAX).saturating_pow(exponent)
    };
    match below {
        1 => power(size, 4) <= power(full, 3),
        2 => power(size, 2) <= power(full, 1),
        MAX_LAYERS => power(size, 4) <= power(full, 1),
        _ => false,
    }
}

fn at(events: &BTreeSet<CompressedEvent>, key: u64) -> Option<u64> {
    events.range((key, 0)..=(key, u64::MAX)).next().map(|(_, event)| *event)
}

/// One difference that does what `top` and then the other one do.
fn fold(
    top: &Layer,
    added: &BTreeSet<CompressedEvent>,
    removed: &BTreeSet<CompressedEvent>,
) -> (BTreeSet<CompressedEvent>, BTreeSet<CompressedEvent>) {
    let (mut all_added, mut all_removed) = (top.added.clone(), top.removed.clone());
    for event in removed {
        if !all_added.remove(event) {
            all_removed.insert(*event);
        }
    }
    for event in added {
        if !all_removed.remove(event) {
            all_added.insert(*event);
        }
    }
    (all_added, all_removed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        conduit::store::{KvLoad as _, memory::MemoryStore},
        import::row_writer::START,
    };

    /// Expands a stored state by Conduit's rule, and says how many rows that took.
    fn expand(store: &MemoryStore, hash: u64) -> (BTreeSet<CompressedEvent>, usize) {
        let tree = &trees::SHORTSTATEHASH_STATEDIFF;
        let value = store.get(tree, &hash.to_be_bytes()).unwrap().unwrap();
        let stored = tree.read_value(&[], &value).unwrap();
        let diff = StateDiff::decode(stored.parent, &stored.diff).unwrap();
        let (mut state, rows) =
            if diff.parent == 0 { (BTreeSet::new(), 0) } else { expand(store, diff.parent) };
        state.extend(diff.added);
        state.retain(|event| !diff.removed.contains(event));
        (state, rows + 1)
    }

    fn check(steps: &[Vec<(u64, Option<u64>)>]) {
        let mut store = MemoryStore::default();
        let mut rows = Rows::new(&mut store);
        let mut expected = BTreeMap::new();
        let mut state = State::default();
        let mut states = Vec::new();
        for step in steps {
            let changes: BTreeMap<_, _> = step.iter().copied().collect();
            for (key, event) in &changes {
                match event {
                    Some(event) => expected.insert(*key, *event),
                    None => expected.remove(key),
                };
            }
            state = state.change(&changes, &mut rows).unwrap();
            assert_eq!(state.entries(), expected);
            for key in changes.keys() {
                assert_eq!(state.get(*key), expected.get(key).copied());
            }
            states.push((state.short_state_hash(), expected.clone()));
        }
        rows.flush().unwrap();
        for (hash, expected) in &states {
            let read = State::stored(*hash, &store).unwrap().unwrap();
            assert_eq!((read.short_state_hash(), &read.entries()), (*hash, expected));
        }
        for (hash, expected) in states {
            let (expanded, layers) = expand(&store, hash);
            assert_eq!(expanded, expected.into_iter().collect());
            assert!(layers <= MAX_LAYERS + 1, "{layers} layers");
        }
    }

    #[test]
    fn a_large_room_stays_shallow() {
        let everybody = (1..2000).map(|key| (key, Some(key + 10_000))).collect();
        let changes = (1..300).map(|n| vec![(n * 3, Some(n + 50_000)), (n, None)]);
        check(&std::iter::once(everybody).chain(changes).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_written_hardly_grows_with_the_room() {
        let written = |members: u64| {
            let mut store = MemoryStore::default();
            let mut rows = Rows::new(&mut store);
            let everybody = (1..=members).map(|key| (key, Some(key))).collect();
            let mut state = State::default().change(&everybody, &mut rows).unwrap();
            for change in 0..5000 {
                let key = change % members + 1;
                let changes = BTreeMap::from([(key, Some(members + change))]);
                state = state.change(&changes, &mut rows).unwrap();
            }
            rows.flush().unwrap();
            let rows = store.scan(&trees::SHORTSTATEHASH_STATEDIFF, &[]).unwrap();
            let bytes: usize = rows.map(|row| row.unwrap().1.len()).sum();
            bytes - usize::try_from(members).unwrap() * 16
        };
        // Bytes of 5000 changes.
        let (small, large) = (written(100), written(100_000));
        assert!(large < small * 6, "{small} and {large}");
        assert!(large < 5000 * 1500, "{large}");
    }

    /// The stored differences: hash, parent, what is added and what is removed.
    fn layers(store: &MemoryStore) -> Vec<(u64, u64, Vec<CompressedEvent>, Vec<CompressedEvent>)> {
        let tree = &trees::SHORTSTATEHASH_STATEDIFF;
        let rows = store.scan(tree, &[]).unwrap();
        rows.map(|row| {
            let (key, value) = row.unwrap();
            let stored = tree.read_value(&key, &value).unwrap();
            let diff = StateDiff::decode(stored.parent, &stored.diff).unwrap();
            let hash = u64::from_be_bytes(key.as_ref().try_into().unwrap());
            let from_start = |hash: u64| hash.saturating_sub(START);
            (from_start(hash), from_start(diff.parent), diff.added, diff.removed)
        })
        .collect()
    }

    #[test]
    fn a_fourth_small_change_folds_the_others() {
        let mut store = MemoryStore::default();
        let mut rows = Rows::new(&mut store);
        let full: BTreeMap<u64, Option<u64>> = (1..=16).map(|key| (key, Some(100 + key))).collect();
        let mut state = State::default().change(&full, &mut rows).unwrap();
        for key in 1..=4 {
            state = state.change(&[(key, Some(200 + key))].into(), &mut rows).unwrap();
        }
        rows.flush().unwrap();
        let pair = |base: u64| move |key: u64| (key, base + key);
        let changed = |keys: std::ops::RangeInclusive<u64>| {
            let new = keys.clone().map(pair(200)).collect::<Vec<_>>();
            (new, keys.map(pair(100)).collect::<Vec<_>>())
        };
        let layer = |hash, parent, (added, removed)| (hash, parent, added, removed);
        let expected = [
            layer(1, 0, ((1..=16).map(pair(100)).collect(), vec![])),
            layer(2, 1, changed(1..=1)),
            layer(3, 2, changed(2..=2)),
            layer(4, 3, changed(3..=3)),
            layer(5, 1, changed(1..=4)),
        ];
        assert_eq!(layers(&store), expected);
    }

    #[test]
    fn a_state_that_changes_nothing_is_the_same_but_the_first_is_stored() {
        let mut store = MemoryStore::default();
        let mut rows = Rows::new(&mut store);
        let empty = State::default().change(&BTreeMap::new(), &mut rows).unwrap();
        let one = empty.change(&[(1, Some(7))].into(), &mut rows).unwrap();
        let same = one.change(&[(1, Some(7)), (2, None)].into(), &mut rows).unwrap();
        let other = same.change(&[(1, None)].into(), &mut rows).unwrap();
        rows.flush().unwrap();
        let hashes = [empty, one, same, other].map(|state| state.short_state_hash() - START);
        assert_eq!(hashes, [1, 2, 2, 3]);
        let expected =
            [(1, 0, vec![], vec![]), (2, 0, vec![(1, 7)], vec![]), (3, 2, vec![], vec![(1, 7)])];
        assert_eq!(layers(&store), expected);
    }

    #[test]
    fn a_chain_that_is_damaged_is_no_state() {
        let layer = |hash: u64, parent: u64| {
            let diff = StateDiff { parent, added: vec![(hash, hash)], removed: Vec::new() };
            let tree = &trees::SHORTSTATEHASH_STATEDIFF;
            crate::conduit::store::Row {
                tree,
                key: hash.to_be_bytes().into(),
                value: diff.encode(),
            }
        };
        let mut store = MemoryStore::default();
        // A whole chain; one whose end is missing; one that bites its tail.
        let rows = [layer(1, 0), layer(2, 1), layer(3, 9), layer(4, 5), layer(5, 4)];
        store.write(rows.into()).unwrap();
        let entries = |hash| Some(State::stored(hash, &store).unwrap()?.entries());
        assert_eq!(entries(2), Some([(1, 1), (2, 2)].into()));
        assert_eq!([3, 4, 9].map(entries), [None, None, None]);
        assert_eq!(entries(0), Some(BTreeMap::new()));
    }

    proptest! {
        #[test]
        fn any_changes_expand_to_what_they_say(
            steps in proptest::collection::vec(
                proptest::collection::vec((1..6_u64, proptest::option::of(1..4_u64)), 0..5), 1..30)
        ) {
            check(&steps);
        }
    }
}
