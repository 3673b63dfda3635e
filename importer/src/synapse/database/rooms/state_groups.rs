//! States of a room as differences.
//!
//! Synapse keeps states as groups: a group has some entries of its own, and the rest in the group before it
//! (`state_group_edges`), at most a hundred steps long. A group adds and replaces entries, and never takes one away.
//! So groups are a tree, and the states of the dump are the same tree: no group is read twice, and only the state at the cursor is
//! held in full. Every hundredth group is a whole one; the dump has it as a difference, too.

mod chain;
mod cursor;

use std::collections::BTreeMap;

use ruma::OwnedEventId;

pub(super) use self::chain::{StateGroups, whole};
use self::{chain::Chain, cursor::StateCursor};
use super::{
    super::{DatabaseError, connection::Connection, counter::count},
    state_before::StateBefore,
    stored_event::StoredEvent,
};
use crate::dump::format::DumpState;

/// Event type and state key.
pub(super) type Key = (String, String);
/// A whole state.
pub(super) type Entries = BTreeMap<Key, OwnedEventId>;

/// The states read so far, and a cursor that holds one of them in full.
#[derive(Debug, Default)]
pub(super) struct States {
    cursor: StateCursor,
    /// The group after the last event: it should be the state at the cursor and one entry more.
    next: Option<Next>,
    last_id: u64,
    groups: StateGroups,
    /// States by their groups; `None` if the database does not hold it.
    known: BTreeMap<i64, Option<u64>>,
}

#[derive(Debug)]
struct Next {
    after: u64,
    group: i64,
    key: Key,
    event_id: OwnedEventId,
}

/// The state before an event, as found by [`States::before`].
#[derive(Debug)]
pub(super) enum FoundState {
    /// None: the event is the room's first.
    Nothing,
    /// Its id.
    State(u64),
    /// The database does not hold it.
    Missing,
}

impl States {
    /// Lends the groups of several rooms that were read together. [`Self::returned`] gives them back.
    pub(super) fn lend(&mut self, groups: StateGroups) {
        self.groups = groups;
    }

    /// What was lent.
    pub(super) fn returned(&mut self) -> StateGroups {
        std::mem::take(&mut self.groups)
    }

    /// The first state, in full.
    pub(super) fn begin(&mut self, entries: Entries) -> DumpState {
        let set = entries.iter().map(entry).collect();
        self.last_id = 1;
        self.cursor = StateCursor::begin(1, entries);
        DumpState { id: 1, base: None, set, unset: Vec::new() }
    }

    /// How many there are.
    pub(super) fn number(&self) -> u64 {
        self.last_id
    }

    /// Reads what the groups of some events are made of, as far as that is not known.
    pub(super) async fn prepare(
        &mut self,
        db: &mut Connection,
        befores: &[StateBefore],
    ) -> Result<(), DatabaseError> {
        let mut groups: Vec<i64> = befores.iter().filter_map(StateBefore::group).collect();
        groups.sort_unstable();
        groups.dedup();
        groups.retain(|group| !self.known.contains_key(group));
        self.groups.read(db, groups, |group| self.known.contains_key(&group)).await
    }

    /// Moves the cursor to the state before an event. `write` gets the states that are new.
    pub(super) async fn before<E: From<DatabaseError>>(
        &mut self,
        db: &mut Connection,
        event: &StoredEvent<'_>,
        before: StateBefore,
        write: &mut (impl FnMut(&DumpState) -> Result<(), E> + Send),
    ) -> Result<FoundState, E> {
        let (group, change) = match before {
            StateBefore::Nothing => return Ok(FoundState::Nothing),
            StateBefore::Missing => return Ok(FoundState::Missing),
            StateBefore::Group(group) => (group, None),
            StateBefore::Changed { group, key, value } => (group, Some((key, value))),
        };
        let Some(id) = self.of_group(db, group, write).await? else {
            return Ok(FoundState::Missing);
        };
        if let Some((key, value)) = change {
            if !self.go_to(db, id, group).await? {
                return Ok(FoundState::Missing);
            }
            self.cursor.put(key, value);
            return Ok(FoundState::State(self.settle(write)?));
        }
        self.next = match (event.row.group, event.state_entry()) {
            (Some(group), Some(key)) if self.cursor.id() == id => {
                let event_id = event.row.event_id.clone();
                Some(Next { after: id, group, key, event_id })
            }
            _ => None,
        };
        Ok(FoundState::State(id))
    }

