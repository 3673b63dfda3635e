//! States of a room as differences.
//!
//! Synapse keeps states as groups: a group has some entries of its own, and the rest in the group before it
//! (`state_group_edges`), at most a hundred steps long. A group adds and replaces entries, and never takes one away.

use std::collections::BTreeMap;

use ruma::{EventId, OwnedEventId};

use super::{
    super::{DatabaseError, connection::Connection, items::count},
    Before, StoredEvent,
};
use crate::dump::format::DumpState;

/// Groups that one may be made of. Synapse makes a whole group after 100.
const MAX_STEPS: usize = 10_000;

/// Event type and state key.
pub(super) type Key = (String, String);
/// A whole state.
pub(super) type Entries = BTreeMap<Key, OwnedEventId>;

/// The states met so far, and one of them in full.
#[derive(Debug, Default)]
pub(super) struct States {
    entries: Entries,
    /// What `entries` is, as long as nothing is changed: a group of Synapse's.
    group: Option<i64>,
    /// An entry that differs from `group`, with the group's own value.
    changed: Option<(Key, Option<OwnedEventId>)>,
    /// A group that should be `group` and one entry more: that after the last event.
    next: Option<(i64, Key, OwnedEventId)>,
    /// Entries touched since the state with the id `base`, with their values in it.
    touched: BTreeMap<Key, Option<OwnedEventId>>,
    base: Option<u64>,
    last_id: u64,
    groups: BTreeMap<i64, u64>,
    /// States that are no group, by the event they come before.
    others: BTreeMap<OwnedEventId, u64>,
}

/// The state before an event, as found by [`States::step`].
#[derive(Debug)]
pub(super) enum Step {
    /// None, or one that has been met.
    Known,
    /// One that has to be written.
    New(DumpState),
    /// The database does not hold it.
    Missing,
}

impl States {
    /// The first state, in full.
    pub(super) fn begin(&mut self, entries: Entries) -> DumpState {
        let set = entries.iter().map(entry).collect();
        self.entries = entries;
        self.last_id = 1;
        self.base = Some(1);
        DumpState { id: 1, base: None, set, unset: Vec::new() }
    }

    /// The id of the state before an event, once [`Self::step`] has met it.
    pub(super) fn known(&self, event_id: &EventId, before: &Before) -> Option<u64> {
        match before {
            Before::Nothing | Before::Missing => None,
            Before::Group(group) => self.groups.get(group).copied(),
            Before::Changed { .. } => self.others.get(event_id).copied(),
        }
    }

    /// Goes to the state before an event.
    pub(super) async fn step(
        &mut self,
        db: &mut Connection,
        event: &StoredEvent,
        before: Before,
    ) -> Result<Step, DatabaseError> {
        let (group, change) = match before {
            Before::Nothing => return Ok(Step::Known),
            Before::Missing => return Ok(Step::Missing),
            Before::Group(group) if self.groups.contains_key(&group) => {
                self.expect(group, event);
                return Ok(Step::Known);
            }
            Before::Group(group) => (group, None),
            Before::Changed { group, key, value } => (group, Some((key, value))),
        };
        if !self.go_to(db, group).await? {
            return Ok(Step::Missing);
        }
        let is_group = change.is_none();
        if let Some((key, value)) = change {
            self.changed = Some((key.clone(), self.entries.get(&key).cloned()));
            self.put(key, value);
        }
        let (id, state) = self.settle();
        if is_group {
            self.groups.insert(group, id);
            self.expect(group, event);
        } else {
            self.others.insert(event.event_id.clone(), id);
        }
        Ok(state.map_or(Step::Known, Step::New))
    }

    /// Notes what the group after an event should be, if `entries` is the group before it.
    fn expect(&mut self, before: i64, event: &StoredEvent) {
        let is_here = self.group == Some(before) && self.changed.is_none();
        self.next = match (event.group, event.state_entry()) {
            (Some(group), Some(key)) if is_here => Some((group, key, event.event_id.clone())),
            _ => None,
        };
    }

    /// Whether a group is what was expected: the state before an event and the event. Every hundredth group is a whole
    /// one; if it has the expected size and holds the event, it need not be read.
    async fn is_next(&self, db: &mut Connection, group: i64) -> Result<bool, DatabaseError> {
        let Some((_, key, event_id)) = self.next.as_ref().filter(|(next, _, _)| *next == group)
        else {
            return Ok(false);
        };
        let sql = "SELECT COUNT(*), MAX(CASE WHEN type = $2 AND state_key = $3 THEN event_id END) \
                   FROM state_groups_state WHERE state_group = $1";
        let params = [group.into(), key.0.as_str().into(), key.1.as_str().into()];
        let rows = db.rows("state_groups_state", sql, &params).await?;
        let found = rows.first().and_then(|row| row.decode::<(u64, Option<String>)>().ok());
        let new = usize::from(!self.entries.contains_key(key));
        let number = count(self.entries.len().saturating_add(new));
        Ok(found == Some((number, Some(event_id.to_string()))))
    }

