//! Synapse's PostgreSQL database.

mod password;
mod reach;

use std::{ops::ControlFlow, time::Duration};

use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, ConnectOptions, PgConnection, Postgres,
    postgres::{PgArguments, PgConnectOptions},
    query::Query,
};
use tracing::info;

use self::reach::Place;
use super::{Param, Row};
use crate::synapse::{
    config::PostgresConfig,
    database::{DatabaseError, error::EngineError},
};

/// How the session plans. All that is asked goes by an index, in its order, whatever a room's or user's share of a table: a
/// bitmap scan would read a whole room to sort each page of it, a plan for each value costs more than it saves, and so does
/// compiling one. With pages counted as cheaply as they are in memory, small tables are not read whole for a few rows, either.
const PLANNING: &str = "SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off; \
                        SET random_page_cost = 1.1";

/// How the session plans, for a while, what is joined by reading whole tables, and back. The ids of a hundred thousand events fit
/// into this memory; with less, all rows of the other table would go through temporary files. Another process would share a core with
/// this one or the server's.
const WHOLE_TABLES: [&str; 2] = [
    "SET enable_nestloop = off; SET max_parallel_workers_per_gather = 0; SET work_mem = '32MB'",
    "RESET enable_nestloop; RESET max_parallel_workers_per_gather; RESET work_mem",
];

/// Lets names without a schema mean the tables of the schema in which Synapse finds its own: a table of the same name that
/// another application has elsewhere in the search path is none of them.
const SEARCH: &str = "SELECT set_config('search_path', quote_ident(n.nspname), FALSE) FROM pg_class c \
                      JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass('schema_version')";

/// Gives rows of a query to `each` until it has enough.
pub(super) async fn each(
    connection: &mut PgConnection,
    sql: &str,
    params: &[Param<'_>],
    each: impl FnMut(Row<'_>) -> ControlFlow<()> + Send,
) -> Result<(), EngineError> {
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned()));
    for param in params {
        query = match *param {
            Param::Text(text) => query.bind(text.to_owned()),
            Param::Integer(number) => query.bind(number),
        };
    }
    give(connection, query, each).await
}

