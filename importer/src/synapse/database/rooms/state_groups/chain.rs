//! Synapse's state groups, as far as they are needed soon.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use ruma::OwnedEventId;

use super::{Entries, Key};
use crate::{
    hash::hash,
    synapse::database::{DatabaseError, connection::Connection, row::row},
};

/// Most entries of groups that are read together. About 200 bytes each.
const MOST: usize = if cfg!(test) { 100 } else { 100_000 };
/// Most entries of whole groups that are read with these: mostly those that rooms begin with, of one entry.
const MOST_OF_WHOLE: usize = if cfg!(test) { 20 } else { 20_000 };

row! {
    /// A row of `state_groups_state`.
    struct GroupEntryRow {
        /// `state_group`.
        group: i64,
        /// `type`.
        kind: String,
        state_key: String,
        event_id: OwnedEventId,
    }
}

/// Groups that have been read and may be wanted.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct StateGroups {
    /// The group that each builds on; `None` for a whole one.
    previous: BTreeMap<i64, Option<i64>>,
    /// Entries of groups that build on another one; of whole ones, too, if they have been read together.
    own: BTreeMap<i64, Vec<(Key, OwnedEventId)>>,
    /// Nothing is forgotten: they are of several rooms, and were read together.
    of_several_rooms: bool,
}

/// What a group is made of. `steps` ends with the group itself.
#[derive(Debug)]
pub(super) enum Chain {
    /// Of a group that is known, `base`, and its state, and what comes after it.
    From { id: Option<u64>, base: i64, steps: Vec<i64> },
    /// Of these alone.
    Whole { steps: Vec<i64> },
    /// Of itself.
    Endless,
}

impl StateGroups {
    /// Reads the groups of several rooms. Nothing, if they have too many entries.
    pub(in super::super) async fn of_several_rooms(
        db: &mut Connection,
        groups: Vec<i64>,
    ) -> Result<Self, DatabaseError> {
        let mut read = Self { of_several_rooms: true, ..Self::default() };
        if !read.add(db, groups, |_| false, MOST).await? {
            return Ok(Self::default());
        }
        let whole = read.previous.iter().filter(|(_, previous)| previous.is_none());
        let whole: Vec<i64> = whole.map(|(group, _)| *group).collect();
        let mut own = BTreeMap::new();
        if entries(db, &whole, MOST_OF_WHOLE, &mut own).await? {
            read.own.append(&mut own);
        }
        Ok(read)
    }

    /// Reads groups and those that they are made of, up to known ones. What was read before is forgotten, unless it is of several
    /// rooms.
    pub(super) async fn read(
        &mut self,
        db: &mut Connection,
        mut groups: Vec<i64>,
        known: impl Fn(i64) -> bool + Send,
    ) -> Result<(), DatabaseError> {
        if groups.iter().all(|group| self.previous.contains_key(group)) {
            return Ok(());
        }
        if self.of_several_rooms {
            groups.retain(|group| !self.previous.contains_key(group));
        } else {
            self.previous.clear();
            self.own.clear();
        }
        self.add(db, groups, known, usize::MAX).await.map(drop)
    }

    /// Reads groups that have not been read, and those that they are made of; says whether they have no more than `most` entries of
    /// their own.
    async fn add(
        &mut self,
        db: &mut Connection,
        groups: Vec<i64>,
        known: impl Fn(i64) -> bool + Send,
        most: usize,
    ) -> Result<bool, DatabaseError> {
        let mut read = BTreeSet::new();
        let sql = "SELECT state_group, prev_state_group FROM state_group_edges WHERE state_group IN ($IDS)";
        let mut waiting = groups;
        while !waiting.is_empty() {
            let rows = db.rows_in("state_group_edges", sql, &waiting).await?;
            read.extend(waiting.iter().copied());
            self.previous.extend(waiting.drain(..).map(|group| (group, None)));
            for row in rows {
                if let Ok((group, previous)) = row.decode::<(i64, i64)>() {
                    self.previous.insert(group, Some(previous));
                    if !known(previous) && !self.previous.contains_key(&previous) {
                        waiting.push(previous);
                    }
                }
            }
            waiting.sort_unstable();
            waiting.dedup();
        }
        let is_partial = |group: &i64| self.previous.get(group).is_some_and(Option::is_some);
        let partial: Vec<i64> = read.into_iter().filter(is_partial).collect();
        entries(db, &partial, most, &mut self.own).await
    }

