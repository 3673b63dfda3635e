//! Synapse's state groups, as far as they are needed soon.

use std::collections::{BTreeMap, BTreeSet};

use ruma::OwnedEventId;

use super::{Entries, Key};
use crate::{
    hash::hash,
    synapse::database::{DatabaseError, connection::Connection, row::row},
};

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
#[derive(Debug, Default)]
pub(super) struct StateGroups {
    /// The group that each builds on; `None` for a whole one.
    previous: BTreeMap<i64, Option<i64>>,
    /// Entries of groups that build on another one.
    own: BTreeMap<i64, Vec<(Key, OwnedEventId)>>,
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
    /// Reads groups and those that they are made of, up to known ones. What was read before is forgotten.
    pub(super) async fn read(
        &mut self,
        db: &mut Connection,
        groups: Vec<i64>,
        known: impl Fn(i64) -> bool + Send,
    ) -> Result<(), DatabaseError> {
        if groups.iter().all(|group| self.previous.contains_key(group)) {
            return Ok(());
        }
        self.previous.clear();
        self.own.clear();
        let sql = "SELECT state_group, prev_state_group FROM state_group_edges WHERE state_group IN ($IDS)";
        let mut waiting = groups;
        while !waiting.is_empty() {
            let rows = db.rows_in("state_group_edges", sql, &waiting).await?;
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
        let partial: Vec<i64> = self
            .previous
            .iter()
            .filter_map(|(group, previous)| previous.is_some().then_some(*group))
            .collect();
        self.own = partial.iter().map(|group| (*group, Vec::new())).collect();
        let sql = "SELECT state_group, type, state_key, event_id FROM state_groups_state \
                   WHERE state_group IN ($IDS)";
        for row in db.rows_in("state_groups_state", sql, &partial).await? {
            if let Ok(GroupEntryRow { group, kind, state_key, event_id }) = row.decode() {
                self.own.entry(group).or_default().push(((kind, state_key), event_id));
            }
        }
        Ok(())
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

    /// The entries that a group has of its own.
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
