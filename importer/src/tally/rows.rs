//! Rows of Synapse's tables that a source has read, table by table: one side of the census.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use crate::hash::hash;

/// What was read of every table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows(BTreeMap<Cow<'static, str>, Met>);

/// What was read of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Rows that were read.
    pub rows: u64,
    /// How many of them were left out, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// Rows by the hash of their owner, a user or a room: there may be many.
    owners: BTreeMap<u64, u64>,
}

/// Rows of one owner as a dump has them: of each table, how many there are, how many of them belong to the owner, and how many were
/// left out, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnersRows(BTreeMap<String, (u64, u64, BTreeMap<String, u64>)>);

impl Rows {
    /// Counts rows of a table as read. `owner` is the user or room that they belong to, or empty.
    pub fn met(&mut self, table: &'static str, owner: &str, number: u64) {
        let met = self.0.entry(table.into()).or_default();
        met.rows = met.rows.saturating_add(number);
        if !owner.is_empty() {
            let rows = met.owners.entry(hash(owner)).or_default();
            *rows = rows.saturating_add(number);
        }
    }

    /// Says of rows that were read that they are left out.
    pub fn left_out(&mut self, table: impl Into<Cow<'static, str>>, reason: &str, number: u64) {
        let met = self.0.entry(table.into()).or_default();
        match met.left_out.get_mut(reason) {
            Some(rows) => *rows = rows.saturating_add(number),
            None => {
                met.left_out.insert(reason.to_owned(), number);
            }
        }
    }

    /// What was read of a table.
    pub fn of(&self, table: &str) -> Option<&Met> {
        self.0.get(table)
    }

    /// Adds what another reader has read.
    pub fn merge(&mut self, other: Self) {
        for (table, met) in other.0 {
            let own = self.0.entry(table.clone()).or_default();
            own.rows = own.rows.saturating_add(met.rows);
            for (owner, number) in met.owners {
                let rows = own.owners.entry(owner).or_default();
                *rows = rows.saturating_add(number);
            }
            for (reason, number) in met.left_out {
                self.left_out(table.clone(), &reason, number);
            }
        }
    }

    /// All rows, as those of one owner who has no others.
    pub fn of_owner(&self, owner: &str) -> OwnersRows {
        let stored = |met: &Met| (met.rows, met.of_owner(owner), met.left_out.clone());
        OwnersRows(self.0.iter().map(|(table, met)| (table.to_string(), stored(met))).collect())
    }

    /// The rows of an owner again.
    pub fn restored(rows: OwnersRows, owner: &str) -> Self {
        let met = |(rows, owned, left_out)| Met {
            rows,
            left_out,
            owners: BTreeMap::from([(hash(owner), owned)]),
        };
        Self(rows.0.into_iter().map(|(table, stored)| (table.into(), met(stored))).collect())
    }
}

impl Met {
    /// Rows that were read of an owner.
    pub fn of_owner(&self, owner: &str) -> u64 {
        self.owners.get(&hash(owner)).copied().unwrap_or(0)
    }
}