/// The same for a list of ids, as one parameter: an array.
pub(super) async fn each_in(
    connection: &mut PgConnection,
    sql: &str,
    ids: &[Param<'_>],
    each: impl FnMut(Row<'_>) -> ControlFlow<()> + Send,
) -> Result<(), EngineError> {
    let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
    let numbers: Option<Vec<i64>> = ids.iter().map(Param::integer).collect();
    let query = match numbers {
        Some(numbers) => query.bind(numbers),
        None => query.bind(ids.iter().filter_map(Param::text).collect::<Vec<_>>()),
    };
    give(connection, query, each).await
}

async fn give(
    connection: &mut PgConnection,
    query: Query<'_, Postgres, PgArguments>,
    mut each: impl FnMut(Row<'_>) -> ControlFlow<()> + Send,
) -> Result<(), EngineError> {
    let mut rows = query.fetch(connection);
    while let Some(row) = rows.try_next().await? {
        if each(Row::Postgres(&row)).is_break() {
            break;
        }
    }
    Ok(())
}

/// Begins or ends the planning of statements that read whole tables: see [`WHOLE_TABLES`].
pub(super) async fn plan_whole_tables(
    connection: &mut PgConnection,
    begin: bool,
) -> Result<(), EngineError> {
    let [set, reset] = WHOLE_TABLES;
    sqlx::raw_sql(if begin { set } else { reset }).execute(connection).await?;
    Ok(())
}

/// Ends the transaction.
pub(super) async fn end(connection: &mut PgConnection) -> Result<(), EngineError> {
    sqlx::raw_sql("ROLLBACK").execute(connection).await?;
    Ok(())
}

/// Connects twice with one snapshot: the first connection exports it, the second imports it. Connects once if the server allows
/// no second connection, or exports no snapshot.
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
    let second =
        second.inspect_err(|error| info!(%error, "reading through one connection, not two"));
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
    let attributes = config.target_session_attrs.as_deref().unwrap_or("any");
    let passes: &[&str] = match attributes {
        "prefer-standby" => &["standby", "any"],
        "any" | "read-write" | "read-only" | "primary" | "standby" => &[attributes],
        _ => return Err(DatabaseError::Setting { key: "target_session_attrs" }),
    };
    let places = reach::places(config)?;
    let mut failed = None;
    for attributes in passes {
        for place in &places {
            match Box::pin(open_at(config, place, attributes)).await {
                Ok(Some(connection)) => return Ok(connection),
                Ok(None) => {}
                // Whoever answers and says no is not passed over for another one.
                Err(error) if !error.is_unreachable() => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
    }
    let others: Vec<_> = places.iter().skip(1).map(|place| place.address.as_str()).collect();
    let failed = failed.map(|error| error.nor_at(&others));
    Err(failed.unwrap_or(DatabaseError::NoneFits { attributes: attributes.to_owned() }))
}

/// The same at one server; `None` if it is not of the kind that is asked for.
async fn open_at(
    config: &PostgresConfig,
    place: &Place,
    attributes: &str,
) -> Result<Option<PgConnection>, DatabaseError> {
    let mut failed = None;
    for options in &place.attempts {
        let patience = config.connect_timeout.as_deref().and_then(|text| text.trim().parse().ok());
        let connected = match patience.filter(|seconds: &u64| *seconds > 0) {
            None => options.connect().await,
            Some(seconds) => {
                let patience = Duration::from_secs(seconds.max(2));
                let elapsed = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
                let connected = tokio::time::timeout(patience, options.connect()).await;
                connected.map_err(elapsed).and_then(std::convert::identity)
            }
        };
        match connected {
            Ok(mut connection) => {
                let begun = begin(&mut connection, attributes).await;
                let begun =
                    begun.map_err(|source| of_connecting(source, &place.address, options))?;
                return Ok(begun.then_some(connection));
            }
            Err(source) => {
                failed = failed.or(Some(of_connecting(source, &place.address, options)));
            }
        }
    }
    failed.map_or(Ok(None), Err)
}

/// Begins the transaction, in which names mean the tables of the schema that Synapse's are in, and no other's. Says whether
/// the server is of the kind that is asked for.
async fn begin(connection: &mut PgConnection, attributes: &str) -> sqlx::Result<bool> {
    if attributes != "any" {
        let sql =
            "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on'";
        let (standby, read_only): (bool, bool) =
            sqlx::query_as(sql).fetch_one(&mut *connection).await?;
        let fits = match attributes {
            "primary" => !standby,
            "standby" => standby,
            "read-only" => standby || read_only,
            _ => !standby && !read_only,
        };
        if !fits {
            return Ok(false);
        }
    }
    // A long dump is idle between queries while it writes.
    let begin = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
                 BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    sqlx::raw_sql(PLANNING).execute(&mut *connection).await?;
    sqlx::query(SEARCH).execute(&mut *connection).await?;
    sqlx::raw_sql(begin).execute(&mut *connection).await?;
    Ok(true)
}

fn of_connecting(source: sqlx::Error, address: &str, options: &PgConnectOptions) -> DatabaseError {
    let is_socket = address.starts_with('/');
    let address = address.to_owned();
    match (code(&source).as_deref(), &source) {
        // invalid_authorization_specification; without a line that fits, or without such a role, it says the same.
        (Some("28000"), _) if is_socket && is_peer(&source) => {
            let user = options.get_username().to_owned();
            let is_here = is_system_user(&user);
            DatabaseError::Peer { address, user, is_here, source }
        }
        // invalid_password, invalid_authorization_specification
        (Some("28P01" | "28000"), _) => DatabaseError::Authentication {
            address,
            user: options.get_username().to_owned(),
            source,
        },
        // invalid_catalog_name
        (Some("3D000"), _) => DatabaseError::DatabaseMissing {
            address,
            database: options.get_database().unwrap_or(options.get_username()).to_owned(),
        },
        (_, sqlx::Error::Tls(_)) => DatabaseError::Tls { address, source },
        // rustls says so within an error of the socket.
        (_, sqlx::Error::Io(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
            DatabaseError::Tls { address, source }
        }
        (Some(_), _) => DatabaseError::Refused { address, source },
        (None, _) => DatabaseError::Unreachable { address, source },
    }
}

/// Whether it is who connects that PostgreSQL does not like. Its messages can be in any language, so the other ones are known
/// by the names in them that are the same in all.
fn is_peer(error: &sqlx::Error) -> bool {
    let said = error.as_database_error().map_or("", |error| error.message());
    let of_another = ["pg_hba.conf", "does not exist"];
    !of_another.iter().any(|words| said.contains(words))
}

/// Whether this machine has such a user.
fn is_system_user(name: &str) -> bool {
    let output = std::process::Command::new("id").args(["-u", "--", name]).output();
    output.is_ok_and(|output| output.status.success())
}

/// The code that the server gave.
fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

#[cfg(test)]
mod tests;