    /// What a group that has been read is made of.
    pub(super) fn chain(&self, group: i64, known: impl Fn(i64) -> Option<Option<u64>>) -> Chain {
        let mut steps = vec![group];
        let mut seen = BTreeSet::from([group]);
        let mut step = group;
        while let Some(previous) = self.previous.get(&step).copied().flatten() {
            if let Some(id) = known(previous) {
                steps.reverse();
                return Chain::From { id, base: previous, steps };
            }
            if !seen.insert(previous) {
                return Chain::Endless;
            }
            steps.push(previous);
            step = previous;
        }
        steps.reverse();
        Chain::Whole { steps }
    }

    /// The entries that a group has of its own, if they have been read and not been taken.
    pub(super) fn entries(&self, group: i64) -> Option<&[(Key, OwnedEventId)]> {
        self.own.get(&group).map(Vec::as_slice)
    }

    /// The same, taken; they are read if need be.
    pub(super) async fn own(
        &mut self,
        db: &mut Connection,
        group: i64,
    ) -> Result<Vec<(Key, OwnedEventId)>, DatabaseError> {
        let mut own = match self.own.remove(&group) {
            Some(own) => own,
            None => own_entries(db, group).await?,
        };
        // No index keeps a group from naming two events for one key.
        let mut keys = BTreeSet::new();
        own.retain(|(key, _)| keys.insert(hash(key)));
        Ok(own)
    }
}

/// Reads the entries of groups; says whether they have no more than `most`.
async fn entries(
    db: &mut Connection,
    groups: &[i64],
    most: usize,
    own: &mut BTreeMap<i64, Vec<(Key, OwnedEventId)>>,
) -> Result<bool, DatabaseError> {
    own.extend(groups.iter().map(|group| (*group, Vec::new())));
    let sql = "SELECT state_group, type, state_key, event_id FROM state_groups_state WHERE state_group IN ($IDS)";
    let mut number = 0_usize;
    db.each_in("state_groups_state", sql, groups, |row| {
        number = number.saturating_add(1);
        if let Ok(GroupEntryRow { group, kind, state_key, event_id }) = row.decode() {
            own.entry(group).or_default().push(((kind, state_key), event_id));
        }
        if number > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await?;
    Ok(number <= most)
}

async fn own_entries(
    db: &mut Connection,
    group: i64,
) -> Result<Vec<(Key, OwnedEventId)>, DatabaseError> {
    let sql = "SELECT type, state_key, event_id FROM state_groups_state WHERE state_group = $1";
    let mut entries = Vec::new();
    db.each("state_groups_state", sql, &[group.into()], |row| {
        if let Ok((kind, state_key, event_id)) = row.decode::<(String, String, OwnedEventId)>() {
            entries.push(((kind, state_key), event_id));
        }
    })
    .await?;
    Ok(entries)
}

/// A group in full; empty if it is made of itself.
pub(in super::super) async fn whole(
    db: &mut Connection,
    group: i64,
) -> Result<Entries, DatabaseError> {
    let mut groups = StateGroups::default();
    groups.read(db, vec![group], |_| false).await?;
    let mut entries = Entries::new();
    if let Chain::Whole { steps } = groups.chain(group, |_| None) {
        for step in steps {
            entries.extend(groups.own(db, step).await?);
        }
    }
    Ok(entries)
}
