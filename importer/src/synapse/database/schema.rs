//! Which Synapse this is: schema version, columns, background updates.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use super::{DatabaseError, connection::Connection};
use crate::dump::format::SourceKind;

/// The schema versions that can be read: Synapse 1.62 (2022) to 1.163. Between them tables only gained columns, as far as
/// this reader is concerned; what an older one lacks is read as NULL or its default.
pub const SUPPORTED: RangeInclusive<i64> = 72..=94;

/// Background updates without which rows would be misread. All others fill indexes, tables or columns that are not read.
const NEEDED_UPDATES: [&str; 1] = ["users_set_deactivated_flag"];

/// What the database's catalogue says.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    /// `schema_version.version`.
    pub(super) version: i64,
    /// Background updates that have not finished, sorted.
    pub(super) pending_updates: Vec<String>,
    columns: BTreeMap<String, BTreeSet<String>>,
}

impl Schema {
    /// Reads and checks. `place` names the database in errors.
    pub(super) async fn read(
        connection: &mut Connection,
        place: &str,
    ) -> Result<Self, DatabaseError> {
        let columns = columns(connection).await?;
        let not_synapse = |missing| DatabaseError::NotSynapse { place: place.to_owned(), missing };
        for (table, missing) in [
            ("schema_version", "it has no table `schema_version`"),
            ("users", "it has no table `users`"),
            ("events", "it has no table `events`"),
        ] {
            if !columns.contains_key(table) {
                return Err(not_synapse(missing));
            }
        }
        let rows =
            connection.rows("schema_version", "SELECT version FROM schema_version", &[]).await?;
        let (version,) = rows
            .first()
            .and_then(|row| row.decode::<(i64,)>().ok())
            .ok_or_else(|| not_synapse("its table `schema_version` is empty"))?;
        if version < *SUPPORTED.start() {
            return Err(DatabaseError::SchemaTooOld { found: version });
        }
        if version > *SUPPORTED.end() {
            return Err(DatabaseError::SchemaTooNew { found: version });
        }
        let pending_updates = pending_updates(connection).await?;
        if let Some(name) =
            pending_updates.iter().find(|name| NEEDED_UPDATES.contains(&name.as_str()))
        {
            return Err(DatabaseError::BackgroundUpdate { name: name.clone() });
        }
        Ok(Self { version, pending_updates, columns })
    }

    /// Whether a table exists.
    pub(super) fn has_table(&self, table: &str) -> bool {
        self.columns.contains_key(table)
    }

    /// Whether a table has a column.
    pub(super) fn has_column(&self, table: &str, column: &str) -> bool {
        self.columns.get(table).is_some_and(|columns| columns.contains(column))
    }

    /// `column` if the table has it, and the SQL expression `default` if it has not.
    pub(super) fn column<'a>(&self, table: &str, column: &'a str, default: &'a str) -> &'a str {
        if self.has_column(table, column) { column } else { default }
    }
}

async fn columns(
    connection: &mut Connection,
) -> Result<BTreeMap<String, BTreeSet<String>>, DatabaseError> {
    let sql = match connection.kind() {
        SourceKind::Sqlite => {
            "SELECT m.name, p.name FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'table'"
        }
        SourceKind::Postgres | SourceKind::Api => {
            "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) FROM information_schema.columns \
             WHERE table_schema = ANY (current_schemas(FALSE))"
        }
    };
    let mut columns: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    connection
        .each("the catalogue", sql, &[], |row| {
            if let Ok((table, column)) = row.decode::<(String, String)>() {
                columns.entry(table).or_default().insert(column);
            }
        })
        .await?;
    Ok(columns)
}

async fn pending_updates(connection: &mut Connection) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT update_name FROM background_updates ORDER BY update_name";
    let rows = connection.rows("background_updates", sql, &[]).await?;
    Ok(rows.iter().map(super::row::KeptRow::label).collect())
}
