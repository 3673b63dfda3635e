//! Connections that read one snapshot, whichever engine it is.
//!
//! Queries are written once: `$1` placeholders and the functions used mean the same to both engines.
//!
//! A running Synapse goes on meanwhile. Its SQLite databases are in WAL mode, where a reader blocks no writer; but while
//! the snapshot lives, SQLite can't shorten the `-wal` file beside the database, which grows by what Synapse writes.
//! On PostgreSQL, vacuum keeps the rows of the snapshot until it ends. What Synapse writes after the beginning is not
//! read: stop it before the dump that the migration is made of.

mod postgres;
mod sqlite;

use std::ops::ControlFlow;

use super::{
    DatabaseError,
    error::EngineError,
    row::{KeptRow, Row},
};
use crate::{dump::format::SourceKind, synapse::config::DatabaseConfig};

/// Statements of ours that are prepared at a time; there are fewer.
const STATEMENTS: usize = 200;

/// Ids in one query of SQLite, each of which is a parameter.
const LIST: usize = 100;

/// Ids in one query of PostgreSQL, where a list is one parameter: each query is a round trip.
const ARRAY: usize = if cfg!(test) { 7 } else { 10_000 };

/// A connection within a read-only transaction.
#[derive(Debug)]
pub(super) enum Connection {
    Sqlite(rusqlite::Connection),
    Postgres(sqlx::PgConnection),
}

/// The databases of one Synapse.
#[derive(Debug)]
pub(super) struct Databases {
    pub(super) main: Connection,
    /// The database of the state tables, if they have one of their own. Its snapshot is younger, which does no harm: a
    /// state group never changes.
    pub(super) state: Option<Connection>,
}

impl Databases {
    /// The database that has the state tables.
    pub(super) fn states(&mut self) -> &mut Connection {
        self.state.as_mut().unwrap_or(&mut self.main)
    }

    /// All of them.
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Connection> {
        std::iter::once(&mut self.main).chain(&mut self.state)
    }

    /// Ends the transactions.
    pub(super) async fn end(&mut self) -> Result<(), DatabaseError> {
        if let Some(state) = &mut self.state {
            state.end().await?;
        }
        self.main.end().await
    }
}

/// A parameter of a query.
#[derive(Clone, Copy, Debug)]
pub(super) enum Param<'a> {
    Text(&'a str),
    Integer(i64),
}

