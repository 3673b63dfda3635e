//! What tables hold, counted by all readers of a snapshot together.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, PoisonError},
};

use super::{
    ENOUGH, Fate, Owners,
    events::{self, EventCounts, Orphans},
    owners::{self, OwnerCounts},
    tables::find,
};
use crate::{
    dump::format::SourceKind,
    synapse::database::{
        DatabaseError,
        connection::{Connection, Databases},
        row::KeptRow,
    },
};

/// The tables that take longest to count; begun first, so that the readers come to an end together.
const LARGE: [&str; 2] = ["event_json", "events"];

/// In which database a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum In {
    Main,
    /// The database of the state tables, if they have one of their own.
    State,
}

/// A number of rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RowCount {
    /// `None`: the database can't count them.
    pub(super) rows: Option<u64>,
    /// There are more than these.
    pub(super) more: bool,
}

/// What a table holds, whatever was read of it.
#[derive(Debug)]
pub(super) enum Counted {
    Rows(RowCount),
    Owners(OwnerCounts),
    Events(EventCounts),
    EventJson(RowCount, Orphans),
}

impl Counted {
    /// All rows, and whether there are more.
    pub(super) fn rows(&self) -> (Option<u64>, bool) {
        match self {
            Self::Rows(count) | Self::EventJson(count, _) => (count.rows, count.more),
            Self::Owners(counts) => (Some(counts.rows), false),
            Self::Events(counts) => (Some(counts.rows), false),
        }
    }
}

type Name = (In, String);

/// The tables of a snapshot: those that nobody has begun to count, and those that are counted.
#[derive(Debug)]
pub(in crate::synapse::database) struct Counting {
    /// Everything is being read, so nothing is left uncounted because that takes long.
    is_of_dump: bool,
    left: Mutex<Vec<Name>>,
    counted: Mutex<BTreeMap<Name, Counted>>,
}

impl Counting {
    /// Lists the tables, for a dump or for a look at the database.
    pub(in crate::synapse::database) async fn of(
        databases: &mut Databases,
        is_of_dump: bool,
    ) -> Result<Self, DatabaseError> {
        let Databases { main, state } = databases;
        let mut left: Vec<_> =
            names(main).await?.into_iter().map(|name| (In::Main, name)).collect();
        if let Some(state) = state {
            left.extend(names(state).await?.into_iter().map(|name| (In::State, name)));
        }
        // Taken from the end.
        left.sort_by_key(|(_, name)| LARGE.contains(&name.as_str()));
        Ok(Self { is_of_dump, left: Mutex::new(left), counted: Mutex::default() })
    }

    /// Counts tables while there are any that nobody has begun. The rooms must have been listed.
    pub(in crate::synapse::database) async fn count(
        &self,
        databases: &mut Databases,
        who: Owners<'_>,
    ) -> Result<(), DatabaseError> {
        while let Some((place, name)) = self.next() {
            let counted = match (place, &mut databases.state) {
                (In::State, Some(state)) => Counted::Rows(count_rows(state, &name).await?),
                _ => self.count_table(&mut databases.main, who, &name).await?,
            };
            let mut all = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert((place, name), counted);
        }
        Ok(())
    }

    /// What was counted, by name.
    pub(super) fn counted(&self) -> BTreeMap<Name, Counted> {
        mem::take(&mut *self.counted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn next(&self) -> Option<Name> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    async fn count_table(
        &self,
        db: &mut Connection,
        who: Owners<'_>,
        name: &str,
    ) -> Result<Counted, DatabaseError> {
        let table =
            find(name).filter(|table| table.fate == Fate::Moves || !table.owners.is_empty());
        Ok(match (name, table) {
            ("events", _) if self.is_of_dump => Counted::Events(events::count(db, who).await?),
            ("event_json", _) => {
                let count = count_rows(db, name).await?;
                // Both indexes are read to their ends.
                let orphans = if count.more && !self.is_of_dump {
                    Orphans::default()
                } else {
                    events::orphans(db).await?
                };
                Counted::EventJson(count, orphans)
            }
            ("events", _) | (_, None) => Counted::Rows(count_rows(db, name).await?),
            (_, Some(table)) => Counted::Owners(owners::count(db, who, table).await?),
        })
    }
}

/// All tables that may be read.
async fn names(db: &mut Connection) -> Result<Vec<String>, DatabaseError> {
    let sql = match db.kind() {
        SourceKind::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table'",
        SourceKind::Postgres | SourceKind::Api => {
            "SELECT DISTINCT CAST(table_name AS TEXT) FROM information_schema.tables \
             WHERE table_type = 'BASE TABLE' AND table_schema = ANY (current_schemas(FALSE)) \
             AND has_table_privilege(quote_ident(table_schema) || '.' || quote_ident(table_name), 'SELECT')"
        }
    };
    let rows = db.rows("the catalogue", sql, &[]).await?;
    Ok(rows.iter().map(KeptRow::label).collect())
}

/// Counts a table up to [`ENOUGH`]. One that SQLite can't read, as a module of its is missing, is not counted.
async fn count_rows(db: &mut Connection, name: &str) -> Result<RowCount, DatabaseError> {
    let limit = ENOUGH.saturating_add(1);
    let sql = format!(
        "SELECT COUNT(*) FROM (SELECT 1 FROM \"{}\" LIMIT {limit}) x",
        name.replace('"', "\"\"")
    );
    let counted = match db.rows("the census", &sql, &[]).await {
        Ok(counted) => counted,
        Err(_) if db.kind() == SourceKind::Sqlite => return Ok(RowCount::default()),
        Err(error) => return Err(error),
    };
    let number = counted.first().and_then(|row| row.integer(0));
    let number = number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    Ok(RowCount { rows: Some(number.min(ENOUGH)), more: number > ENOUGH })
}
