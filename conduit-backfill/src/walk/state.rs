//! States of a page, as differences from one that is known whole.
//!
//! Two states may have different bases: those of a page with the create event have the empty state.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{EventId, OwnedEventId};

use crate::host::{StateBefore, StateKey, StateMap};

/// A state: another one with changes.
#[derive(Clone, Debug)]
pub(crate) struct State {
    base: Arc<StateMap>,
    /// What differs from the base, and only that; `None` is an entry that is not there.
    changes: Arc<BTreeMap<StateKey, Option<OwnedEventId>>>,
}

impl State {
    /// The base itself.
    pub(crate) fn new(base: Arc<StateMap>) -> Self {
        Self { base, changes: Arc::default() }
    }

    /// What an upstream lists: `removed` from the base and `added` to it.
    pub(crate) fn listed(
        base: Arc<StateMap>,
        removed: Vec<StateKey>,
        added: BTreeMap<StateKey, OwnedEventId>,
    ) -> Self {
        let mut changes: BTreeMap<_, _> = removed.into_iter().map(|key| (key, None)).collect();
        changes.extend(added.into_iter().map(|(key, id)| (key, Some(id))));
        Self { base, changes: Arc::new(changes) }
    }

    pub(crate) fn get(&self, key: &StateKey) -> Option<&OwnedEventId> {
        match self.changes.get(key) {
            Some(change) => change.as_ref(),
            None => self.base.get(key),
        }
    }

    /// The state after a state event.
    pub(crate) fn with(&self, key: StateKey, event: &EventId) -> Self {
        let mut changes = BTreeMap::clone(&self.changes);
        if self.base.get(&key).is_some_and(|id| id == event) {
            changes.remove(&key);
        } else {
            changes.insert(key, Some(event.to_owned()));
        }
        Self { base: self.base.clone(), changes: Arc::new(changes) }
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.base, &other.base) {
            return self.changes == other.changes;
        }
        self.whole() == other.whole()
    }

    /// This state, said as changes of another event's if they have the same base.
    pub(crate) fn since(&self, from: &EventId, earlier: &Self) -> StateBefore {
        if !Arc::ptr_eq(&self.base, &earlier.base) {
            return StateBefore::Whole(self.whole());
        }
        let mut set = StateMap::new();
        let mut unset = BTreeSet::new();
        if !Arc::ptr_eq(&self.changes, &earlier.changes) {
            for key in self.changes.keys().chain(earlier.changes.keys()) {
                match (self.get(key), earlier.get(key)) {
                    (Some(id), other) if other != Some(id) => {
                        set.insert(key.clone(), id.clone());
                    }
                    (None, Some(_)) => {
                        unset.insert(key.clone());
                    }
                    _ => {}
                }
            }
        }
        StateBefore::Changed { from: from.to_owned(), set, unset }
    }

    /// All entries.
    pub(crate) fn whole(&self) -> StateMap {
        let mut whole = StateMap::clone(&self.base);
        apply(&mut whole, &self.changes);
        whole
    }

    /// All entries, without a copy if nobody else has the base.
    pub(crate) fn into_whole(self) -> StateMap {
        let Self { base, changes } = self;
        let mut whole = Arc::try_unwrap(base).unwrap_or_else(|base| StateMap::clone(&base));
        apply(&mut whole, &changes);
        whole
    }
}

fn apply(whole: &mut StateMap, changes: &BTreeMap<StateKey, Option<OwnedEventId>>) {
    for (key, change) in changes {
        match change {
            Some(id) => whole.insert(key.clone(), id.clone()),
            None => whole.remove(key),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::Arc,
    };

    use ruma::{OwnedEventId, owned_event_id};

    use super::State;
    use crate::host::{StateBefore, StateKey, StateMap};

    fn key(kind: &str) -> StateKey {
        (kind.to_owned(), String::new())
    }

    fn base() -> (Arc<StateMap>, OwnedEventId, OwnedEventId) {
        let (a, b) = (owned_event_id!("$a"), owned_event_id!("$b"));
        (Arc::new(StateMap::from([(key("a"), a.clone()), (key("b"), b.clone())])), a, b)
    }

    #[test]
    fn a_change_back_is_no_change() {
        let (base, a, _) = base();
        let state = State::new(base);
        let changed = state.with(key("a"), &owned_event_id!("$other"));
        assert!(!changed.is_same(&state));
        assert!(changed.with(key("a"), &a).is_same(&state));
    }

    #[test]
    fn a_state_is_said_as_changes_of_an_earlier_one() {
        let (base, a, b) = base();
        let new = owned_event_id!("$new");
        let listed =
            State::listed(base.clone(), vec![key("a")], BTreeMap::from([(key("c"), new.clone())]));
        let expected = StateMap::from([(key("b"), b), (key("c"), new.clone())]);
        assert_eq!(listed.whole(), expected);
        assert_eq!(listed.clone().into_whole(), expected);

        let from = owned_event_id!("$from");
        let changed = |set: &[(&str, &OwnedEventId)], unset: &[&str]| StateBefore::Changed {
            from: from.clone(),
            set: set.iter().map(|(kind, id)| (key(kind), (*id).clone())).collect(),
            unset: unset.iter().map(|kind| key(kind)).collect::<BTreeSet<_>>(),
        };
        let state = State::new(base);
        assert_eq!(listed.since(&from, &state), changed(&[("c", &new)], &["a"]));
        assert_eq!(state.since(&from, &listed), changed(&[("a", &a)], &["c"]));
        assert_eq!(state.since(&from, &state.clone()), changed(&[], &[]));
    }
}