impl Param<'_> {
    fn text(&self) -> Option<String> {
        match *self {
            Self::Text(text) => Some(text.to_owned()),
            Self::Integer(_) => None,
        }
    }

    fn integer(&self) -> Option<i64> {
        match *self {
            Self::Text(_) => None,
            Self::Integer(number) => Some(number),
        }
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Param<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl Connection {
    /// Connects twice and begins transactions that share one snapshot. The second is absent if the server allows no
    /// more than one connection, or can't share a snapshot.
    pub(super) async fn open_two(
        config: &DatabaseConfig,
    ) -> Result<(Self, Option<Self>), DatabaseError> {
        Ok(match config {
            DatabaseConfig::Sqlite { path } => {
                let (first, second) = sqlite::open_two(path)?;
                (Self::Sqlite(first), second.map(Self::Sqlite))
            }
            DatabaseConfig::Postgres(config) => {
                let (first, second) = Box::pin(postgres::open_two(config)).await?;
                (Self::Postgres(first), second.map(Self::Postgres))
            }
        })
    }

    /// Which engine this is.
    pub(super) fn kind(&self) -> SourceKind {
        match self {
            Self::Sqlite(_) => SourceKind::Sqlite,
            Self::Postgres(_) => SourceKind::Postgres,
        }
    }

    /// Ends the transaction.
    async fn end(&mut self) -> Result<(), DatabaseError> {
        let ended = match self {
            Self::Sqlite(connection) => connection.execute_batch("ROLLBACK").map_err(Into::into),
            Self::Postgres(connection) => postgres::end(connection).await,
        };
        ended.map_err(query_error("ending the transaction"))
    }

    /// All rows of a query. `table` names what is read, for an error.
    pub(super) async fn rows(
        &mut self,
        table: &'static str,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<KeptRow>, DatabaseError> {
        let mut rows = Vec::new();
        let mut names = None;
        self.each(table, sql, params, |row| {
            rows.push(row.keep(names.get_or_insert_with(|| row.names())));
        })
        .await?;
        Ok(rows)
    }

    /// The rows for any number of ids. `sql` has `IN ($IDS)` where their list goes.
    pub(super) async fn rows_in(
        &mut self,
        table: &'static str,
        sql: &str,
        ids: &[impl Into<Param<'_>> + Copy],
    ) -> Result<Vec<KeptRow>, DatabaseError> {
        let mut rows = Vec::new();
        let mut names = None;
        self.each_in(table, sql, ids, |row| {
            rows.push(row.keep(names.get_or_insert_with(|| row.names())));
            ControlFlow::Continue(())
        })
        .await?;
        Ok(rows)
    }

    /// Gives these rows to `each` until it has enough.
    pub(super) async fn each_in(
        &mut self,
        table: &'static str,
        sql: &str,
        ids: &[impl Into<Param<'_>> + Copy],
        mut each: impl FnMut(Row<'_>) -> ControlFlow<()> + Send,
    ) -> Result<(), DatabaseError> {
        let ids: Vec<Param<'_>> = ids.iter().map(|id| (*id).into()).collect();
        let (size, sql) = match self {
            Self::Sqlite(_) => (LIST, in_list(sql)),
            Self::Postgres(_) => (ARRAY, in_array(sql)),
        };
        for chunk in ids.chunks(size) {
            let mut is_enough = false;
            let each = |row: Row<'_>| {
                let flow = each(row);
                is_enough = flow.is_break();
                flow
            };
            if let Self::Postgres(connection) = self {
                let read = postgres::each_in(connection, &sql, chunk, each).await;
                read.map_err(query_error(table))?;
            } else {
                self.each_until(table, &sql, &list(chunk), each).await?;
            }
            if is_enough {
                break;
            }
        }
        Ok(())
    }

    /// Gives each row of a query to `each`, without holding them all.
    pub(super) async fn each(
        &mut self,
        table: &'static str,
        sql: &str,
        params: &[Param<'_>],
        mut each: impl FnMut(Row<'_>) + Send,
    ) -> Result<(), DatabaseError> {
        let all = |row: Row<'_>| {
            each(row);
            ControlFlow::Continue(())
        };
        self.each_until(table, sql, params, all).await
    }

    /// The same for a query of a good part of the tables that it joins: PostgreSQL reads these as a whole.
    pub(super) async fn each_of_whole_tables(
        &mut self,
        table: &'static str,
        sql: &str,
        params: &[Param<'_>],
        each: impl FnMut(Row<'_>) -> ControlFlow<()> + Send,
    ) -> Result<(), DatabaseError> {
        if let Self::Postgres(connection) = self {
            postgres::plan_whole_tables(connection, true).await.map_err(query_error(table))?;
        }
        self.each_until(table, sql, params, each).await?;
        if let Self::Postgres(connection) = self {
            postgres::plan_whole_tables(connection, false).await.map_err(query_error(table))?;
        }
        Ok(())
    }

    /// Gives rows of a query to `each` until it has enough.
    pub(super) async fn each_until(
        &mut self,
        table: &'static str,
        sql: &str,
        params: &[Param<'_>],
        each: impl FnMut(Row<'_>) -> ControlFlow<()> + Send,
    ) -> Result<(), DatabaseError> {
        let read = match self {
            Self::Sqlite(connection) => {
                let read = sqlite::each(connection, sql, params, each).map_err(Into::into);
                // SQLite never waits, and so would never let an interruption through.
                tokio::task::yield_now().await;
                read
            }
            Self::Postgres(connection) => postgres::each(connection, sql, params, each).await,
        };
        read.map_err(query_error(table))
    }
}

fn in_list(sql: &str) -> String {
    let placeholders: Vec<_> = (1..=LIST).map(|number| format!("${number}")).collect();
    sql.replace("$IDS", &placeholders.join(", "))
}

fn in_array(sql: &str) -> String {
    let sql = sql.replace("IN ($IDS)", "= ANY($1)");
    debug_assert!(!sql.contains("$IDS") && !sql.contains("NOT ="), "{sql}");
    sql
}

/// Ids as parameters: always the same number, so that one prepared statement does.
fn list<'a>(ids: &[Param<'a>]) -> Vec<Param<'a>> {
    let padding = ids.last().into_iter().cycle();
    ids.iter().chain(padding).take(LIST).copied().collect()
}

fn query_error(table: &'static str) -> impl Fn(EngineError) -> DatabaseError {
    move |source| DatabaseError::Query { table, source }
}