    /// Makes `entries` a group's; *false* if the database does not hold it.
    async fn go_to(&mut self, db: &mut Connection, group: i64) -> Result<bool, DatabaseError> {
        if let Some((key, value)) = self.changed.take() {
            self.put(key, value);
        }
        if self.group == Some(group) {
            return Ok(self.is_room());
        }
        let Some((steps, reached)) = self.steps_to(db, group).await? else { return Ok(false) };
        let is_next = steps == [group] && !reached && self.is_next(db, group).await?;
        self.group = Some(group);
        if let (true, Some((_, key, event_id))) = (is_next, self.next.take()) {
            self.put(key, Some(event_id));
        } else if reached {
            for step in steps.into_iter().rev() {
                own_entries(db, step, |key, event_id| self.put(key, Some(event_id))).await?;
            }
        } else {
            let mut entries = Entries::new();
            for step in steps.into_iter().rev() {
                own_entries(db, step, |key, event_id| {
                    entries.insert(key, event_id);
                })
                .await?;
            }
            let gone: Vec<_> =
                self.entries.keys().filter(|key| !entries.contains_key(*key)).cloned().collect();
            for key in gone {
                self.put(key, None);
            }
            for (key, event_id) in entries {
                self.put(key, Some(event_id));
            }
        }
        Ok(self.is_room())
    }

    /// The groups that a group is made of, itself first, up to the present one (*true*) or to the end of the chain.
    async fn steps_to(
        &self,
        db: &mut Connection,
        group: i64,
    ) -> Result<Option<(Vec<i64>, bool)>, DatabaseError> {
        let sql = "SELECT prev_state_group FROM state_group_edges WHERE state_group = $1";
        let mut steps = vec![group];
        let mut step = group;
        while steps.len() < MAX_STEPS {
            let rows = db.rows("state_group_edges", sql, &[step.into()]).await?;
            match rows.first().and_then(|row| row.decode::<(i64,)>().ok()) {
                None => return Ok(Some((steps, false))),
                Some((previous,)) if self.group == Some(previous) => {
                    return Ok(Some((steps, true)));
                }
                Some((previous,)) => {
                    steps.push(previous);
                    step = previous;
                }
            }
        }
        Ok(None)
    }

    /// A state without a create event is one that has been lost.
    fn is_room(&self) -> bool {
        self.entries.contains_key(&("m.room.create".to_owned(), String::new()))
    }

    fn put(&mut self, key: Key, value: Option<OwnedEventId>) {
        let old = match value {
            Some(event_id) => self.entries.insert(key.clone(), event_id),
            None => self.entries.remove(&key),
        };
        self.touched.entry(key).or_insert(old);
    }

    /// The id of `entries`, and what to write if they differ from the last one.
    fn settle(&mut self) -> (u64, Option<DumpState>) {
        let mut set = Vec::new();
        let mut unset = Vec::new();
        for (key, old) in std::mem::take(&mut self.touched) {
            match self.entries.get(&key) {
                new if new == old.as_ref() => {}
                Some(event_id) => set.push(entry((&key, event_id))),
                None => unset.push(key),
            }
        }
        if let (Some(base), true) = (self.base, set.is_empty() && unset.is_empty()) {
            return (base, None);
        }
        let id = self.last_id.saturating_add(1);
        self.last_id = id;
        let mut base = self.base.replace(id);
        // A far jump is shorter told from the beginning.
        if set.len().saturating_add(unset.len()) > self.entries.len() {
            base = None;
            set = self.entries.iter().map(entry).collect();
            unset = Vec::new();
        }
        (id, Some(DumpState { id, base, set, unset }))
    }
}

fn entry((key, event_id): (&Key, &OwnedEventId)) -> (String, String, OwnedEventId) {
    (key.0.clone(), key.1.clone(), event_id.clone())
}

/// The entries that a group has of its own.
async fn own_entries(
    db: &mut Connection,
    group: i64,
    mut each: impl FnMut(Key, OwnedEventId) + Send,
) -> Result<(), DatabaseError> {
    let sql = "SELECT type, state_key, event_id FROM state_groups_state WHERE state_group = $1";
    db.each("state_groups_state", sql, &[group.into()], |row| {
        if let Ok((kind, state_key, event_id)) = row.decode::<(String, String, OwnedEventId)>() {
            each((kind, state_key), event_id);
        }
    })
    .await
}

/// A group in full, for a room's head.
pub(super) async fn whole(db: &mut Connection, group: i64) -> Result<Entries, DatabaseError> {
    let mut states = States::default();
    states.go_to(db, group).await?;
    Ok(states.entries)
}
