//! What became of every row of Synapse's tables: the sums of a dump by table, beside those by kind in the tally.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// All tables of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// The tables, sorted by name.
    pub tables: Vec<TableRows>,
}

/// What becomes of a table's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Each row is an item: it moves, or is left out for a reason.
    Moves,
    /// Rows are read to make items of them.
    Feeds,
    /// The rows mean something to users or administrators, and Conduit has no place for them.
    NoPlace,
    /// Made anew from what moves.
    Derived,
    /// Fetched from elsewhere, or short-lived: it comes again.
    Cache,
    /// How far Synapse has come with its own work.
    Bookkeeping,
    /// The importer does not know the table.
    Unknown,
}

impl Fate {
    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Moves => "moves",
            Self::Feeds => "is read",
            Self::NoPlace => "left out",
            Self::Derived => "made anew",
            Self::Cache => "cache",
            Self::Bookkeeping => "bookkeeping",
            Self::Unknown => "unknown",
        }
    }
}

/// A table. `rows` = `moved` + all of `left_out` + all of `never` + `unaccounted`, unless `more`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRows {
    /// Its name. Tables of a database of its own for states have `state:` in front.
    pub table: String,
    /// What becomes of its rows.
    pub fate: Fate,
    /// Its rows. `None`: the database can't count them.
    pub rows: Option<u64>,
    /// There are more than `rows`: such a table is not counted to its end.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// Rows that moved, or were read for what moved.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub moved: u64,
    /// Rows that were left out, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, u64>,
    /// Rows that never move, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub never: BTreeMap<String, u64>,
    /// Rows of which nothing says what became of them; negative if more were read than there are.
    #[serde(default, skip_serializing_if = "is_zero_signed")]
    pub unaccounted: i64,
    /// Owners of such rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
    /// Whose rows stay behind: owners that are no accounts, rooms of aliases that nobody is in, other servers; the first ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<Stranger>,
}

/// The owner of rows that stay behind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stranger {
    /// Its name, or what the database has for it.
    pub owner: String,
    /// How many rows it has.
    pub rows: u64,
}

impl Census {
    /// Whether every row of every table is accounted for, and every table known.
    pub fn meets(&self) -> bool {
        let known = |table: &TableRows| table.fate != Fate::Unknown || table.rows == Some(0);
        self.tables.iter().all(|table| table.unaccounted == 0 && known(table))
    }
}

impl TableRows {
    /// A table of which nothing is known yet.
    pub(crate) fn new(table: &str, fate: Fate) -> Self {
        Self {
            table: table.to_owned(),
            fate,
            rows: None,
            more: false,
            moved: 0,
            left_out: BTreeMap::new(),
            never: BTreeMap::new(),
            unaccounted: 0,
            examples: Vec::new(),
            owners: Vec::new(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero_signed(value: &i64) -> bool {
    *value == 0
}
