//! Which Synapse this is: schema version, columns, background updates.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use super::{
    DatabaseError,
    connection::Connection,
    row::{KeptRow, row},
};
use crate::{counted::count, dump::format::SourceKind};

/// The schema versions that can be read: Synapse 1.62 (2022) to 1.163. Between them tables only gained columns, as far as
/// this reader is concerned; what an older one lacks is read as NULL or its default.
pub const SUPPORTED: RangeInclusive<i64> = 72..=94;

/// Background updates without which rows would be misread. All others fill indexes, tables or columns that are not read.
const NEEDED_UPDATES: [&str; 1] = ["users_set_deactivated_flag"];

/// Version, tables and columns of the database.
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
        if connection.kind() == SourceKind::Postgres {
            rights(connection, place).await?;
        }
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

    /// The column `thread_id`, which came with deltas of schema 72 that Synapse before 1.68 does not have.
    pub(super) fn thread_id(&self, table: &str) -> &'static str {
        self.column(table, "thread_id", "CAST(NULL AS TEXT)")
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
            // Whatever the role may read of them; the search path is the schema of `schema_version` alone.
            "SELECT CAST(c.relname AS TEXT), CAST(a.attname AS TEXT) FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid \
             WHERE n.nspname = ANY (current_schemas(FALSE)) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
             AND a.attnum > 0 AND NOT a.attisdropped"
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

row! {
    /// A table of PostgreSQL's catalogue.
    #[derive(Clone)]
    struct CatalogueRow {
        role: String,
        schema: String,
        table: String,
        /// Whether the role may use the schema.
        is_usable: bool,
        /// Whether the schema is in the search path.
        is_searched: bool,
    }
}

/// Refuses a role that may not read all tables, or does not see them: they would look missing.
async fn rights(connection: &mut Connection, place: &str) -> Result<(), DatabaseError> {
    let all = "SELECT CAST(CURRENT_USER AS TEXT), CAST(quote_ident(n.nspname) AS TEXT), CAST(c.relname AS TEXT), \
               has_schema_privilege(n.oid, 'USAGE'), n.nspname = ANY (current_schemas(FALSE)) \
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND ";
    let synapses = format!("{all} c.relname = 'schema_version' ORDER BY 2");
    let rows = connection.rows("the catalogue", &synapses, &[]).await?;
    let found: Vec<CatalogueRow> = rows.iter().filter_map(|row| row.decode().ok()).collect();
    if !found.iter().any(|table| table.is_searched) {
        if let Some(table) = found.iter().find(|table| !table.is_usable) {
            let (role, schema) = (table.role.clone(), table.schema.clone());
            return Err(DatabaseError::Rights { role, schema, tables: "its schema".into() });
        }
        let schemas: Vec<_> = found.into_iter().map(|table| table.schema).collect();
        if schemas.is_empty() {
            return Ok(());
        }
        let (place, schemas) = (place.to_owned(), schemas.join(", "));
        return Err(DatabaseError::OtherSchema { place, schemas });
    }
    let refused = format!(
        "{all} n.nspname = ANY (current_schemas(FALSE)) AND NOT has_table_privilege(c.oid, 'SELECT') ORDER BY 3"
    );
    let rows = connection.rows("the catalogue", &refused, &[]).await?;
    let refused: Vec<CatalogueRow> = rows.iter().filter_map(|row| row.decode().ok()).collect();
    let Some(CatalogueRow { role, schema, table, .. }) = refused.first().cloned() else {
        return Ok(());
    };
    let tables = match refused.len().saturating_sub(1) {
        0 => format!("the table `{table}`"),
        others => format!("the table `{table}` and {}", count(others, "other")),
    };
    Err(DatabaseError::Rights { role, schema, tables })
}

async fn pending_updates(connection: &mut Connection) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT update_name FROM background_updates ORDER BY update_name";
    let rows = connection.rows("background_updates", sql, &[]).await?;
    Ok(rows.iter().map(KeptRow::label).collect())
}
