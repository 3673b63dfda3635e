//! Facts about the database itself.

use super::queries;
use crate::{
    dump::format::SourceKind,
    source::survey::{DatabaseFacts, Locale},
    synapse::{
        config::{DatabaseConfig, SynapseConfig},
        database::{
            DatabaseError,
            connection::{Connection, Databases},
            schema::Schema,
        },
    },
};

/// Reads them. `second` are the connections of the second reader.
pub(super) async fn read(
    databases: &mut Databases,
    second: Option<&mut Databases>,
    config: &SynapseConfig,
    schema: &Schema,
) -> Result<DatabaseFacts, DatabaseError> {
    let mut bytes = bytes_of(&mut databases.main, &config.database).await?;
    if let (Some(state), Some(config)) = (&mut databases.state, &config.state_database) {
        bytes = bytes.saturating_add(bytes_of(state, config).await?);
    }
    let sql = "SELECT CAST(getdatabaseencoding() AS TEXT), CAST(datcollate AS TEXT), CAST(datctype AS TEXT) \
               FROM pg_database WHERE datname = current_database()";
    let (locale, other_sessions) = match databases.main.kind() {
        SourceKind::Postgres => {
            let rows = databases.main.rows("pg_database", sql, &[]).await?;
            let locale = rows
                .first()
                .and_then(|row| row.decode().ok())
                .map(|(encoding, collation, ctype)| Locale { encoding, collation, ctype });
            (locale, other_sessions(databases, second).await?)
        }
        SourceKind::Sqlite | SourceKind::Api => (None, 0),
    };
    let sql = "SELECT COUNT(*) FROM current_state_events";
    Ok(DatabaseFacts {
        bytes,
        pending_updates: schema.pending_updates.clone(),
        locale,
        other_sessions,
        state_entries: queries::number(&mut databases.main, "current_state_events", sql).await?,
    })
}

/// Clients of the PostgreSQL database besides this importer; those of other roles hide what they are, but not their names.
async fn other_sessions(
    databases: &mut Databases,
    second: Option<&mut Databases>,
) -> Result<u64, DatabaseError> {
    let mut pids = Vec::new();
    for connection in databases.all().chain(second.into_iter().flat_map(Databases::all)) {
        let pid = "SELECT CAST(pg_backend_pid() AS BIGINT)";
        let rows = connection.rows("pg_stat_activity", pid, &[]).await?;
        pids.extend(rows.first().and_then(|row| row.integer(0)));
    }
    let sql = "SELECT CAST(pid AS BIGINT) FROM pg_stat_activity WHERE datname = current_database() \
               AND usename IS NOT NULL AND COALESCE(backend_type, 'client backend') = 'client backend'";
    let rows = databases.main.rows("pg_stat_activity", sql, &[]).await?;
    let others = rows.iter().filter(|row| row.integer(0).is_none_or(|pid| !pids.contains(&pid)));
    Ok(u64::try_from(others.count()).unwrap_or(u64::MAX))
}

async fn bytes_of(
    connection: &mut Connection,
    config: &DatabaseConfig,
) -> Result<u64, DatabaseError> {
    match config {
        DatabaseConfig::Sqlite { path } => Ok(path.metadata().map_or(0, |file| file.len())),
        DatabaseConfig::Postgres(_) => {
            let sql = "SELECT pg_database_size(current_database())";
            let rows = connection.rows("pg_database", sql, &[]).await?;
            let bytes = rows.first().and_then(|row| row.integer(0));
            Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0))
        }
    }
}