    /// The id of a group's state, which is new or known; `None` if the database does not hold it.
    async fn of_group<E: From<DatabaseError>>(
        &mut self,
        db: &mut Connection,
        group: i64,
        write: &mut (impl FnMut(&DumpState) -> Result<(), E> + Send),
    ) -> Result<Option<u64>, E> {
        if let Some(known) = self.known.get(&group) {
            return Ok(*known);
        }
        let found = self.enter(db, group).await?;
        let id = if found && self.cursor.is_room() {
            Some(self.settle(write)?)
        } else {
            self.cursor.give_up();
            None
        };
        self.known.insert(group, id);
        Ok(id)
    }

    /// Moves the cursor to a group that has not been read; *false* if the database does not hold it.
    async fn enter(&mut self, db: &mut Connection, group: i64) -> Result<bool, DatabaseError> {
        self.groups.read(db, vec![group], |group| self.known.contains_key(&group)).await?;
        let known = |group| self.known.get(&group).copied();
        match self.groups.chain(group, known) {
            Chain::Endless | Chain::From { id: None, .. } => Ok(false),
            Chain::From { id: Some(id), base, steps } => {
                if !self.go_to(db, id, base).await? {
                    return Ok(false);
                }
                for step in steps {
                    for (key, event_id) in self.groups.own(db, step).await? {
                        self.cursor.put(key, Some(event_id));
                    }
                }
                Ok(true)
            }
            Chain::Whole { steps } => {
                if steps == [group] && self.is_next(db, group).await? {
                    if let Some(Next { key, event_id, .. }) = self.next.take() {
                        self.cursor.put(key, Some(event_id));
                    }
                    return Ok(true);
                }
                let mut entries = Entries::new();
                for step in steps {
                    entries.extend(self.groups.own(db, step).await?);
                }
                self.cursor.become_state(entries);
                Ok(true)
            }
        }
    }

    /// Moves the cursor to the state of a group that has been read; *false* if the database does not hold it any more.
    async fn go_to(
        &mut self,
        db: &mut Connection,
        id: u64,
        group: i64,
    ) -> Result<bool, DatabaseError> {
        if !self.cursor.go_to(id) {
            let entries = whole(db, group).await?;
            self.cursor = StateCursor::begin(id, entries);
        }
        Ok(self.cursor.is_room())
    }

    /// Whether a group is the expected one: the state before an event, and the event. Every hundredth group is a whole
    /// one; if it has the expected size and holds the event, it need not be read.
    async fn is_next(&self, db: &mut Connection, group: i64) -> Result<bool, DatabaseError> {
        let here = |next: &&Next| next.group == group && next.after == self.cursor.id();
        let Some(Next { key, event_id, .. }) = self.next.as_ref().filter(here) else {
            return Ok(false);
        };
        let number = count(self.cursor.size_with(key));
        if let Some(entries) = self.groups.entries(group) {
            let events = entries.iter().filter(|(of, _)| of == key).map(|(_, event_id)| event_id);
            return Ok(count(entries.len()) == number && events.max() == Some(event_id));
        }
        let sql = "SELECT COUNT(*), MAX(CASE WHEN type = $2 AND state_key = $3 THEN event_id END) \
                   FROM state_groups_state WHERE state_group = $1";
        let params = [group.into(), key.0.as_str().into(), key.1.as_str().into()];
        let rows = db.rows("state_groups_state", sql, &params).await?;
        let found = rows.first().and_then(|row| row.decode::<(u64, Option<String>)>().ok());
        Ok(found == Some((number, Some(event_id.to_string()))))
    }

    /// The id of the state at the cursor; a new one is written.
    fn settle<E>(&mut self, write: &mut impl FnMut(&DumpState) -> Result<(), E>) -> Result<u64, E> {
        let id = self.last_id.saturating_add(1);
        if let Some(state) = self.cursor.settle(id) {
            self.last_id = id;
            write(&state)?;
        }
        Ok(self.cursor.id())
    }
}

fn entry((key, event_id): (&Key, &OwnedEventId)) -> (String, String, OwnedEventId) {
    (key.0.clone(), key.1.clone(), event_id.clone())
}
