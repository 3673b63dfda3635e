//! Synapse's PostgreSQL database.

use std::ops::ControlFlow;

use futures_util::TryStreamExt;
use secrecy::ExposeSecret;
use sqlx::{
    AssertSqlSafe, ConnectOptions, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tracing::info;

use super::{Param, Row, STATEMENTS};
use crate::{
    config::synapse::PostgresConfig,
    synapse::database::{DatabaseError, error::EngineError},
};

/// How the session plans. All that is asked goes by an index, in its order, whatever a room's or user's share of a table: a
/// bitmap scan would read a whole room to sort each page of it, a plan for each value costs more than it saves, and so does
/// compiling one. With pages counted as cheaply as they are in memory, small tables are not read whole for a few rows, either.
const PLANNING: &str = "SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off; \
                        SET random_page_cost = 1.1";

/// Gives rows of a query to `each` until it has enough.
pub(super) async fn each(
    connection: &mut PgConnection,
    sql: &str,
    params: &[Param<'_>],
    mut each: impl FnMut(Row<'_>) -> ControlFlow<()> + Send,
) -> Result<(), EngineError> {
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned()));
    for param in params {
        query = match *param {
            Param::Text(text) => query.bind(text.to_owned()),
            Param::Integer(number) => query.bind(number),
        };
    }
    let mut rows = query.fetch(connection);
    while let Some(row) = rows.try_next().await? {
        if each(Row::Postgres(&row)).is_break() {
            break;
        }
    }
    Ok(())
}

/// Ends the transaction.
pub(super) async fn end(connection: &mut PgConnection) -> Result<(), EngineError> {
    sqlx::raw_sql("ROLLBACK").execute(connection).await?;
    Ok(())
}

/// Connects twice with one snapshot; once if the server gives no second connection, or no snapshot away.
pub(super) async fn open_two(
    config: &PostgresConfig,
) -> Result<(PgConnection, Option<PgConnection>), DatabaseError> {
    let mut first = open(config).await?;
    let exported = sqlx::query_scalar("SELECT pg_export_snapshot()").fetch_one(&mut first).await;
    let second = match exported {
        Ok(snapshot) => beside(config, snapshot).await,
        Err(error) => {
            // An error ends a transaction; nothing has been read in it.
            first = open(config).await?;
            Err(error.into())
        }
    };
    let second = second.inspect_err(|error| info!(%error, "reading by one connection, not two"));
    Ok((first, second.ok()))
}

/// Connects, and sees what another connection does.
async fn beside(config: &PostgresConfig, snapshot: String) -> anyhow::Result<PgConnection> {
    let mut connection = open(config).await?;
    let sql = format!("SET TRANSACTION SNAPSHOT '{}'", snapshot.replace('\'', ""));
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    Ok(connection)
}

/// Connects and begins the transaction.
pub(super) async fn open(config: &PostgresConfig) -> Result<PgConnection, DatabaseError> {
    let options = options(config)?;
    let address = match options.get_socket() {
        Some(socket) => format!("{}, port {}", socket.display(), options.get_port()),
        None => format!("{}, port {}", options.get_host(), options.get_port()),
    };
    // A long dump is idle between queries while it writes.
    let begin = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
                 BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let opened = async {
        let mut connection = options.connect().await?;
        sqlx::raw_sql(PLANNING).execute(&mut connection).await?;
        sqlx::raw_sql(begin).execute(&mut connection).await?;
        Ok(connection)
    };
    opened.await.map_err(|source| match code(&source).as_deref() {
        // invalid_password, invalid_authorization_specification
        Some("28P01" | "28000") => DatabaseError::Authentication {
            address,
            user: options.get_username().to_owned(),
            source,
        },
        // invalid_catalog_name
        Some("3D000") => DatabaseError::DatabaseMissing {
            address,
            database: options.get_database().unwrap_or(options.get_username()).to_owned(),
        },
        _ => DatabaseError::Unreachable { address, source },
    })
}

/// The code that the server gave.
fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

fn options(config: &PostgresConfig) -> Result<PgConnectOptions, DatabaseError> {
    let mut options = PgConnectOptions::new().statement_cache_capacity(STATEMENTS);
    if let Some(host) = &config.host {
        options = if host.starts_with('/') { options.socket(host) } else { options.host(host) };
    }
    if let Some(port) = config.port {
        options = options.port(port);
    }
    if let Some(user) = &config.user {
        options = options.username(user);
    }
    if let Some(password) = &config.password {
        options = options.password(password.expose_secret());
    }
    if let Some(database) = &config.database {
        options = options.database(database);
    }
    match config.sslmode.as_deref() {
        None | Some("disable" | "allow" | "prefer") => Ok(options.ssl_mode(PgSslMode::Disable)),
        Some(mode) => Err(DatabaseError::Tls { mode: mode.to_owned() }),
    }
}
