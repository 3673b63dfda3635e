use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ruma::OwnedEventId;

use super::{EMPTY, Entries, StateTree};
use crate::dump::format::DumpState;

fn id(number: u8) -> OwnedEventId {
    format!("$e{number}").try_into().unwrap()
}

fn key(number: u8) -> (String, String) {
    ("type".to_owned(), number.to_string())
}

fn entries(pairs: &[(u8, u8)]) -> Entries {
    pairs.iter().map(|(k, v)| (key(*k), id(*v))).collect()
}

/// What a reader of the dump makes of the states.
fn expand(states: impl Iterator<Item = DumpState>) -> BTreeMap<u64, Entries> {
    let mut all: BTreeMap<u64, Entries> = BTreeMap::new();
    for (number, state) in (1..).zip(states) {
        assert_eq!(state.id, number);
        let mut entries = state.base.map_or_else(Entries::new, |base| all[&base].clone());
        for key in state.unset {
            assert!(entries.remove(&key).is_some());
        }
        for (kind, state_key, event_id) in state.set {
            assert_ne!(entries.insert((kind, state_key), event_id.clone()), Some(event_id));
        }
        all.insert(number, entries);
    }
    all
}

#[test]
fn branches_are_told_as_differences_to_where_they_began() {
    let mut states = StateTree::default();
    let root = states.with(EMPTY, key(1), id(1));
    let left = states.with(root, key(1), id(2));
    let right = states.with(root, key(2), id(3));
    assert_eq!(states.with(right, key(2), id(3)), right);
    assert_eq!(*states.get(left), entries(&[(1, 2)]));
    assert_eq!(*states.get(right), entries(&[(1, 1), (2, 3)]));
    assert_eq!(*states.get(EMPTY), entries(&[]));
    assert_eq!(states.whole(&[left, right], &entries(&[(1, 1), (2, 3)])), right);
    let merged = states.whole(&[left, right], &entries(&[(2, 3)]));
    assert_eq!(*states.get(merged), entries(&[(2, 3)]));
}

#[test]
fn states_that_nobody_uses_are_left_out() {
    let mut states = StateTree::default();
    let root = states.with(EMPTY, key(1), id(1));
    let unused = states.with(root, key(2), id(2));
    let used = states.with(root, key(3), id(3));
    let numbers = states.number(&BTreeSet::from([used]));
    assert_eq!(numbers, BTreeMap::from([(root, 1), (used, 2)]));
    assert!(!numbers.contains_key(&unused));
    let dumped: Vec<_> = states.dump(&numbers).collect();
    assert_eq!(dumped.len(), 2);
    assert_eq!((dumped[1].id, dumped[1].base), (2, Some(1)));
    assert_eq!(states.event_ids(&numbers).cloned().collect::<Vec<_>>(), [id(1), id(3)]);
}

proptest! {
    #[test]
    fn whatever_way_the_cursor_goes_each_state_stays_what_it_was(
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, 0..6_u8, any::<bool>()), 1..40),
    ) {
        let mut states = StateTree::default();
        let mut expected = BTreeMap::from([(EMPTY, Entries::new())]);
        for (base, k, v, whole) in steps {
            let ids: Vec<u64> = expected.keys().copied().collect();
            let base = *base.get(&ids);
            let mut entries = expected[&base].clone();
            let state = if whole {
                entries.remove(&key(k));
                entries.insert(key(v), id(k));
                states.whole(&[base], &entries)
            } else {
                entries.insert(key(k), id(v));
                states.with(base, key(k), id(v))
            };
            expected.insert(state, entries);
        }
        for (state, entries) in expected.iter().rev() {
            prop_assert_eq!(states.get(*state), entries);
        }
        let numbers = states.number(&expected.keys().copied().collect());
        let dumped = expand(states.dump(&numbers));
        for (state, number) in &numbers {
            prop_assert_eq!(&dumped[number], &expected[state]);
        }
    }
}
